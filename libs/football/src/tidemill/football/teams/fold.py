"""Printed text to comparable text: the one folding that every name, league and alias goes through."""

import re
import unicodedata

# Letters that NFKD leaves whole.
_LETTERS = str.maketrans(
    {"ø": "o", "æ": "a", "œ": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i", "ħ": "h", "ŋ": "n", "ə": "a"}
)
# Cyrillic and Greek letters that fonts put into Latin words (`GEЈ`, `VHА`).
_LOOK_ALIKES = str.maketrans("авеёзікмнорстухјѕԁѵαβεικνορτυχ", "abee3ikmhopctyxjsdvabeiknoptux")
# What marks an abbreviation, joins or is left out; every other sign separates words.
_DROPPED = re.compile(r"['’‘ʼ`´ʹʻ\u00ad\u200b-\u200f\u2060\ufeff]")
_INITIALS = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.){2,}(?![^\W_])|(?<![^\W_])[^\W\d_]\.(?=\d)")
_WORD = re.compile(r"[^\W_]+\.?")
_UMLAUT_E = re.compile(r"([aou])e+")
_LONG_A = re.compile(r"a{2,}")


def fold(text: str) -> str:
    """Words in lower case without diacritics, one space between them; idempotent.

    `ö`, `oe` and `o` become the same, likewise `å`, `aa` and `a`. A dot is kept only behind an abbreviation (`atl.`);
    initials lose theirs (`D.C.` is `dc`).
    """
    text = _DROPPED.sub("", unicodedata.normalize("NFKC", text)).casefold()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = text.translate(_LETTERS)
    text = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), text)
    return " ".join(_fold_word(word) for word in _WORD.findall(text))


def _fold_word(word: str) -> str:
    if not word.isascii() and any("a" <= letter <= "z" for letter in word):
        word = word.translate(_LOOK_ALIKES)
    # Short words are mostly initials: `AaB` and `AB` are two clubs.
    return _LONG_A.sub("a", _UMLAUT_E.sub(r"\1", word)) if len(word) > 3 else word
