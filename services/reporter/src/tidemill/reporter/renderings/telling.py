"""The order in which a report is told: the same sections, in the same words, in every form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from tidemill.reporter.renderings.figures import UNKNOWN, counted, day_in_words, figure
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.report import AnomalyShown, Correction, Report, Series
from tidemill.reporter.table import ColumnOf, Table, Value, ValueType

VERDICTS = {"trusted": "To be trusted", "doubtful": "With care", "untrusted": "Not to be trusted"}
TITLE_LETTERS = 80
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Section:
    """Tables under one heading."""

    anchor: str
    title: str
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """A figure of the whole report, and its name."""

    title: str
    figure: str
    bad: bool = False
    value: int | None = None
    """Where it is a number, for forms that are computed with."""


def title(report: Report) -> str:
    """`Saturday, 28 November 2026`; of a run, its source and day."""
    if report.kind == "day":
        return day_in_words(report.day)
    sources = ", ".join(row.source for row in report.changes) or report.subject
    return f"{shortened(sources, TITLE_LETTERS)}, {day_in_words(report.day)}"


def edition(report: Report) -> str:
    """What is said of it beside its verdict: that it corrects another one, or that its day goes on."""
    if report.as_of is not None:
        return f"as of {report.as_of.astimezone(ZoneInfo(report.zone)):%H:%M}"
    return f"corrected, edition {report.edition}" if report.corrected else ""


def sums(report: Report) -> tuple[Sum, ...]:
    """What the sources brought, all together."""
    rows = report.changes
    whole = sum(row.state == "complete" for row in rows)
    expected = len({row.source for row in rows} | {gap.source for gap in report.missing})
    failed = sum(row.failed for row in rows)
    return (
        Sum("sources complete", f"{whole:,} of {expected:,}", bad=whole < expected),
        *(_sum(name, sum(getattr(row, name) for row in rows)) for name in ("new", "changed", "gone")),
        _sum("failed", failed, bad=failed > 0),
        _sum("saved by asking politely", sum(row.bytes_saved for row in rows), "bytes"),
    )


def _sum(title: str, value: int, type: ValueType = "integer", *, bad: bool = False) -> Sum:
    return Sum(title, figure(value, type), bad, value)


def anomalies(report: Report) -> list[AnomalyShown]:
    """Red first, and of one severity the farthest from its band first."""
    return sorted(report.anomalies, key=lambda one: (SEVERITIES.index(one.severity), -abs(one.score)))


def told(anomaly: AnomalyShown) -> str:
    """Its own sentence, or where the value stands to its band."""
    if anomaly.sentence:
        return anomaly.sentence
    side = "below" if anomaly.value < anomaly.low else "above" if anomaly.value > anomaly.high else "within"
    value, low, high = (figure(each, anomaly.type, anomaly.unit) for each in (anomaly.value, anomaly.low, anomaly.high))
    return f"{value} is {side} the {low} to {high} that were expected."


def of_labels(labels: Mapping[str, str]) -> str:
    return ", ".join(value for _, value in sorted(labels.items()))


def name_of(one: Series | AnomalyShown) -> str:
    """`Median price, Helsinki`."""
    measure = one.title or (one.name if isinstance(one, Series) else one.measure)
    return f"{measure}, {of_labels(one.labels)}" if one.labels else measure


def find_series(report: Report, anomaly: AnomalyShown) -> Series | None:
    return next((s for s in report.series if (s.name, s.labels) == (anomaly.measure, anomaly.labels)), None)


def head(column: ColumnOf) -> str:
    """A column's title; the unit stands there once, not in each cell."""
    return visible(f"{column.title}, {column.unit}" if column.unit else column.title)


def drawable(series: Series | None) -> bool:
    """Whether a chart of it says more than its figure."""
    return series is not None and sum(point.value is not None for point in series.points) >= 2


def corrected(correction: Correction) -> tuple[str, str]:
    """Its figure before and after."""
    before, after = (figure(side, correction.type, correction.unit) for side in (correction.before, correction.after))
    return before, after


def sections(report: Report) -> tuple[Section, ...]:
    """Every table that has rows, in reading order; time series are apart, in `series_table`."""
    found = (
        Section("stands-out", "What stands out", (_anomalies(report),)),
        Section("corrected", "What was corrected", (_corrections(report),)),
        Section("missing", "What is missing", (_missing(report),)),
        Section("changed", "What changed", (_changes(report),)),
        Section("errors", "What failed, and what to do", (_errors(report),)),
        Section("breakdowns", "In detail", report.breakdowns),
        Section("quality", "Quality", report.quality),
        Section("names", "Names", report.names),
        Section("trend", "Over time", (_trend(report),)),
        Section("performance", "What it cost", report.performance),
        Section("politeness", "What was asked of others", report.politeness),
        Section("trust", "How far to trust it", _trust(report)),
    )
    return tuple(one for each in found if (one := _with_rows(each)).tables)


def series_table(report: Report) -> Table:
    """All points of all series, one a row."""
    columns = (
        "name:Measure:text;labels:Of:text;day:Day:date;value:Value:decimal;low:Expected from:decimal;"
        "high:Expected to:decimal;anomalous:Anomalous:text"
    )
    rows = (
        (
            one.title or one.name,
            of_labels(one.labels),
            point.day,
            point.value,
            point.low,
            point.high,
            _yes(point.anomalous),
        )
        for one in report.series
        for point in one.points
    )
    return table("Time series", columns, rows)


def table(title: str, columns: str, rows: Iterable[Sequence[Any]], note: str = "") -> Table:
    """Columns as `name:Title:type`, separated by `;`."""
    parts = [column.split(":") for column in columns.split(";")]
    made = [ColumnOf.model_validate({"name": name, "title": title, "type": type}) for name, title, type in parts]
    return Table.model_validate({"title": title, "columns": made, "rows": list(rows), "note": note})


def _with_rows(section: Section) -> Section:
    return Section(section.anchor, section.title, tuple(table for table in section.tables if table.rows))


def _anomalies(report: Report) -> Table:
    columns = (
        "severity:Severity:text;measure:Measure:text;labels:Of:text;value:Value:decimal;expected:Expected:decimal;"
        "low:From:decimal;high:To:decimal;unit:Unit:text;score:Deviations:decimal;said:What is said:text"
    )
    rows = (
        (
            one.severity,
            one.title,
            of_labels(one.labels),
            *(one.value, one.expected, one.low, one.high),
            one.unit or UNITS.get(one.type, ""),
            one.score,
            told(one),
        )
        for one in anomalies(report)
    )
    return table("What stands out", columns, rows, "Deviations are robust standard deviations from what was expected.")


def _corrections(report: Report) -> Table:
    columns = "where:Where:text;name:Figure:text;before:Before:text;after:Now:text;why:Why:text"
    rows = ((one.where, one.name, *corrected(one), one.why) for one in report.corrections)
    return table("What was corrected", columns, rows, "Against the edition before.")


def _missing(report: Report) -> Table:
    return table(
        "What is missing", "source:Source:text;why:Why:text", ((one.source, one.why) for one in report.missing)
    )


def _changes(report: Report) -> Table:
    counts = ("new", "changed", "gone", "failed", "unchanged", "reappeared", "skipped")
    columns = ";".join(
        (
            "source:Source:text",
            "state:State:text",
            "runs:Runs:integer",
            *(f"{n}:{n.capitalize()}:integer" for n in counts),
        )
    )
    rows = ((one.source, one.state, one.runs, *(getattr(one, count) for count in counts)) for one in report.changes)
    return table("What changed", columns, rows)


def _errors(report: Report) -> Table:
    columns = "source:Source:text;failure:Failure:text;count:Times:integer;remedy:What to do:text;example:Example:text"
    rows = ((one.source, one.failure, one.count, one.remedy, one.example) for one in report.errors)
    return table("What failed, and what to do", columns, rows)


def _trend(report: Report) -> Table:
    """Of each series its newest value, and that of seven days before."""
    columns = (
        "measure:Measure:text;now:This day:text;before:A week before:text;change:Change:percent;expected:Expected:text"
    )
    rows = [row for one in report.series if (row := trend_row(one)) is not None]
    return table("Against the same weekday", columns, rows)


def moved(report: Report) -> tuple[Table, ...]:
    """For a morning's mail: of the trend what can be compared, what moved most first."""
    trend = _trend(report)
    place = [column.name for column in trend.columns].index("change")
    compared = [row for row in trend.rows if row[place] is not None]
    ordered = sorted(compared, key=lambda row: -abs(float(row[place] or 0)))
    return (trend.model_copy(update={"rows": tuple(ordered)}),) if ordered else ()


def trend_row(one: Series) -> tuple[Value, ...] | None:
    if not one.points:
        return None
    last = one.points[-1]
    before = next((p.value for p in one.points if (last.day - p.day).days == 7), None)
    change = None if last.value is None or not before else round(last.value / before - 1, 6)
    shown = [figure(value, one.type, one.unit) for value in (last.value, before)]
    return (name_of(one), *shown, change, band(one, last.low, last.high))


def band(one: Series, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return UNKNOWN
    return f"{figure(low, one.type)} to {figure(high, one.type, one.unit)}"


def _trust(report: Report) -> tuple[Table, ...]:
    trust = report.trust
    fresh = "name:Of:text;newest:Newest:time;age:Age:duration;limit:Limit:duration;stale:State:text"
    covered = "name:Of:text;found:Found:integer;expected:Expected:integer;fraction:Coverage:percent"
    made = "converter:Converter:text;version:Version:text;records:Records:integer"
    kept = "name:What:text;count:Count:integer"
    return (
        table(
            "Freshness",
            fresh,
            (
                (f.name, f.newest, f.age_seconds, f.limit_seconds, "stale" if f.stale else "fresh")
                for f in trust.freshness
            ),
        ),
        table("Coverage", covered, ((c.name, c.found, c.expected, c.fraction) for c in trust.coverage)),
        table("Converters", made, ((c.converter, c.version, c.records) for c in trust.converter_versions)),
        table(
            "Kept apart",
            kept,
            [
                (name, count)
                for name, count in (("quarantined", trust.quarantined), ("rejected", trust.rejected))
                if count
            ],
        ),
    )


def notes_on_trust(report: Report) -> tuple[str, ...]:
    """What the trust box says beside its verdict: reasons, and what was kept apart."""
    trust = report.trust
    apart = []
    if trust.quarantined:
        apart.append(f"{counted(trust.quarantined, 'record')} in quarantine.")
    if trust.rejected:
        apart.append(f"{counted(trust.rejected, 'row')} rejected.")
    return (*trust.reasons, *apart)


UNITS = {"percent": "fraction", "duration": "s", "bytes": "B"}


def _yes(value: bool) -> str:
    return "yes" if value else ""
