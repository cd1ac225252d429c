"""Text as people see it: one kind of space, nothing invisible."""

import re
import unicodedata

_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ud800-\udfff]")


def tidy(text: str) -> str:
    """In normal form C, each run of white space (NBSP and U+202F, too) one space; soft hyphens, zero-width and control
    characters and lone surrogates are gone."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    elif not text.isprintable():
        text = _INVISIBLE.sub("", text)
    return " ".join(text.split())


def fold(text: str) -> str:
    """For comparing labels: tidy, upper and lower case the same, without the colon at the end."""
    return fold_tidy(tidy(text))


def fold_tidy(text: str) -> str:
    """The same for a text that is tidy already."""
    return text.casefold().rstrip(" :")
