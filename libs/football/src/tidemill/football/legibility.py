"""Whether text is language at all: fonts that lie about their letters yield soup that looks like text."""

from collections import Counter
from math import sqrt

from tidemill.football.spelling import fold

# Letters of Hungarian without accents, in per mille. Other languages of names come close; a shuffled alphabet does not.
_USUAL = dict(
    zip(
        "eatlnksroimzgdyvhbjupfc",
        (141, 130, 74, 63, 65, 52, 66, 50, 67, 52, 40, 45, 36, 20, 23, 19, 13, 19, 12, 20, 11, 9, 9),
        strict=True,
    )
)
_LENGTH = sqrt(sum(share * share for share in _USUAL.values()))
_LEAST = 0.7
_ENOUGH = 300
"""Letters below which nothing can be said."""


def likeness(text: str) -> float:
    """How alike the letters of a text are distributed as in language, from 0 to 1; 1 for a text too short to tell."""
    letters: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if len(letter := fold(character)) == 1 and "a" <= letter <= "z":
            letters[letter] += count
    if letters.total() < _ENOUGH:
        return 1.0
    length = sqrt(sum(count * count for count in letters.values()))
    return sum(letters[letter] * share for letter, share in _USUAL.items()) / (length * _LENGTH)


def is_language(text: str) -> bool:
    return likeness(text) >= _LEAST
