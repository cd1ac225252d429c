"""Pure: from facts to the report."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from tidemill.reporter.anomalies import Severity
from tidemill.reporter.breakdowns import tables_of
from tidemill.reporter.catalogue import Measure
from tidemill.reporter.facts import Facts, Row
from tidemill.reporter.inputs import EVERY
from tidemill.reporter.remedies import remedy
from tidemill.reporter.renderings.figures import figure
from tidemill.reporter.report import (
    AnomalyShown,
    ConverterVersion,
    Coverage,
    ErrorClass,
    Freshness,
    Missing,
    Point,
    Report,
    Series,
    SourceChanges,
    Trust,
)
from tidemill.reporter.sections import bytes_saved, names, performance, politeness, quality
from tidemill.reporter.trusting import judge_trust, worst

SHOWN_SERIES = ("new", "changed", "gone", "failed", "records", "requests", "duration_seconds")
SERIES_MOST = 80
RANKS: Mapping[str, int] = {"critical": 0, "warning": 1, "info": 2}
UNKNOWN = Measure("", "", "level", "decimal")


def tell(facts: Facts, known: Mapping[str, Measure]) -> Report:
    """The first edition. `made_from` is a digest of all that it says: the same facts say the same."""
    anomalies = tuple(_anomalies(facts, known))
    lacks = facts.inputs.lacks
    missing = tuple(Missing(source=one.source, why=one.why) for one in lacks if one.source != EVERY)
    report = Report(
        kind="run" if facts.about.kind == "run" else "day",
        subject=facts.about.subject,
        day=facts.about.day,
        zone=facts.about.zone.key,
        as_of=facts.about.as_of,
        made_from="",
        summary=_summary(facts, anomalies),
        complete=not lacks,
        missing=missing,
        changes=tuple(_changes(facts)),
        breakdowns=tuple(table for one in facts.datasets for table in tables_of(one)),
        errors=tuple(_error(row) for row in facts.errors),
        quality=tuple(quality(facts)),
        performance=tuple(performance(facts)),
        politeness=tuple(politeness(facts)),
        names=tuple(names(facts)),
        trust=_trust(facts, anomalies),
        anomalies=anomalies,
        series=tuple(_series(facts, known)),
    )
    return report.model_copy(update={"made_from": hashlib.sha256(report.canonical_json()).hexdigest()})


def _changes(facts: Facts) -> Iterator[SourceChanges]:
    saved = bytes_saved(facts)
    for row in facts.sources:
        told = {name: row[name] for name in SourceChanges.model_fields if name in row}
        yield SourceChanges(**told, state=worst(row["states"]), bytes_saved=saved.get(row["source"], 0))


def _error(row: Row) -> ErrorClass:
    return ErrorClass(
        source=row["source"],
        failure=row["failure"],
        count=row["count"],
        remedy=remedy(row["failure"]),
        example=row["example"] or "",
    )


def _anomalies(facts: Facts, known: Mapping[str, Measure]) -> Iterator[AnomalyShown]:
    """Of runs, and of the day; the gravest first."""
    rows: list[dict[str, Any]] = [dict(row) for row in facts.unusual]
    for one in facts.measured if facts.about.kind == "day" else ():
        if one.judgement is not None and one.judgement.severity is not None:
            said = one.judgement
            judged = {name: getattr(said, name) for name in ("expected", "low", "high", "score", "basis", "severity")}
            rows.append({"source": one.source, "name": one.name, "labels": one.labels, "value": one.value, **judged})
    for row in sorted(rows, key=lambda row: (RANKS[row["severity"]], row["source"], row["name"], row["labels"])):
        yield _shown(row, known.get(row["name"], UNKNOWN))


def _shown(row: Row, measure: Measure) -> AnomalyShown:
    severity: Severity = row["severity"]
    labels = orjson.loads(row["labels"])
    title = measure.title or row["name"]
    of = f" ({', '.join(labels.values())})" if labels else ""
    value, low, high = (figure(row[name], measure.type, measure.unit) for name in ("value", "low", "high"))
    return AnomalyShown(
        measure=row["name"],
        title=title,
        labels={"source": row["source"], **labels},
        severity=severity,
        type=measure.type,
        unit=measure.unit,
        **{name: round(row[name], 6) for name in ("value", "expected", "low", "high", "score")},
        sentence=f"{row['source']}: {title}{of}: {value}, where {row['basis']} let expect {low} to {high}",
    )


def _series(facts: Facts, known: Mapping[str, Measure]) -> Iterator[Series]:
    """Days before, and the day itself; those of the report's own sources first."""
    points: dict[tuple[str, str, str], list[Point]] = {}
    for row in facts.series:
        if row["name"] in SHOWN_SERIES or "." in row["name"]:
            at = Point(**{name: row[name] for name in ("day", "value", "low", "high", "anomalous")})
            points.setdefault((row["source"], row["name"], row["labels"]), []).append(at)
    unusual = {(row["source"], row["name"], row["labels"]) for row in facts.unusual}
    for one in facts.measured if facts.about.kind == "day" else ():
        if one.name in SHOWN_SERIES or "." in one.name:
            said = one.judgement
            low, high = (said.low, said.high) if said else (None, None)
            anomalous = one.unusual or one.key in unusual
            at = Point(day=facts.about.day, value=one.value, low=low, high=high, anomalous=anomalous)
            points.setdefault(one.key, []).append(at)
    told = [key for key, several in points.items() if any(point.value for point in several)]
    for source, name, labels in sorted(told, key=lambda key: (key[2] != "{}", key))[:SERIES_MOST]:
        measure = known.get(name, UNKNOWN)
        yield Series(
            name=name,
            title=measure.title or name,
            labels={"source": source, **orjson.loads(labels)},
            type=measure.type,
            unit=measure.unit,
            points=tuple(points[source, name, labels]),
        )


def _trust(facts: Facts, anomalies: Sequence[AnomalyShown]) -> Trust:
    moment = facts.about.as_of or facts.about.until
    age = {row["source"]: max(0.0, (moment - row["newest"]).total_seconds()) for row in facts.newest}
    freshness = tuple(
        Freshness(
            name=row["source"],
            newest=row["newest"],
            age_seconds=age[row["source"]],
            limit_seconds=facts.stale_after / timedelta(seconds=1),
        )
        for row in facts.newest
    )
    verdict, reasons = judge_trust(facts, freshness, anomalies)
    return Trust(
        verdict=verdict,
        reasons=tuple(reasons),
        freshness=freshness,
        coverage=tuple(_coverage(facts)),
        missing_sources=tuple(dict.fromkeys(one.source for one in facts.inputs.lacks if one.source != EVERY)),
        quarantined=sum(
            row["held"] for row in facts.held if not facts.about.source or row["source"] == facts.about.source
        ),
        rejected=sum(row["count"] for row in facts.rejected),
        converter_versions=tuple(ConverterVersion(**row) for row in facts.converters),
    )


def _coverage(facts: Facts) -> Iterator[Coverage]:
    """Runs that are complete, of those that schedules asked for."""
    complete = {row["source"]: row["complete"] for row in facts.sources}
    for source, expected in facts.inputs.expected.items():
        found = complete.get(source, 0)
        fraction = min(1.0, round(found / expected, 6)) if expected else None
        yield Coverage(name=source, found=found, expected=expected, fraction=fraction)


def _summary(facts: Facts, anomalies: Sequence[AnomalyShown]) -> str:
    """One sentence."""
    so_far = [f"the day is not over, this is as of {moment:%H:%M}"] if (moment := _as_of(facts)) else []
    if not facts.sources:
        idle = len({lack.source for lack in facts.inputs.lacks} - {EVERY})
        nothing = f"Nothing ran: {_many(idle, 'source')} did not do what was expected" if idle else "Nothing ran"
        return "; ".join([nothing, *so_far]) + "."
    runs = sum(row["runs"] for row in facts.sources)
    totals = {name: sum(row[name] for row in facts.sources) for name in ("new", "changed", "gone", "failed")}
    who = facts.about.source or f"{_many(len(facts.sources), 'source')} in {_many(runs, 'run')}"
    said = [f"{totals[name]:,} {name}" for name in ("new", "changed", "gone")]
    if totals["failed"]:
        said.append(f"{totals['failed']:,} failed")
    parts = [f"{who}: {', '.join(said)}"]
    if grave := [one for one in anomalies if one.severity != "info"]:
        parts.append(f"{_many(len(grave), 'measure')} {'is' if len(grave) == 1 else 'are'} unusual")
    parts += so_far
    if lacking := sorted({lack.source for lack in facts.inputs.lacks} - {EVERY}):
        parts.append(f"not all is in of {', '.join(lacking)}")
    return "; ".join(parts) + "."


def _as_of(facts: Facts) -> datetime | None:
    """On the clock of the report's zone."""
    return facts.about.as_of and facts.about.as_of.astimezone(facts.about.zone)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
