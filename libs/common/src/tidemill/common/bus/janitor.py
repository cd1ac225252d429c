"""Takes out of the bus tables what no repeat can ask for any more, a slice at a time."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.inbox import SLICE, Inbox
from tidemill.common.bus.step import Command, Step
from tidemill.common.bus.tables import BusTables
from tidemill.common.bus.topology import stream_of

MARGIN = timedelta(days=1)
COMMANDS_KEPT = timedelta(days=30)
LETTERS_KEPT = timedelta(days=90)
"""After they were handled."""
RETRIES_KEPT = timedelta(days=120)
"""Longer than any stream holds the message they are about."""


def inbox_ages(steps: Sequence[Step[Any, Any]], commands: Sequence[Command]) -> Mapping[str, timedelta]:
    """How long each consumer remembers: as long as its stream can bring an event again, and a day. A stream that
    keeps for ever is remembered for ever."""
    ages = {step.name: age + MARGIN for step in steps if (age := stream_of(step.event).max_age) is not None}
    return ages | {f"command:{command.verb}": COMMANDS_KEPT for command in commands}


async def clean(engine: AsyncEngine, tables: BusTables, inbox: Inbox, ages: Mapping[str, timedelta]) -> None:
    for consumer, age in ages.items():
        while await inbox.clean(engine, consumer, age) == SLICE:
            pass
    async with engine.begin() as tx:
        await tx.execute(
            text(
                f"DELETE FROM {tables.retries.fullname} "
                "WHERE due_at IS NULL AND failed_at < now() - CAST(:age AS interval)"
            ),
            {"age": RETRIES_KEPT},
        )
        await tx.execute(
            text(
                f"DELETE FROM {tables.dead_letters.fullname} "
                "WHERE handled_at < now() - CAST(:age AS interval) AND NOT in_stream"
            ),
            {"age": LETTERS_KEPT},
        )
