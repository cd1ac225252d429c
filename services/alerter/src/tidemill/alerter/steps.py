"""Notable events in, rows of fact out."""

from collections.abc import Sequence
from typing import Any

from tidemill.alerter.facts import save_signals
from tidemill.alerter.signals import EVENTS, Signal, signal_of
from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.events import Event

SLOTS = 256
"""Nothing is waited for but the commit: as many as one group takes."""


def _name(event: type[Event]) -> str:
    return "alerter" + "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in event.__name__)


CONSUMES = {_name(event): event for event in EVENTS}


def steps() -> list[Step[Any, Any]]:
    return [_step(name, event) for name, event in CONSUMES.items()]


def _step(name: str, event: type[Event]) -> Step[Any, Any]:
    async def work(delivery: Delivery[Event]) -> Signal:
        return signal_of(delivery.event)

    async def record(tx: Tx, results: Sequence[Done[Event, Signal]]) -> list[Outgoing]:
        await save_signals(tx, (signal_of(done.event, done.traceparent) for done in results))
        return []

    return Step(name=name, event=event, work=work, record=record, slots=SLOTS, bookkeeping=True)
