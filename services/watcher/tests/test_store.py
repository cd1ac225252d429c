import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.database import open_engine
from tidemill.common.events import DocumentRefused, DocumentStored, DocumentUnchanged, RunPlanned
from tidemill.watcher import store
from tidemill.watcher.policy import Refused
from tidemill.watcher.stillness import Look
from tidemill.watcher.store import Rejected, Taken
from tidemill.watcher.tables import documents, files

pytestmark = pytest.mark.servers

AT = datetime(2025, 7, 18, 6, tzinfo=UTC)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


def taken(path: str = "a.pdf", sha256: str = "1" * 64, *, inode: int = 1, stays: bool = True) -> Taken:
    look = Look(10, 1, 1, inode)
    return Taken("paper", path, look, sha256, AT, AT, "lo", (), stays)


async def record(engine: AsyncEngine, *group: Taken) -> store.Recorded:
    async with engine.begin() as tx:
        return await store.record_taken(tx, group)


def told(recorded: store.Recorded) -> Sequence[str]:
    return [type(outgoing.event).__name__ for outgoing in recorded.events]


async def test_a_new_file_is_a_stored_document_in_a_run_of_one(engine: AsyncEngine) -> None:
    recorded = await record(engine, taken())
    assert recorded.outcomes == {("paper", "a.pdf"): "stored"}
    planned, stored = (outgoing.event for outgoing in recorded.events)
    assert isinstance(planned, RunPlanned)
    assert isinstance(stored, DocumentStored)
    assert (planned.items, planned.closed, planned.run) == ((stored.item,), True, stored.run)
    assert stored.item == "a.pdf"


async def test_the_same_file_again_is_no_news(engine: AsyncEngine) -> None:
    await record(engine, taken())
    again = await record(engine, taken())
    assert (again.outcomes["paper", "a.pdf"], again.events) == ("known", [])


async def test_a_file_with_other_bytes_than_last_time_says_what_it_held(engine: AsyncEngine) -> None:
    for sha256, before in (("1" * 64, ""), ("2" * 64, "1" * 64), ("3" * 64, "2" * 64)):
        recorded = await record(engine, taken(sha256=sha256))
        stored = recorded.events[1].event
        assert isinstance(stored, DocumentStored)
        assert stored.previous_sha256 == before


async def test_the_same_bytes_under_another_name_are_a_duplicate_of_the_first(engine: AsyncEngine) -> None:
    await record(engine, taken())
    recorded = await record(engine, taken("b.pdf"))
    assert recorded.outcomes == {("paper", "b.pdf"): "duplicate"}
    event = recorded.events[1].event
    assert isinstance(event, DocumentUnchanged)
    assert event.duplicate_of == "a.pdf"


async def test_of_equal_files_in_one_group_one_is_the_document(engine: AsyncEngine) -> None:
    recorded = await record(engine, taken("c.pdf"), taken("a.pdf"), taken("b.pdf"))
    assert sorted(recorded.outcomes.values()) == ["duplicate", "duplicate", "stored"]
    assert sorted(told(recorded)) == ["DocumentStored", *["DocumentUnchanged"] * 2, *["RunPlanned"] * 3]


async def test_other_content_at_the_same_path_is_a_document_of_its_own(engine: AsyncEngine) -> None:
    await record(engine, taken())
    assert (await record(engine, taken(sha256="2" * 64))).outcomes["paper", "a.pdf"] == "stored"


@pytest.mark.parametrize("stays", [True, False])
async def test_bytes_that_a_file_holds_again_after_others_are_news_once(engine: AsyncEngine, stays: bool) -> None:
    runs = set()
    previous = ""
    for inode, sha256 in enumerate(("1" * 64, "2" * 64, "1" * 64, "2" * 64)):
        for outcome in ("stored", "known"):
            recorded = await record(engine, file := taken(sha256=sha256, inode=inode, stays=stays))
            assert recorded.outcomes == {("paper", "a.pdf"): outcome}
            for stored in [each.event for each in recorded.events if isinstance(each.event, DocumentStored)]:
                assert (stored.sha256, stored.previous_sha256) == (sha256, previous)
                runs.add(stored.run)
        assert await store.find_known(engine, "paper", [("a.pdf", file.look)]) == {"a.pdf": stays}
        assert await store.get_outcome(engine, "paper", "a.pdf", file.look) == "stored"
        await store.settle(engine, "paper", "a.pdf", file.look)
        previous = sha256
    assert len(runs) == 4


async def test_a_touched_file_that_stays_is_no_news_and_its_new_look_is_known(engine: AsyncEngine) -> None:
    await record(engine, taken())
    touched = taken(inode=2)
    assert (await record(engine, touched)).events == []
    assert await store.find_known(engine, "paper", [("a.pdf", touched.look)]) == {"a.pdf": True}


async def test_a_file_dropped_again_after_it_was_moved_is_told_as_a_duplicate_once(engine: AsyncEngine) -> None:
    first = taken(stays=False)
    await record(engine, first)
    assert await store.find_known(engine, "paper", [("a.pdf", first.look)]) == {"a.pdf": False}
    await store.settle(engine, "paper", "a.pdf", first.look)
    again = taken(inode=2, stays=False)
    recorded = await record(engine, again)
    assert recorded.outcomes["paper", "a.pdf"] == "duplicate"
    assert recorded.events[0].id != f"{first.run}/planned"
    assert (await record(engine, again)).events == []
    assert await store.get_outcome(engine, "paper", "a.pdf", again.look) == "duplicate"


async def test_a_file_whose_move_was_interrupted_is_only_moved(engine: AsyncEngine) -> None:
    first = taken(stays=False)
    await record(engine, first)
    assert (await record(engine, first)).outcomes["paper", "a.pdf"] == "known"
    assert await store.get_outcome(engine, "paper", "a.pdf", first.look) == "stored"


async def test_a_refusal_is_told_once(engine: AsyncEngine) -> None:
    rejected = Rejected("paper", "big.pdf", Look(99, 1, 1, 1), Refused("too_large", "99 bytes"), AT)
    async with engine.begin() as tx:
        events = await store.record_refused(tx, rejected)
    async with engine.begin() as tx:
        assert await store.record_refused(tx, rejected) == []
    event = events[1].event
    assert isinstance(event, DocumentRefused)
    assert (event.name, event.reason, event.size_bytes) == ("big.pdf", "too_large", 99)
    assert await store.get_outcome(engine, "paper", "big.pdf", rejected.look) == "refused"
    await store.settle(engine, "paper", "big.pdf", rejected.look)
    assert await store.find_known(engine, "paper", [("big.pdf", rejected.look)]) == {"big.pdf": True}


async def test_replicas_that_see_the_same_burst_tell_each_file_once(engine: AsyncEngine) -> None:
    burst = [taken(f"{number}.pdf", f"{number % 7:064d}") for number in range(40)]
    shuffled = [replace(file) for file in burst[::-1]]
    results = await asyncio.gather(*(record(engine, *group) for group in (burst, shuffled, burst[20:], shuffled[5:])))
    names = [name for recorded in results for name in told(recorded)]
    assert (names.count("DocumentStored"), names.count("DocumentUnchanged")) == (7, 33)
    async with engine.connect() as connection:
        counts = [await connection.scalar(select(func.count()).select_from(table)) for table in (files, documents)]
    assert counts == [40, 7]
