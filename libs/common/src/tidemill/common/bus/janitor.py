"""Takes out of the bus tables what no repeat can ask for any more, a slice at a time."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from nats.js import JetStreamContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.inbox import SLICE, Inbox
from tidemill.common.bus.step import Command, Step
from tidemill.common.bus.tables import BusTables

MARGIN = timedelta(days=1)
COMMANDS_KEPT = timedelta(days=30)
LETTERS_KEPT = timedelta(days=90)
"""After they were handled."""
RETRIES_KEPT = timedelta(days=120)
"""Longer than any stream holds the message they are about."""


async def inbox_ages(
    js: JetStreamContext, steps: Sequence[Step[Any, Any]], commands: Sequence[Command]
) -> Mapping[str, timedelta]:
    """How long each consumer remembers: as long as its stream (which an operator may have widened) can bring an event
    again, and a day. Of a stream that keeps for ever all is remembered."""
    ages = {f"command:{command.verb}": COMMANDS_KEPT for command in commands}
    for step in steps:
        config = (await js.stream_info(step.event.stream)).config
        if config.max_age:
            ages[step.name] = timedelta(seconds=config.max_age) + MARGIN
    return ages


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
