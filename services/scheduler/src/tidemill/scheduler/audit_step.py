"""What commands of all services changed, into the audit chain."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.events import CommandDone
from tidemill.scheduler import audit

RETRY = (timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))


def audit_step() -> Step[CommandDone, None]:
    return Step(
        name="scheduler-audit", event=CommandDone, work=_noted, record=_record, slots=64, retry=RETRY, bookkeeping=True
    )


async def _noted(delivery: Delivery[CommandDone]) -> None:
    """All there is to do is its record."""


async def _record(tx: Tx, results: Sequence[Done[CommandDone, None]]) -> list[Outgoing]:
    for done in sorted(results, key=lambda each: each.event.done_at):
        event = done.event
        await audit.record(
            tx,
            actor=event.actor,
            via=event.via,
            action=event.action,
            target=event.target,
            before=_read(event.before),
            after=_read(event.after),
            at=event.done_at,
        )
    return []


def _read(text: str) -> Any:
    return json.loads(text) if text else None
