"""Letters as printed, and folded for comparison."""

import re
import unicodedata

_PRIVATE = re.compile(r"[\ue000-\uf8ff\U000f0000-\U0010ffff]+")
_BLANKS = re.compile(r"\s+")
_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "ı": "i"})


def clean(text: str) -> str:
    """As printed, but without icons, ligatures and doubled blanks."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", _PRIVATE.sub(" ", text))).strip()


def fold(text: str) -> str:
    """Lower case without accents, one blank between words: equal for spellings that differ in type only."""
    letters = unicodedata.normalize("NFKD", text).casefold().translate(_PLAIN)
    return _BLANKS.sub(" ", "".join(c for c in letters if not unicodedata.combining(c))).strip()
