"""Pure: what an event says of a run and of its items."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from tidemill.common.events import (
    DocumentConverted,
    DocumentFailed,
    DocumentGone,
    DocumentRefused,
    DocumentStored,
    DocumentUnchanged,
    JobDead,
    RunPlanned,
)
from tidemill.scheduler.items import Item, Rank

NOT_PUBLISHED = "not_published"
"""A file whose address was guessed is not there: no failure, for nobody promised it."""
LONGEST_KEY = 1000
"""Bytes. An index takes 2,700; addresses may be longer."""
SHOWN_OF_LONG = 200
PLAN_SUBJECT = "tidemill.run.requested."
CONVERTED = "converted"
"""The outcome of a conversion that went well; every other names what is wrong."""
ITEM_SUBJECTS = ("tidemill.job.", "tidemill.document.stored.")


@dataclass(frozen=True, slots=True)
class Plan:
    """A part of a run's plan."""

    trigger: str
    closed: bool
    total: int
    skipped: int
    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Word:
    """What one event adds to one run."""

    source: str
    run: str
    at: datetime
    items: Mapping[str, Item] = field(default_factory=dict)
    plan: Plan | None = None
    plan_dead: str = ""
    """Why nobody will plan this run."""
    traceparent: str = ""


def word_of_plan(event: RunPlanned) -> Word:
    planned = Item(Rank.PLANNED, event.planned_at, planned=True)
    return Word(
        source=event.source,
        run=event.run,
        at=event.planned_at,
        items={key(item): planned for item in event.items},
        plan=Plan(
            trigger=event.trigger,
            closed=event.closed,
            total=event.total,
            skipped=sum(event.skipped.values()),
            requests=event.requests,
            bytes=event.bytes_received,
        ),
    )


def word_of_stored(event: DocumentStored, *, converts: bool) -> Word:
    """Where nothing converts, a stored document is all that is wanted."""
    at = event.received_at
    item = Item(
        rank=Rank.STORED if converts else Rank.CONVERTED,
        at=at,
        outcome="" if converts else _came(event),
        name=event.name,
        sha256=event.sha256,
        ended_at=None if converts else at,
        requests=event.requests,
        bytes=event.bytes_received,
    )
    return _word(event, event.item or event.sha256, item)


def word_of_converted(event: DocumentConverted) -> Word:
    converted = event.outcome == CONVERTED
    item = Item(
        rank=Rank.CONVERTED if converted else Rank.MISCONVERTED,
        at=event.converted_at,
        outcome=_came(event) if converted else "failed",
        reason="" if converted else event.outcome,
        detail=event.reason,
        name=event.name,
        sha256=event.sha256,
        records={dataset: changes.model_dump() for dataset, changes in event.records.items()},
        ended_at=event.converted_at,
        requests=event.requests,
        bytes=event.bytes_received,
        cpu_seconds=event.cpu_seconds,
        peak_memory_bytes=event.peak_memory_bytes,
    )
    return _word(event, event.item or event.sha256, item)


def word_of_unchanged(event: DocumentUnchanged) -> Word:
    item = Item(
        rank=Rank.UNCHANGED,
        at=event.received_at,
        outcome="unchanged",
        name=event.name,
        sha256=event.sha256,
        ended_at=event.received_at,
        requests=event.requests,
        bytes=event.bytes_received,
    )
    return _word(event, event.item or event.sha256, item)


def word_of_refused(event: DocumentRefused) -> Word:
    item = Item(
        rank=Rank.REFUSED,
        at=event.received_at,
        outcome="failed",
        reason=event.reason,
        detail=event.detail,
        name=event.name,
        ended_at=event.received_at,
        requests=event.requests,
        bytes=event.bytes_received,
    )
    return _word(event, event.item or event.name, item)


def word_of_failed(event: DocumentFailed) -> Word:
    nothing_yet = event.failure == NOT_PUBLISHED
    item = Item(
        rank=Rank.UNCHANGED if nothing_yet else Rank.FAILED,
        at=event.failed_at,
        outcome="unchanged" if nothing_yet else "failed",
        reason=event.failure,
        detail=event.detail,
        name=event.name,
        ended_at=event.failed_at,
        requests=event.requests,
        bytes=event.bytes_received,
    )
    return _word(event, event.item, item)


def word_of_gone(event: DocumentGone) -> Word:
    item = Item(
        rank=Rank.GONE,
        at=event.gone_at,
        outcome="gone",
        reason=event.reason,
        detail=event.detail,
        name=event.name,
        sha256=event.sha256,
        ended_at=event.gone_at,
        requests=event.requests,
        bytes=event.bytes_received,
    )
    return _word(event, event.item, item)


def word_of_dead(event: JobDead) -> Word | None:
    """None where it is no work of a run: whoever only listens may give up without harm to it."""
    subject = event.origin_subject
    ours = event.service == "scheduler" and subject.startswith("tidemill.document.")
    if not (ours or subject.startswith((*ITEM_SUBJECTS, PLAN_SUBJECT))):
        return None
    said = _payload(event)
    run = said.get("run") or event.headers.get("Tidemill-Run", "")
    source = event.source or subject.rpartition(".")[2]
    if not run:
        return None
    if subject.startswith(PLAN_SUBJECT):
        return Word(plain(source), plain(run), event.died_at, plan_dead=event.reason)
    name = said.get("item") or said.get("sha256")
    if not name:
        return None
    item = Item(
        rank=Rank.DEAD,
        at=event.died_at,
        outcome="failed",
        reason=f"dead_{event.reason}",
        detail=plain(event.error),
        name=plain(said.get("name", "")),
        sha256=plain(said.get("sha256", "")),
        begun_at=event.died_at,
        ended_at=event.died_at,
    )
    return Word(plain(source), plain(run), event.died_at, {key(name): item})


def key(item: str) -> str:
    """Of an item, short enough for an index of Postgres."""
    name = plain(item)
    if len(name.encode()) <= LONGEST_KEY:
        return name
    return f"{name[:SHOWN_OF_LONG]}…{hashlib.sha256(name.encode()).hexdigest()}"


def plain(text: str) -> str:
    """Without the letter that Postgres cannot keep."""
    return text.replace("\x00", "")


def _word(event: Any, item: str, about: Item) -> Word:
    return Word(plain(event.source), plain(event.run), about.at, {key(item): replace(about, begun_at=about.at)})


def _came(event: DocumentStored | DocumentConverted) -> str:
    if event.reappeared:
        return "reappeared"
    return "changed" if event.previous_sha256 else "new"


def _payload(event: JobDead) -> dict[str, str]:
    """The texts of the payload that died; empty where it is too large to be told, or no JSON."""
    try:
        said = from_json(event.payload or b"{}")
    except ValueError:
        return {}
    return {name: value for name, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}
