"""Events as rows of fact that rules are held against: few labels, counted by the minute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.alerter.templates import number
from tidemill.common.events import (
    AnomalyFound,
    ConfigRefused,
    DocumentConverted,
    DocumentFailed,
    Event,
    FetchHeld,
    JobDead,
    PublicationLate,
    ReportNotDelivered,
    RunFinished,
    SlotSkipped,
)

EVENT_LABELS: dict[str, tuple[str, ...]] = {
    "RunFinished": ("source", "state", "reason", "trigger", "news"),
    "DocumentFailed": ("source", "failure"),
    "DocumentConverted": ("source", "outcome", "converter"),
    "SlotSkipped": ("source", "reason"),
    "FetchHeld": ("source", "host", "reason"),
    "PublicationLate": ("source",),
    "JobDead": ("service", "consumer", "reason"),
    "ConfigRefused": ("actor",),
    "AnomalyFound": ("source", "measure", "about", "direction", "severity"),
    "ReportNotDelivered": ("kind", "channel", "reason"),
}
"""What rules may ask of each event. Few values each: no ids, no texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """So many events of one kind with the same labels, in one minute."""

    event: str
    labels: Mapping[str, str]
    at: datetime
    """Of the last of them."""
    count: int = 1
    says: str = ""
    """What the last of them said, for people."""
    run: str = ""
    traceparent: str = ""


def signal_of(event: Event, traceparent: str = "") -> Signal:
    """What is kept of an event."""
    at, says = _TOLD[type(event)](event)
    name = type(event).__name__
    return Signal(
        event=name,
        labels={label: _label(event, label) for label in EVENT_LABELS[name]},
        at=at,
        says=says[:500],
        run=str(getattr(event, "run", "")),
        traceparent=traceparent,
    )


def _label(event: Event, name: str) -> str:
    if name == "news" and isinstance(event, RunFinished):
        return "yes" if event.new + event.changed else "no"
    if name == "about" and isinstance(event, AnomalyFound):  # `quality` of `listings.listing.quality`
        return event.measure.rpartition(".")[2]
    if name == "direction" and isinstance(event, AnomalyFound):
        return "less" if event.value < event.low else "more"
    return str(getattr(event, name))


def _run(event: RunFinished) -> tuple[datetime, str]:
    failed = f", {event.failed} of {event.items} items failed" if event.failed else ""
    return event.finished_at, f"run {event.run} is {event.state}{f' ({event.reason})' if event.reason else ''}{failed}"


_TOLD: dict[type[Event], Callable[[Any], tuple[datetime, str]]] = {
    RunFinished: _run,
    DocumentFailed: lambda event: (event.failed_at, f"{event.url or event.name}: {event.detail or event.failure}"),
    DocumentConverted: lambda event: (event.converted_at, f"{event.name}: {event.reason or event.outcome}"),
    SlotSkipped: lambda event: (event.slot, f"slot {event.slot:%Y-%m-%d %H:%M} UTC of {event.schedule}"),
    FetchHeld: lambda event: (event.held_at, f"{event.host}: {event.detail or event.reason}"),
    PublicationLate: lambda event: (
        event.noted_at,
        f"nothing came from {event.opened_at:%Y-%m-%d %H:%M} to {event.closed_at:%Y-%m-%d %H:%M} UTC",
    ),
    JobDead: lambda event: (event.died_at, event.error),
    AnomalyFound: lambda event: (
        event.found_at,
        f"{event.title or event.measure} of {event.day} is {number(event.value)}, expected were"
        f" {number(event.low)} to {number(event.high)}{f' ({event.basis})' if event.basis else ''}",
    ),
    ReportNotDelivered: lambda event: (
        event.given_up_at,
        f"the report on {event.about}, after {event.attempts} attempts: {event.said or event.reason}"
        f"{f'; {event.fallback} takes over' if event.fallback else ''}",
    ),
    ConfigRefused: lambda event: (event.refused_at, "; ".join(event.problems[:3])),
}
EVENTS = tuple(_TOLD)
"""Those that are listened to."""
