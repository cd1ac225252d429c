"""The tables of the bus do not grow for ever, and forget nothing that can still come again."""

from datetime import timedelta
from typing import Any

import pytest

from tidemill.common.bus import janitor
from tidemill.common.bus.inbox import SLICE, Inbox
from tidemill.common.bus.step import Command

pytestmark = pytest.mark.servers


async def test_an_inbox_remembers_as_long_as_its_stream_can_bring_an_event_again(ground: Any) -> None:
    js = ground.nc.jetstream()
    step = ground.step()
    command = Command(verb="add", handle=None, description="")  # type: ignore[arg-type]
    assert await janitor.inbox_ages(js, [step], [command]) == {
        "store": timedelta(days=31),
        "command:add": timedelta(days=30),
    }
    config = (await js.stream_info("DOCUMENTS")).config
    await js.update_stream(config.evolve(max_age=timedelta(days=100).total_seconds()))
    assert (await janitor.inbox_ages(js, [step], []))["store"] == timedelta(days=101)
    await js.update_stream(config.evolve(max_age=0))
    assert await janitor.inbox_ages(js, [step], []) == {}


async def test_old_rows_go_in_slices_and_young_ones_stay(ground: Any) -> None:
    await ground.sql(
        "INSERT INTO demo.inbox (consumer, event_id, recorded_at) "
        f"SELECT 'store', 'old' || n, now() - interval '32 days' FROM generate_series(1, {SLICE + 10}) n"
    )
    await ground.sql("INSERT INTO demo.inbox (consumer, event_id) VALUES ('store', 'young')")
    await ground.sql(
        "INSERT INTO demo.inbox (consumer, event_id, recorded_at) VALUES ('other', 'x', now() - interval '9 years')"
    )
    retry = "INSERT INTO demo.retries (consumer, event_id, origin_id, source, attempts, deliveries, subject, error, "
    await ground.sql(f"{retry} failed_at) VALUES ('store', 'a', 'a', '', 1, 1, '', '', now() - interval '1 year')")
    await ground.sql(
        f"{retry} failed_at, due_at) "
        "VALUES ('store', 'b', 'b', '', 1, 1, '', '', now() - interval '1 year', now() + interval '1 year')"
    )
    letter = (
        "INSERT INTO demo.dead_letters (consumer, event_id, origin_id, source, subject, payload, headers, reason, "
        "error, attempts, handled_at, in_stream) VALUES ('store', '{0}', '', '', '', '', '{{}}', '', '', 1, {1}, {2})"
    )
    await ground.sql(letter.format("done", "now() - interval '1 year'", "false"))
    await ground.sql(letter.format("still told of", "now() - interval '1 year'", "true"))
    await ground.sql(letter.format("waiting", "NULL", "true"))
    ages = {"store": timedelta(days=31)}
    await janitor.clean(ground.engine, ground.tables, Inbox(ground.tables), ages)
    left = await ground.sql("SELECT consumer, event_id FROM demo.inbox ORDER BY 1")
    assert left == [("other", "x"), ("store", "young")]
    assert await ground.sql("SELECT event_id FROM demo.retries") == [("b",)]
    assert await ground.sql("SELECT event_id FROM demo.dead_letters ORDER BY 1") == [("still told of",), ("waiting",)]


async def test_a_running_bus_cleans(ground: Any) -> None:
    await ground.sql(
        "INSERT INTO demo.inbox (consumer, event_id, recorded_at) VALUES ('store', 'x', now() - interval '32 days')"
    )

    async def clean() -> bool:
        return await ground.sql("SELECT 1 FROM demo.inbox") == []

    async with ground.bus(ground.step()):
        await ground.until(clean)
