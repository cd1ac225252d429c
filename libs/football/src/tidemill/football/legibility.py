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
_VOWELS = frozenset("aeiouy")
_PLENTY = 1500
"""Characters that tell for a whole text, each word taken once: a page may hold one pair of names fifty times."""
_ENOUGH = 400
"""Letters below which nothing can be said."""
# Pages of real issues have at least 0.85 and 0.65; of 4,000 shuffled or shifted alphabets none had both.
_LEAST_LIKENESS = 0.78
_LEAST_ALTERNATION = 0.6


class _Kinds(dict[int, str]):
    """Character to v (vowel), c (consonant) or a blank, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        letter = fold(chr(code))[:1]
        kind = ("v" if letter in _VOWELS else "c") if "a" <= letter <= "z" else " "
        self[code] = kind
        return kind


_KINDS = _Kinds()


def is_language(text: str) -> bool:
    """Whether letters are as frequent as in words, and vowels and consonants take turns; True for short texts."""
    words = " ".join(dict.fromkeys(text.split()))[:_PLENTY]
    kinds = words.translate(_KINDS)
    letters = len(kinds) - kinds.count(" ")
    if letters < _ENOUGH:
        return True
    return _alternation(kinds, letters) >= _LEAST_ALTERNATION and _likeness(words) >= _LEAST_LIKENESS


def _alternation(kinds: str, letters: int) -> float:
    """The share of neighbouring letters of which one is a vowel and the other is none."""
    pairs = letters - len(kinds.split())
    return (kinds.count("vc") + kinds.count("cv")) / pairs if pairs else 1.0


def _likeness(text: str) -> float:
    """How alike letters are distributed as in language, from 0 to 1."""
    letters: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if len(letter := fold(character)) == 1 and "a" <= letter <= "z":
            letters[letter] += count
    length = sqrt(sum(count * count for count in letters.values()))
    return sum(letters[letter] * share for letter, share in _USUAL.items()) / (length * _LENGTH) if length else 0.0
