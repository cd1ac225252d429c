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
_INITIALS = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.){2,}")
_LETTER_AND_NUMBER = re.compile(r"(?<![^\W_])([^\W\d_])\.(?=\d)")
_WORD = re.compile(r"[^\W_]+\.?")
_VOWELS = re.compile(r"[aou]e|aa")
_UMLAUT_E = re.compile(r"([aou])e+")
_LONG_A = re.compile(r"a{2,}")


def fold(text: str) -> str:
    """Words in lower case without diacritics, one space between them; idempotent.

    `ö`, `oe` and `o` become the same, likewise `å`, `aa` and `a`. A dot is kept only behind an abbreviation (`atl.`);
    initials lose theirs (`D.C.` is `dc`, `B.93` is `b93`).
    """
    plain = text.isascii()
    text = _fold_ascii(text) if plain else _fold_letters(text)
    if "." in text:
        text = _INITIALS.sub(lambda initials: initials[0].replace(".", "") + " ", text)
        text = _LETTER_AND_NUMBER.sub(r"\1", text)
    words = _WORD.findall(text)
    if not plain or _VOWELS.search(text):
        words = [_fold_word(word) for word in words]
    return " ".join(words)


def _fold_ascii(text: str) -> str:
    return text.replace("'", "").replace("`", "").lower()


def _fold_letters(text: str) -> str:
    text = _DROPPED.sub("", unicodedata.normalize("NFKC", text)).casefold()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.translate(_LETTERS)


def _fold_word(word: str) -> str:
    if not word.isascii() and any("a" <= letter <= "z" for letter in word):
        word = word.translate(_LOOK_ALIKES)
    # Short words are mostly initials: `AaB` and `AB` are two clubs.
    return _LONG_A.sub("a", _UMLAUT_E.sub(r"\1", word)) if len(word) > 3 else word
