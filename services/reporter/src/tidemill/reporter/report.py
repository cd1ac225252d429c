"""What is said about a day or a run: the whole of it, as facts; every rendering is told from nothing else.

Nothing here depends on when a report is made, so that the same facts are the same bytes.
"""

import sys
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import orjson
from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from tidemill.reporter.table import ColumnOf, Part, Table, Value, ValueType, plain

__all__ = [
    "AnomalyShown",
    "ColumnOf",
    "ConverterVersion",
    "Correction",
    "Coverage",
    "ErrorClass",
    "Freshness",
    "Missing",
    "Point",
    "Report",
    "Series",
    "SourceChanges",
    "Table",
    "Trust",
    "Value",
    "ValueType",
    "json_schema",
]

SCHEMA = "https://json-schema.org/draft/2020-12/schema"


Severity = Literal["critical", "warning", "info"]
Verdict = Literal["trusted", "doubtful", "untrusted"]


def _with_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


Moment = Annotated[
    datetime,
    AfterValidator(_with_zone),
    PlainSerializer(lambda moment: str(plain(moment, "time")), return_type=str, when_used="json"),
]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda number: number + 0.0)]
"""Never -0.0, which is another text."""
Fraction = Annotated[Number, Field(ge=0, le=1)]
Labels = dict[str, str]


class Missing(Part):
    """A source that was expected and of which nothing, or not all, is in."""

    source: str
    why: str


class SourceChanges(Part):
    """What one source brought, all its runs together."""

    source: str
    runs: Count
    state: str
    """The worst state of its runs: complete, partial, blocked, failed, cancelled, timed out."""
    new: Count = 0
    changed: Count = 0
    unchanged: Count = 0
    gone: Count = 0
    reappeared: Count = 0
    skipped: Count = 0
    failed: Count = 0
    requests: Count = 0
    bytes: Count = 0
    bytes_saved: Count = 0
    """Not transferred, because a server said that nothing had changed."""
    duration_seconds: Number = 0.0
    cpu_seconds: Number = 0.0
    peak_memory_bytes: Count = 0


class ErrorClass(Part):
    """Failures of one kind, and what a person does about them."""

    source: str
    failure: str
    """The class of failure, for instance `blocked` or `layout_changed`."""
    count: Count
    remedy: str
    example: str = ""
    """One of them: a URL or a file, and what was said."""


class Freshness(Part):
    """How old the newest of a dataset is."""

    name: str
    """A source or a dataset."""
    newest: Moment | None
    """When its newest value was received; null if there is none."""
    age_seconds: Number | None = None
    """At the end of the day that the report is about; of a day that was not over, at `as_of`."""
    limit_seconds: Number | None = None
    """Older than this is stale; null where nobody set a limit."""

    @property
    def stale(self) -> bool:
        """Nothing at all is stale, too."""
        if self.newest is None:
            return True
        return None not in (self.age_seconds, self.limit_seconds) and self.age_seconds > self.limit_seconds  # type: ignore[operator]


class Coverage(Part):
    """How much of what was expected is there."""

    name: str
    found: Count
    expected: Count | None = None
    """Null where nobody knows."""
    fraction: Fraction | None = None


class ConverterVersion(Part):
    """Which converter made how many of the records."""

    converter: str
    version: str
    records: Count


class Trust(Part):
    """How far the figures can be trusted, and why."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    """Why it is not `trusted`; a sentence each, the gravest first."""
    freshness: tuple[Freshness, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    missing_sources: tuple[str, ...] = ()
    quarantined: Count = 0
    rejected: Count = 0
    converter_versions: tuple[ConverterVersion, ...] = ()


class AnomalyShown(Part):
    """A measure that left its band."""

    measure: str
    title: str
    labels: Labels = Field(default_factory=dict)
    severity: Severity
    type: ValueType = "decimal"
    unit: str = ""
    value: Number
    expected: Number
    low: Number
    high: Number
    score: Number
    """How far off, in robust standard deviations; below zero for too little."""
    sentence: str = ""
    """What is said about it; without it, value and band are."""


class Point(Part):
    """A measure of one day; its value is null where the day has none."""

    day: date
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    anomalous: bool = False


class Series(Part):
    """A measure over days, with the band in which each was expected."""

    name: str
    """The measure, as in anomalies: with its labels it tells series apart."""
    title: str = ""
    labels: Labels = Field(default_factory=dict)
    type: ValueType = "decimal"
    unit: str = ""
    points: tuple[Point, ...] = ()

    @model_validator(mode="after")
    def _one_point_a_day(self) -> Self:
        days = [point.day for point in self.points]
        if days != sorted(set(days)):
            raise ValueError(f"{self.name}: points are one a day, in order")
        return self


class Correction(Part):
    """A figure that a former edition of this report gave otherwise."""

    where: str
    """The part of the report, for instance a table's title."""
    name: str
    """The figure."""
    type: ValueType = "text"
    unit: str = ""
    before: Value = None
    after: Value = None
    why: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        type = given.get("type", "text")
        return {**given, **{side: plain(given[side], type) for side in ("before", "after") if side in given}}


class Report(Part):
    """A report on one day of all sources, or on one run."""

    schema_version: Literal[1] = 1
    kind: Literal["day", "run"]
    subject: str = Field(min_length=1)
    """The day as 2025-06-17, or the id of the run."""
    day: date
    """The day it is about, in `zone`; of a run, the day of its slot."""
    zone: str
    """IANA name of the zone whose days are meant, and in which times are shown."""
    edition: int = Field(ge=1, default=1)
    """Beyond 1 it is a corrected report, unless it goes on."""
    as_of: Moment | None = Field(default=None, exclude_if=lambda moment: moment is None)
    """Of a day that was not over: until when it is told. Absent: all of it is."""
    goes_on: bool = Field(default=False, exclude_if=lambda said: not said)
    """The edition before was made while the day was not over: there was nothing to correct."""
    made_from: str
    """Digest of the facts."""
    summary: str
    """One sentence: what to know if nothing else is read."""
    complete: bool
    """Whether all inputs of the day were in."""
    missing: tuple[Missing, ...] = ()
    changes: tuple[SourceChanges, ...] = ()
    breakdowns: tuple[Table, ...] = ()
    errors: tuple[ErrorClass, ...] = ()
    quality: tuple[Table, ...] = ()
    performance: tuple[Table, ...] = ()
    politeness: tuple[Table, ...] = ()
    names: tuple[Table, ...] = ()
    """Printed names and what they were taken for."""
    trust: Trust
    anomalies: tuple[AnomalyShown, ...] = ()
    series: tuple[Series, ...] = ()
    corrections: tuple[Correction, ...] = ()
    """What differs from the edition before."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ZoneInfo(self.zone)
        if self.kind == "day" and self.subject != self.day.isoformat():
            raise ValueError(f"a report on {self.day} has it as its subject, not {self.subject!r}")
        return self

    @property
    def id(self) -> str:
        """The same for every edition: `day-2025-06-17`, `run-…`."""
        return f"{self.kind}-{self.subject}"

    @property
    def corrected(self) -> bool:
        """An edition before this one was meant to be the last."""
        return self.edition > 1 and not self.goes_on

    def canonical_json(self) -> bytes:
        """The one form in which a report is stored: keys sorted, no blanks, UTF-8."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, content: bytes | str) -> "Report":
        """Raises `pydantic.ValidationError` for what is no report."""
        return cls.model_validate_json(content)


def json_schema() -> str:
    """The published schema of the JSON form, as it stands in docs/schema/report.schema.json."""
    schema = {"$schema": SCHEMA, **Report.model_json_schema(mode="serialization")}
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
