"""Letters as printed, and folded for comparison."""

import re
import unicodedata
from functools import lru_cache

_PRIVATE = re.compile(r"[\ue000-\uf8ff\U000f0000-\U0010ffff]+")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "ı": "i"})


@lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """As printed, but without icons, ligatures and doubled blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _PRIVATE.sub(" ", text))
    return " ".join(text.split())


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Lower case without accents, one blank between words: equal for spellings that differ in type only."""
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold().translate(_PLAIN)
    return " ".join(text.lower().split())
