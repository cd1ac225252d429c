"""Streams and consumers: made by code, changed without loss, refused loudly."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from nats.js import api
from sqlalchemy import Connection, MetaData, text

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables
from tidemill.common.bus.room import make_room, make_room_in
from tidemill.common.bus.tables import bus_tables
from tidemill.common.bus.topology import (
    STREAMS,
    TopologyError,
    ensure_consumers,
    ensure_stream,
    ensure_topology,
)
from tidemill.common.database import service_metadata

pytestmark = pytest.mark.servers

DOCUMENTS = next(stream for stream in STREAMS if stream.name == "DOCUMENTS")


async def test_all_streams_are_made_as_declared(ground: Any) -> None:
    js = ground.nc.jetstream()
    await ensure_topology(js)  # again
    found = {stream.config.name: stream.config for stream in await js.streams_info()}
    assert set(found) == {*(stream.name for stream in STREAMS), "KV_tidemill-control", "KV_tidemill-audit"}
    documents = found["DOCUMENTS"]
    assert documents.storage == "file"
    assert documents.retention == "limits"
    assert documents.max_age == timedelta(days=30).total_seconds()
    assert documents.discard == "new"
    assert documents.duplicate_window == 3600


async def test_a_change_keeps_messages_and_what_an_operator_widened(ground: Any) -> None:
    js = ground.nc.jetstream()
    await ground.publish("a")
    present = (await js.stream_info("DOCUMENTS")).config
    await js.update_stream(
        present.evolve(
            subjects=["tidemill.document.>", "elsewhere"],
            max_age=timedelta(days=400).total_seconds(),
            max_bytes=-1,
            duplicate_window=60,
            description="by hand",
        )
    )
    await ensure_topology(js)
    info = await js.stream_info("DOCUMENTS")
    assert info.state.messages == 1
    assert info.config.subjects == ["tidemill.document.>", "elsewhere"]
    assert info.config.max_age == timedelta(days=400).total_seconds()
    assert info.config.max_bytes == -1
    assert info.config.description == "by hand"
    assert info.config.duplicate_window == 3600


async def test_a_narrower_stream_is_widened(ground: Any) -> None:
    js = ground.nc.jetstream()
    present = (await js.stream_info("DEAD")).config
    await js.update_stream(present.evolve(max_age=7200, max_bytes=1000))
    await ensure_topology(js)
    config = (await js.stream_info("DEAD")).config
    assert config.max_age == 0
    assert config.max_bytes == 256 * 1024 * 1024


async def test_what_cannot_be_changed_is_refused_loudly(ground: Any) -> None:
    js = ground.nc.jetstream()
    await js.delete_stream("DOCUMENTS")
    await js.add_stream(name="DOCUMENTS", subjects=["tidemill.document.>"], retention="workqueue")
    with pytest.raises(TopologyError, match=r"DOCUMENTS has workqueue retention .* `nats stream rm DOCUMENTS`"):
        await ensure_topology(js)
    with pytest.raises(TopologyError):
        async with ground.bus(ground.step()):
            pass


async def test_a_subject_taken_by_another_stream_is_refused_loudly(ground: Any) -> None:
    js = ground.nc.jetstream()
    await js.delete_stream("DOCUMENTS")
    await js.add_stream(name="MINE", subjects=["tidemill.document.*.demo"])
    with pytest.raises(TopologyError, match=r"DOCUMENTS cannot be created: .*overlap"):
        await ensure_topology(js)


async def test_too_little_storage_says_how_much_is_needed(ground: Any) -> None:
    huge = replace(DOCUMENTS, name="HUGE", subjects=("huge",), max_bytes=1 << 60)
    with pytest.raises(TopologyError, match=r"not enough storage; .* MiB"):
        await ensure_stream(ground.nc.jetstream(), huge)


async def test_a_consumer_is_changed_in_place(ground: Any) -> None:
    js = ground.nc.jetstream()
    step = ground.step()
    await ensure_consumers(js, step)
    await ground.publish("a", "b")
    subscription = await js.pull_subscribe_bind("store", "DOCUMENTS")
    (first,) = await subscription.fetch(1)
    await first.ack_sync()
    await ensure_consumers(js, replace(step, ack_wait=timedelta(seconds=7)))
    info = await js.consumer_info("DOCUMENTS", "store")
    assert info.config.ack_wait == 7
    assert info.ack_floor.stream_seq == 1
    assert (info.config.max_deliver, info.config.ack_policy) == (-1, "explicit")


async def test_a_consumer_of_somebody_else_is_refused_loudly(ground: Any) -> None:
    js = ground.nc.jetstream()
    await js.add_consumer(
        "DOCUMENTS", api.ConsumerConfig(name="store", durable_name="store", deliver_policy=api.DeliverPolicy.NEW)
    )
    with pytest.raises(TopologyError, match=r"consumer store of DOCUMENTS .* `nats consumer rm DOCUMENTS store`"):
        await ensure_consumers(js, ground.step())


async def test_the_migration_makes_the_tables_that_the_code_declares(ground: Any) -> None:
    metadata = service_metadata("migrated")
    bus_tables(metadata)
    async with ground.engine.begin() as tx:
        await tx.execute(text("CREATE SCHEMA migrated"))
        await tx.run_sync(_migrate)
        assert await tx.run_sync(_differences, metadata) == []
        await tx.execute(
            text("INSERT INTO migrated.outbox (event_id, subject, payload, headers) VALUES ('a', 's', 'x', '{}')")
        )
        await tx.run_sync(_remove)
        left = await tx.execute(text("SELECT 1 FROM pg_tables WHERE schemaname = 'migrated'"))
        assert left.all() == []


def _migrate(connection: Connection) -> None:
    create_bus_tables(Operations(MigrationContext.configure(connection)), "migrated")


def _remove(connection: Connection) -> None:
    drop_bus_tables(Operations(MigrationContext.configure(connection)), "migrated")


def _differences(connection: Connection, metadata: MetaData) -> list[Any]:
    def only_ours(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "schema" or name == "migrated"

    context = MigrationContext.configure(
        connection, opts={"include_schemas": True, "include_name": only_ours, "compare_type": True}
    )
    return list(compare_metadata(context, metadata))


async def test_a_full_stream_drops_the_older_half_of_what_was_handled(ground: Any) -> None:
    js = ground.nc.jetstream()
    names = [f"d{number:03}" for number in range(100)]
    async with ground.bus(ground.step()):
        await ground.publish(*names)
        await ground.until_recorded(100)
        await ground.until_settled()
        await make_room_in(js, "DOCUMENTS")
        assert (await js.stream_info("DOCUMENTS")).state.messages == 100
        await _shrink(js)
        await make_room_in(js, "DOCUMENTS")
        assert (await js.stream_info("DOCUMENTS")).state.messages == 50
        await ground.publish("new")
        await ground.until_recorded(101)


async def test_a_full_stream_keeps_what_somebody_has_yet_to_handle(ground: Any) -> None:
    js = ground.nc.jetstream()
    await ensure_consumers(js, ground.step(name="late"))
    subscription = await js.pull_subscribe_bind("late", "DOCUMENTS")
    await ground.publish(*(f"d{number:03}" for number in range(100)))
    for message in await subscription.fetch(10):
        await message.ack_sync()
    await _shrink(js)
    await make_room(js, STREAMS)
    assert (await js.stream_info("DOCUMENTS")).state.first_seq == 11
    await js.delete_consumer("DOCUMENTS", "late")
    await make_room(js, STREAMS)
    assert (await js.stream_info("DOCUMENTS")).state.first_seq == 11


async def _shrink(js: Any) -> None:
    """So that what is there is 90 % of it."""
    info = await js.stream_info("DOCUMENTS")
    await js.update_stream(info.config.evolve(max_bytes=int(info.state.bytes / 0.9)))
