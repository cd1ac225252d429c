"""How alike two names are, word by word, and why they are not the same. Pure and symmetric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from tidemill.football.teams import words

EXACT, TYPO, SHORTENED, INITIALS = 1.0, 0.93, 0.9, 0.85
"""How much a pair of words counts that is equal, misprinted (`Millionarios`), cut (`Bal.`) or abbreviated (`LP`)."""


@dataclass(frozen=True, slots=True)
class Likeness:
    score: float
    """0 to 1: the weight of the matched words in the weight of all words."""
    shared: frozenset[str]
    """Words of both names that are not of many clubs; a misprinted word counts only if it is long."""
    typos: int
    missing: tuple[frozenset[str], frozenset[str]]
    """Words that only the one, only the other name has."""

    @property
    def fault(self) -> str:
        """Why the words alone do not make it one team; empty if they do."""
        if not self.shared:
            return "no meaningful word shared"
        if self.typos > 1:
            return "more than one misprint"
        extra = self.missing[0] | self.missing[1]
        if all(self.missing) or not extra <= words.ADDED:
            return f"other words: {' '.join(sorted(extra))}"
        return ""


def likeness(one: Sequence[str], other: Sequence[str], weight: Callable[[str], float]) -> Likeness:
    """Compare the words of two names; `weight` says how much a word tells (one that many clubs have, little)."""
    rest_one, rest_other = list(one), list(other)
    total = sum(map(weight, one)) + sum(map(weight, other))
    matched, shared = 0.0, set()
    for word in one:
        if word in rest_other:
            rest_one.remove(word)
            rest_other.remove(word)
            matched += 2 * weight(word)
            if word not in words.GENERIC and len(word) > 1:
                shared.add(word)
    typos = 0
    pairs = [(quality, a, b) for a in rest_one for b in rest_other if (quality := _quality(a, b))]
    for quality, a, b in sorted(pairs, key=lambda pair: (-pair[0], min(pair[1:]), max(pair[1:]))):
        if a in rest_one and b in rest_other:
            rest_one.remove(a)
            rest_other.remove(b)
            matched += quality * (weight(a) + weight(b))
            typos += quality == TYPO
            if quality == TYPO and max(len(a), len(b)) >= 8:
                shared.add(min(a, b))
    if not (rest_one and rest_other):
        return _likeness(matched, total, shared, typos, rest_one, rest_other)
    for short, long, short_rest, long_rest in ((one, other, rest_one, rest_other), (other, one, rest_other, rest_one)):
        for word in [word for word in short if word in short_rest]:
            if run := _spelled_out(word, [part for part in long if part in long_rest]):
                short_rest.remove(word)
                for part in run:
                    long_rest.remove(part)
                matched += INITIALS * (weight(word) + sum(map(weight, run)))
    return _likeness(matched, total, shared, typos, rest_one, rest_other)


def _likeness(
    matched: float, total: float, shared: set[str], typos: int, rest_one: list[str], rest_other: list[str]
) -> Likeness:
    score = min(1.0, matched / total) if total else 0.0
    return Likeness(score, frozenset(shared), typos, (frozenset(rest_one), frozenset(rest_other)))


def _quality(one: str, other: str) -> float:
    short, long = sorted((one, other), key=len)
    stem = short.removesuffix(".")
    if stem != short and long.startswith(stem):
        return SHORTENED
    if len(short) < 5 or any(map(str.isdigit, one + other)) or (one[0] != other[0] and one[-1] != other[-1]):
        return 0.0
    # Two letters are two clubs: Northampton, Southampton.
    return TYPO if OSA.distance(one, other, score_cutoff=1) <= 1 else 0.0


def _spelled_out(initials: str, long: Sequence[str]) -> Sequence[str]:
    """The run of words that the initials stand for: `lp` for `la plata`."""
    if not 2 <= len(initials) <= 4 or not initials.isalpha():
        return ()
    for start in range(len(long) - len(initials) + 1):
        run = long[start : start + len(initials)]
        if all(part[0] == initial for part, initial in zip(run, initials, strict=True)):
            return run
    return ()
