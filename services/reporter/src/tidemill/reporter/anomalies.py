"""Whether a measure of today is what its past lets expect: robust, and by weekday. Pure; docs/anomalies.md says why.

A value is brought to a scale on which its noise is even, freed from its trend (seasonal Kendall slope), and held
against the median of its weekday; the spread is the median absolute deviation of all days from theirs.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import median
from typing import Literal

Kind = Literal["count", "share", "level"]
"""A number of things, a part of a whole (0 to 1), or any other quantity, such as a price or a duration."""
Severity = Literal["critical", "warning", "info"]

WINDOW = timedelta(days=84)
"""Older values say nothing: twelve of each weekday."""
LEAST_OF_WEEKDAY = 4
LEAST_OF_ANY = 10
"""Where a weekday has too little history all days are asked; below this many nothing is said."""
LEAST_PAIRS = 10
NORMAL = 1.4826
"""Standard deviations in a median absolute deviation, where noise is normal."""
ZEROS_OF_WEEKDAY = 2
ZEROS_OF_ANY, ZEROS_SHARE = 3, 0.05
"""So many zeros of the weekday, or of those weekdays that have other values too, and one more is nothing unusual."""
SEVERITIES: tuple[tuple[float, Severity], ...] = ((8.0, "critical"), (5.0, "warning"), (3.5, "info"))
"""From so many robust standard deviations on."""
BAND = SEVERITIES[-1][0]
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Least:
    """What is too little to be worth a word, however even the past was."""

    spread: float
    """The past is never taken to be more even than this: on the scale of counts, of shares, or in parts of a level."""
    difference: float
    share: float
    """Of what was expected."""


LEAST: Mapping[Kind, Least] = {
    "count": Least(spread=0.5, difference=5.0, share=0.1),  # Where noise is that of Poisson, the spread is 1.
    "share": Least(spread=0.004, difference=0.02, share=0.0),
    "level": Least(spread=0.01, difference=0.0, share=0.05),
}


@dataclass(frozen=True, slots=True)
class Past:
    """What was measured on an earlier day."""

    day: date
    value: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was expected, and how far the value is from it."""

    expected: float
    low: float
    high: float
    """Between them nothing is unusual."""
    score: float
    """How far off, in robust standard deviations; below zero for too little."""
    severity: Severity | None
    """None: nothing unusual."""
    basis: str
    """What it was held against, for instance `12 earlier Mondays`."""


def judge(kind: Kind, history: Iterable[Past], day: date, value: float, *, least: float = 0.0) -> Judgement | None:
    """None where the past is too short to say anything. Of `history`, days before `day` within the window count.
    Differences below `least` are nothing unusual."""
    recent = sorted((one for one in history if day - WINDOW <= one.day < day), key=lambda one: one.day)
    alike = _alike(recent, day)
    if not alike:
        return None
    by_weekday = all(one.day.weekday() == day.weekday() for one in alike)
    basis = f"{len(alike)} earlier {f'{day:%A}s' if by_weekday else 'days'}"
    zero_happens = kind == "count" and _zero_happens(recent, alike)
    if zero_happens and any(one.value for one in alike):
        recent, alike = ([one for one in several if one.value] for several in (recent, alike))
    expected, spread = _expect(kind, recent, alike, day, by_weekday=by_weekday)
    judgement = _held(kind, value, expected, spread, basis, least)
    if not by_weekday:
        judgement = _widened(judgement, value, recent)
    return (
        replace(judgement, low=0.0, severity=None if value == 0 else judgement.severity) if zero_happens else judgement
    )


def _widened(judgement: Judgement, value: float, recent: Sequence[Past]) -> Judgement:
    """While weekdays have no past of their own, nothing is unusual that has been before: it may be their way."""
    seen = [one.value for one in recent]
    low, high = min(judgement.low, *seen), max(judgement.high, *seen)
    return replace(judgement, low=low, high=high, severity=None if low <= value <= high else judgement.severity)


def _zero_happens(recent: Sequence[Past], alike: Sequence[Past]) -> bool:
    if sum(one.value == 0 for one in alike) >= ZEROS_OF_WEEKDAY:
        return True
    busy = {one.day.weekday() for one in recent if one.value}
    mixed = [one.value == 0 for one in recent if one.day.weekday() in busy]
    return sum(mixed) >= max(ZEROS_OF_ANY, ZEROS_SHARE * len(mixed))


def _alike(recent: Sequence[Past], day: date) -> Sequence[Past]:
    """Those of the same weekday; of all days, where these are too few."""
    same = [one for one in recent if one.day.weekday() == day.weekday()]
    if len(same) >= LEAST_OF_WEEKDAY:
        return same
    return recent if len(recent) >= LEAST_OF_ANY else ()


def _expect(
    kind: Kind, recent: Sequence[Past], alike: Sequence[Past], day: date, *, by_weekday: bool
) -> tuple[float, float]:
    """Expected value and spread, on the scale of the kind."""
    slope = _slope(kind, recent)
    level = {one: to_scale(kind, one.value) + slope * (day - one.day).days for one in {*recent, *alike}}
    expected = median(level[one] for one in alike)
    groups: dict[int, list[float]] = defaultdict(list)
    for one in recent:
        groups[one.day.weekday() if by_weekday else 0].append(level[one])
    residuals = [value - median(values) for values in groups.values() if len(values) > 1 for value in values]
    own = _spread([level[one] - expected for one in alike])
    # Medians were taken from the values themselves, and the expected value has an error of its own.
    few = math.sqrt(1 + 2 / len(alike)) * (1 + 1 / len(alike))
    return expected, max(_spread(residuals), own) * few


def _slope(kind: Kind, recent: Sequence[Past]) -> float:
    """Per day: the median of the slopes between values of the same weekday (Hirsch, Slack and Smith 1982)."""
    groups: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for one in recent:
        groups[one.day.weekday()].append((one.day.toordinal(), to_scale(kind, one.value)))
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for values in groups.values()
        for place, later in enumerate(values)
        for sooner in values[:place]
        if later[0] > sooner[0]
    ]
    return median(slopes) if len(slopes) >= LEAST_PAIRS else 0.0


def _spread(residuals: Sequence[float]) -> float:
    return NORMAL * median(map(abs, residuals)) if residuals else 0.0


def _held(kind: Kind, value: float, expected: float, spread: float, basis: str, least: float) -> Judgement:
    limits = LEAST[kind]
    usual = from_scale(kind, expected)
    floor = limits.spread * (abs(usual) / (1 + abs(usual)) if kind == "level" else 1.0)  # log1p bends near zero.
    spread = max(spread, floor, TINY)
    slack = max(limits.difference, limits.share * abs(usual), least)
    low = min(from_scale(kind, expected - BAND * spread), usual - slack)
    high = max(from_scale(kind, expected + BAND * spread), usual + slack)
    if usual >= 0:
        low = max(low, 0.0)
    if kind == "share":
        high = min(high, 1.0)
    score = (to_scale(kind, value) - expected) / spread
    outside = not low <= value <= high
    severity = next((name for far, name in SEVERITIES if abs(score) >= far), None) if outside else None
    return Judgement(usual, low, high, score, severity, basis)


def to_scale(kind: Kind, value: float) -> float:
    """Counts by Anscombe's transform, which evens the noise of Poisson; levels by their logarithm; shares stay."""
    if kind == "count":
        return 2 * math.sqrt(max(value, 0.0) + 3 / 8)
    if kind == "level":
        return math.log1p(value) if value >= 0 else -math.log1p(-value)
    return value


def from_scale(kind: Kind, scaled: float) -> float:
    """The inverse; below the least there is, the least."""
    if kind == "count":
        return max((max(scaled, 0.0) / 2) ** 2 - 3 / 8, 0.0)
    if kind == "level":
        return math.copysign(math.expm1(min(abs(scaled), 700.0)), scaled)
    return scaled
