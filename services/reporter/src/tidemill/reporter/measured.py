"""What was measured of a run or a day, and what its past says of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import orjson

from tidemill.reporter.anomalies import Judgement, Past, judge
from tidemill.reporter.catalogue import Measure

Labels = Mapping[str, str]
Key = tuple[str, str, str]
"""Source, name, labels as they are kept."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of a time series."""

    source: str
    name: str
    value: float
    labels: str = "{}"
    judgement: Judgement | None = None
    """None where the past is too short, or the measure is not judged here."""

    @property
    def key(self) -> Key:
        return self.source, self.name, self.labels

    @property
    def unusual(self) -> bool:
        return self.judgement is not None and self.judgement.severity is not None


def canonical(labels: Labels) -> str:
    return orjson.dumps(dict(labels), option=orjson.OPT_SORT_KEYS).decode()


def judged(
    measured: Sequence[Measured], past: Mapping[Key, Sequence[Past]], known: Mapping[str, Measure], day: date
) -> list[Measured]:
    """Each with what its past says."""
    return [
        replace(one, judgement=_judgement(one, past.get(one.key, ()), known.get(one.name), day)) for one in measured
    ]


def without_severity(measured: Sequence[Measured]) -> list[Measured]:
    """With their bands alone: of what is judged elsewhere."""
    return [
        one if one.judgement is None else replace(one, judgement=replace(one.judgement, severity=None))
        for one in measured
    ]


def _judgement(one: Measured, past: Sequence[Past], measure: Measure | None, day: date) -> Judgement | None:
    if measure is None:
        return None
    found = judge(measure.kind, past, day, one.value, least=measure.least)
    if found is not None and measure.only_more and found.score < 0:
        return replace(found, severity=None)
    return found
