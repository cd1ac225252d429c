import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from tidemill.converter.frames import BATCH_ITEMS, Job
from tidemill.converter.policy import Limits, Wear
from tidemill.converter.workers import ConverterCrashed, ConverterUnusable, Part, WorkerLost, Workers
from tidemill.plugin import Outcome, Progress

LIMITS = Limits(memory_bytes=100_000_000, cpu=timedelta(seconds=1), time=timedelta(seconds=30))

JobMaker = Callable[..., Job]


@pytest.fixture(autouse=True)
def misbehaving_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes find the converters of these tests as a plugin's author would provide them: on the path."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "plugin"))


@pytest.fixture
def job(tmp_path: Path) -> JobMaker:
    def make(content: str, converter: str = "misbehaving:Obedient", skip: int = 0) -> Job:
        path = tmp_path / f"{time.monotonic_ns()}"
        path.write_text(content)
        return Job(
            path=str(path),
            sha256="0" * 64,
            size_bytes=path.stat().st_size,
            name="document",
            received_at=datetime(2025, 8, 15, tzinfo=UTC),
            converter=converter,
            skip=skip,
        )

    return make


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with Workers(1) as pool:
        yield pool


async def parts_of(workers: Workers, job: Job, limits: Limits = LIMITS) -> list[Part]:
    return [part async for part in workers.convert(job, limits)]


async def outcome_of(workers: Workers, job: Job, limits: Limits = LIMITS) -> tuple[Outcome, str]:
    ending = (await parts_of(workers, job, limits))[-1].ending
    assert ending is not None
    return ending.outcome, ending.reason


async def test_records_rejected_rows_and_sums_arrive_as_the_converter_gave_them(
    workers: Workers, job: JobMaker
) -> None:
    [part] = await parts_of(workers, job("a=1\nb\nc=3\n", "misbehaving:Lines"))
    assert [(r.key, r.data, r.position.item, r.raw) for r in part.records] == [
        ("a", {"value": "1"}, 0, "a=1\n"),
        ("c", {"value": "3"}, 2, "c=3\n"),
    ]
    assert [(r.reason, r.raw, r.position.item) for r in part.rejected] == [("no_value", "b", 1)]
    assert part.described.title == "lines"
    assert part.described.valid_from == datetime(2025, 8, 15, tzinfo=UTC)
    ending = part.ending
    assert ending is not None
    assert (ending.outcome, ending.records, ending.rejected) == (Outcome.CONVERTED, 2, {"no_value": 1})
    assert [(a.seen, a.accepted, a.rejected) for a in ending.accounting] == [(3, 2, 1)]
    assert ending.warnings == ("read to the end",)
    assert 0 < ending.peak_memory_bytes < 64_000_000


async def test_a_large_document_comes_in_batches_and_the_last_has_the_ending(workers: Workers, job: JobMaker) -> None:
    parts = await parts_of(workers, job("done 1200"))
    assert [(part.index, len(part.records)) for part in parts] == [(0, BATCH_ITEMS), (1, BATCH_ITEMS), (2, 200)]
    assert [part.ending is not None for part in parts] == [False, False, True]


async def test_large_items_make_short_batches(workers: Workers, job: JobMaker) -> None:
    lines = "".join(f"{n}={'x' * 50_000}\n" for n in range(12))
    parts = await parts_of(workers, job(lines, "misbehaving:Lines"))
    assert [len(part.records) for part in parts] == [3, 3, 3, 3]


async def test_a_resumed_document_leaves_out_what_is_known_and_counts_all_of_it(
    workers: Workers, job: JobMaker
) -> None:
    whole = await parts_of(workers, job("done 1200"))
    resumed = await parts_of(workers, job("done 1200", skip=2))
    assert [(part.index, part.records) for part in resumed] == [(2, whole[2].records)]
    assert resumed[0].ending is not None
    assert resumed[0].ending.records == 1200


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("eat", "Needed more than 100 MB"),
        ("eat_natively", "Needed more than 100 MB"),
        ("eat_at_once", "asked for more memory"),
        ("spin", "more than 1 s of CPU"),
    ],
)
async def test_a_document_that_takes_too_much_ends_for_that_reason(
    workers: Workers, job: JobMaker, order: str, reason: str
) -> None:
    outcome, said = await outcome_of(workers, job(order))
    assert (outcome, reason in said) == (Outcome.RESOURCE_LIMIT, True), said
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_the_memory_limit_holds(workers: Workers, job: JobMaker) -> None:
    [part] = await parts_of(workers, job("eat"))
    assert part.ending is not None
    assert LIMITS.memory_bytes <= part.ending.peak_memory_bytes < LIMITS.memory_bytes * 1.5


async def test_a_hang_ends_after_the_time_limit(workers: Workers, job: JobMaker) -> None:
    outcome, reason = await outcome_of(workers, job("hang"), Limits(time=timedelta(seconds=0.3)))
    assert (outcome, reason) == (Outcome.RESOURCE_LIMIT, "Took longer than 0.3 s.")


async def test_what_was_found_before_a_limit_stays(workers: Workers, job: JobMaker) -> None:
    parts = await parts_of(workers, job("hang 600"), Limits(time=timedelta(seconds=0.5)))
    assert [len(part.records) for part in parts] == [BATCH_ITEMS]
    assert parts[0].ending is not None
    assert parts[0].ending.outcome is Outcome.RESOURCE_LIMIT


async def test_waiting_for_us_is_not_time_the_document_takes(workers: Workers, job: JobMaker) -> None:
    ending = None
    async for part in workers.convert(job("done 20000"), Limits(time=timedelta(seconds=2))):
        await asyncio.sleep(0.06)
        ending = part.ending
    assert ending is not None
    assert ending.outcome is Outcome.CONVERTED


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("fault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("leave", "exit status 3"),
        ("mute", "closed the pipe"),
        ("fail", "KeyError: 'kickoff'"),
        ("naive", "has no time zone"),
        ("strange", "not a JSON value"),
        ("unbalanced", "does not add up"),
        ("late", "before the first record"),
        ("guess", "not str"),
    ],
)
async def test_a_crash_is_an_error_of_its_own_with_its_cause(
    workers: Workers, job: JobMaker, order: str, reason: str
) -> None:
    with pytest.raises(ConverterCrashed, match=reason):
        await parts_of(workers, job(f"{order} 3"))
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_a_kill_from_outside_is_not_the_documents_fault(workers: Workers, job: JobMaker) -> None:
    with pytest.raises(WorkerLost, match="SIGKILL"):
        await parts_of(workers, job("killed"))
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_an_idle_worker_that_was_killed_is_replaced(workers: Workers, job: JobMaker) -> None:
    await settled(workers)
    for pid in workers.pids:
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_a_refusal_is_told_with_what_was_found_before_it(workers: Workers, job: JobMaker) -> None:
    [part] = await parts_of(workers, job("refuse 3"))
    assert len(part.records) == 3
    assert part.ending is not None
    assert (part.ending.outcome, part.ending.reason) == (Outcome.SCANNED, "There is no text layer.")


async def test_nothing_is_started_for_an_empty_or_oversized_file(job: JobMaker) -> None:
    async with Workers(1, spare=0) as workers:
        assert await outcome_of(workers, job("")) == (Outcome.EMPTY, "The file is empty.")
        outcome, reason = await outcome_of(workers, job("done"), Limits(size_bytes=3))
        assert (outcome, reason) == (Outcome.TOO_LARGE, "The file has 4 bytes; the limit is 3.")
        assert workers.pids == []


async def test_pages_are_limited(workers: Workers, job: JobMaker) -> None:
    outcome, reason = await outcome_of(workers, job("page=7\n", "misbehaving:Lines"), Limits(pages=6))
    assert (outcome, reason) == (Outcome.TOO_LARGE, "7 pages or more; the limit is 6")


async def test_what_a_converter_prints_does_not_disturb(workers: Workers, job: JobMaker) -> None:
    assert await outcome_of(workers, job("chatter")) == (Outcome.CONVERTED, "")


async def test_text_that_no_database_can_hold_is_made_storable(workers: Workers, job: JobMaker) -> None:
    [part] = await parts_of(workers, job("nul"))
    assert part.records[0].data == {"a\ufffdb": ["\ufffd", 1, {"x": "é\ufffd"}]}
    assert part.records[0].raw == "\\u0000 in letters"


async def test_a_worker_sees_no_secret_and_no_network(
    workers: Workers, job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@db/tidemill")
    async with Workers(1) as fresh:
        _, names = await outcome_of(fresh, job("environment"))
    assert "DATABASE_URL" not in names
    assert "PATH" in names
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome, reason = await outcome_of(workers, job(f"connect {port}"))
    if outcome is Outcome.CONVERTED:
        pytest.skip("this machine allows no network namespaces")
    assert "unreachable" in reason


async def test_leaving_early_ends_the_worker(workers: Workers, job: JobMaker) -> None:
    async with aclosing(workers.convert(job("hang 1200"), LIMITS)) as parts:
        async for _ in parts:
            busy = set(workers.pids)
            break
    assert not any(psutil.pid_exists(pid) for pid in busy - set(workers.pids))
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_cancelling_ends_the_worker(workers: Workers, job: JobMaker) -> None:
    task = asyncio.create_task(parts_of(workers, job("hang")))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_workers_are_used_again_and_replaced_when_worn(job: JobMaker) -> None:
    replaced: list[str] = []
    async with Workers(1, spare=0, wear=Wear(documents=2), on_replaced=replaced.append) as workers:
        seen = []
        for _ in range(4):
            await parts_of(workers, job("done 1"))
            seen.append(tuple(workers.pids))
        assert len(seen[0]) == 1
        assert [len(pids) for pids in seen] == [1, 0, 1, 0]
        assert seen[0] != seen[2]
    assert replaced == ["worn", "worn"]


async def test_a_spare_is_ready_while_the_others_work(workers: Workers, job: JobMaker) -> None:
    await settled(workers)
    task = asyncio.create_task(parts_of(workers, job("hang")))
    async with asyncio.timeout(20):
        while len(workers.pids) < 2:
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_documents_are_converted_side_by_side(job: JobMaker) -> None:
    async with Workers(2) as workers:
        slow = asyncio.create_task(parts_of(workers, job("hang")))
        await asyncio.sleep(0.1)
        assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")
        assert not slow.done()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_no_worker_outlives_the_pool(job: JobMaker) -> None:
    patient = Limits(time=timedelta(minutes=5))
    busy: list[int] = []
    async with Workers(2, on_busy=busy.append) as workers:
        lost = asyncio.create_task(parts_of(workers, job("hang"), patient))
        while not busy:
            await asyncio.sleep(0.01)
        pids = workers.pids
    with pytest.raises(WorkerLost):
        await lost
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_worker_that_starts_while_the_pool_closes_is_lost(job: JobMaker) -> None:
    async with Workers(1, spare=0) as workers:
        lost = asyncio.create_task(parts_of(workers, job("hang"), Limits(time=timedelta(minutes=5))))
        await asyncio.sleep(0)
        assert workers.pids == []
    with pytest.raises(WorkerLost, match="while one of them started"):
        await lost


async def test_a_process_ends_though_much_of_what_it_said_was_never_read(workers: Workers, job: JobMaker) -> None:
    lines = "".join(f"{n}={'x' * 10_000}\n" for n in range(2_000))
    async with asyncio.timeout(60), aclosing(workers.convert(job(lines, "misbehaving:Lines"), LIMITS)) as parts:
        await anext(parts)
        await asyncio.sleep(1)  # It writes until nobody takes any more.
    assert await outcome_of(workers, job("done 1")) == (Outcome.CONVERTED, "")


async def test_progress_is_told_on_the_way(workers: Workers, job: JobMaker) -> None:
    told: list[Progress] = []
    _ = [part async for part in workers.convert(job("advance"), LIMITS, told.append)]
    assert told == [Progress(done=1, total=2)]


async def test_a_converter_describes_itself(workers: Workers) -> None:
    description = await workers.describe("misbehaving:Lines", {"zone": "UTC"})
    assert (description.name, description.version, description.datasets) == ("lines", "1", ("test.line",))


@pytest.mark.parametrize(
    ("reference", "options", "reason"),
    [
        ("misbehaving:Lines", {"zome": 1}, "options of lines: unknown option zome; valid: zone"),
        ("misbehaving:OtherInterface", {}, "version 99 of the converter interface; this is version 1"),
        ("misbehaving:Nothing", {}, "has no attribute 'Nothing'"),
        ("fatal_import", {}, "ended while it imported"),
    ],
)
async def test_a_converter_that_cannot_be_used_says_why(
    workers: Workers, reference: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConverterUnusable, match=reason):
        await workers.describe(reference, options)
    assert (await workers.describe("misbehaving:Lines", {})).name == "lines"


async def test_the_event_loop_is_never_held_up_by_a_document(workers: Workers, job: JobMaker) -> None:
    await settled(workers)
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    gc.freeze()  # What pytest holds is not to be searched for garbage meanwhile.
    ticking = asyncio.create_task(tick())
    async for _ in workers.convert(job("done 20000"), LIMITS):
        pass
    ticking.cancel()
    gc.unfreeze()
    assert longest < 0.1  # The whole document takes many times that.


async def settled(workers: Workers) -> None:
    """Until the spare is there."""
    async with asyncio.timeout(10):
        while not workers.pids:
            await asyncio.sleep(0.01)
