"""The events that the reporter states."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

import orjson

from tidemill.common.channels import Outcome
from tidemill.common.events import AnomalyFound, ReportNotDelivered, ReportReady
from tidemill.reporter.catalogue import Measure
from tidemill.reporter.measured import Measured

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.


def anomaly(one: Measured, known: Mapping[str, Measure], day: date, at: datetime, run: str = "") -> AnomalyFound:
    """Of a value that is unusual."""
    said = one.judgement
    assert said is not None and said.severity is not None
    return AnomalyFound(
        source=one.source,
        run=run,
        day=day.isoformat(),
        measure=one.name,
        title=known[one.name].title if one.name in known else one.name,
        labels=orjson.loads(one.labels),
        severity=said.severity,
        value=one.value,
        expected=said.expected,
        low=said.low,
        high=said.high,
        score=said.score,
        basis=said.basis,
        found_at=at,
    )


def report_ready(report: "Report", source: str, sha256: str, at: datetime) -> ReportReady:
    return ReportReady(
        source=source,
        kind=report.kind,
        about=report.subject,
        day=report.day.isoformat(),
        edition=report.edition,
        summary=report.summary,
        complete=report.complete,
        verdict=report.trust.verdict,
        anomalies=len(report.anomalies),
        sha256=sha256,
        ready_at=at,
    )


def report_not_delivered(
    outcome: Outcome, kind: str, about: str, edition: int, source: str, day: str
) -> ReportNotDelivered:
    return ReportNotDelivered(
        source=source,
        kind=kind,
        about=about,
        day=day,
        edition=edition,
        channel=outcome.channel,
        recipient=outcome.recipient,
        reason=outcome.reason,
        said=outcome.text,
        attempts=outcome.attempts,
        fallback=outcome.fallback or "",
        given_up_at=outcome.at,
    )
