"""The watcher on a real folder, archive, Postgres and NATS."""

import asyncio
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive, ArchiveUnavailable, Stored
from tidemill.common.bus.bus import Bus
from tidemill.common.config.sources import SourceFile, Watch
from tidemill.common.database import open_engine
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.watcher.folder import Folder
from tidemill.watcher.intake import Intake
from tidemill.watcher.main import SPEC
from tidemill.watcher.recorder import Recorder

pytestmark = pytest.mark.servers

STABLE = 0.3


@dataclass
class Watching:
    """One watcher at work."""

    folder: Folder
    engine: AsyncEngine
    archive: Archive

    @property
    def root(self) -> Path:
        return self.folder.root

    async def told(self) -> Counter[str]:
        """Kinds of the events it stated, each id counted once."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(text("SELECT DISTINCT event_id, subject FROM watcher.outbox"))
            return Counter(row.subject.split(".")[2] for row in rows)

    async def until(self, **expected: int) -> None:
        """Wait for exactly these events, and a little longer for one too many."""
        deadline = time.monotonic() + 15
        told = await self.told()
        while any(told[kind] < count for kind, count in expected.items()):
            assert time.monotonic() < deadline, f"{told} and not {expected}"
            await asyncio.sleep(0.05)
            told = await self.told()
        await asyncio.sleep(STABLE + 0.3)
        told = await self.told()
        assert {kind: told[kind] for kind in ("stored", "unchanged", "refused")} == {
            "stored": 0,
            "unchanged": 0,
            "refused": 0,
        } | expected

    async def content(self) -> list[bytes]:
        """What is in the archive for the stored documents."""
        async with self.engine.connect() as connection:
            keys = (await connection.execute(text("SELECT sha256 FROM watcher.documents"))).scalars()
            return sorted([b"".join([chunk async for chunk in self.archive.read(key)]) for key in keys])


Start = Callable[..., Awaitable[Watching]]


@pytest.fixture
async def start(tmp_path: Path, nats_url: str, database_url: str) -> AsyncIterator[Start]:
    running: list[asyncio.Task[None]] = []
    opened: list[object] = []

    async def begin(*, archive: Archive | None = None, there: bool = True, **watch: object) -> Watching:
        root = tmp_path / "inbox"
        if there:
            root.mkdir(exist_ok=True)
        ready: asyncio.Future[Watching] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            async with open_watching(root, tmp_path, nats_url, database_url, archive, watch) as watching:
                recorder = watching.folder.intake.recorder
                tasks = [asyncio.create_task(work()) for work in (recorder.run, watching.folder.run)]
                ready.set_result(watching)
                try:
                    await asyncio.gather(*tasks)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

        running.append(asyncio.create_task(run()))
        watching = await ready
        deadline = time.monotonic() + 10
        while there and watching.folder.method is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        opened.append(watching)
        return watching

    yield begin
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def open_watching(
    root: Path, tmp_path: Path, nats_url: str, database_url: str, archive: Archive | None, watch: dict[str, object]
) -> AsyncIterator[Watching]:
    async with Telemetry.open("watcher", "0") as telemetry:
        engine = open_engine(database_url)
        archive = archive or Archive.open(f"file://{tmp_path}/archive", telemetry.metrics)
        source = SourceFile(
            source="paper",
            watch=Watch.model_validate(
                {"folder": root, "include": ["*.pdf"], "stable_for": f"{int(STABLE * 1000)}ms", **watch}
            ),
        )
        assert source.watch is not None
        async with Bus.open(
            nats_url, service="watcher", version="0", engine=engine, tables=SPEC.tables, telemetry=telemetry
        ) as bus:
            recorder = Recorder(bus, telemetry.metrics)
            intake = Intake(
                source=source,
                watch=source.watch,
                archive=archive,
                bus=bus,
                engine=engine,
                recorder=recorder,
                telemetry=telemetry,
            )
            try:
                yield Watching(Folder(intake), engine, archive)
            finally:
                await engine.dispose()


async def write_slowly(path: Path, parts: int, pause: float) -> bytes:
    """As a copy over a slow line: every pause is shorter or longer than the window, the file stays open."""
    content = b""
    with path.open("wb") as file:
        for number in range(parts):
            file.write(b"%d," % number)
            file.flush()
            content += b"%d," % number
            await asyncio.sleep(pause)
    return content


@pytest.mark.parametrize("method", ["native", "polling"])
async def test_a_file_is_taken_once_when_it_is_still(start: Start, method: str) -> None:
    watching = await start(method=method, poll_every="100ms")
    (watching.root / "a.pdf").write_bytes(b"%PDF a")
    (watching.root / "a.txt").write_bytes(b"not asked for")
    await watching.until(stored=1)
    assert await watching.content() == [b"%PDF a"]


async def test_a_file_that_comes_while_the_watch_begins_is_not_missed(start: Start) -> None:
    watching = await start(method="native", there=False)
    watching.root.mkdir()
    begun = time.monotonic()
    while watching.folder.method is None:
        assert time.monotonic() < begun + 10
        await asyncio.sleep(0)
    for number in range(100):
        (watching.root / f"{number}.pdf").write_bytes(b"%d" % number)
        await asyncio.sleep(0)
    await watching.until(stored=100)


@pytest.mark.parametrize("method", ["native", "polling"])
@pytest.mark.parametrize("pause", [0.1, 0.6])
async def test_a_slow_copy_is_taken_whole_even_when_it_pauses(start: Start, method: str, pause: float) -> None:
    watching = await start(method=method, poll_every="100ms")
    content = await write_slowly(watching.root / "slow.pdf", 6, pause)
    await watching.until(stored=1)
    assert await watching.content() == [content]


async def test_a_file_that_somebody_holds_open_waits_until_it_is_closed(start: Start) -> None:
    watching = await start()
    with (watching.root / "open.pdf").open("wb") as file:
        file.write(b"first ")
        file.flush()
        await asyncio.sleep(1.5)
        assert await watching.told() == {}
        file.write(b"last")
    await watching.until(stored=1)
    assert await watching.content() == [b"first last"]


async def test_a_burst_is_taken_file_by_file_and_equal_ones_are_duplicates(start: Start) -> None:
    watching = await start()
    for number in range(60):
        (watching.root / f"{number}.pdf").write_bytes(b"%d" % (number % 45))
    await watching.until(stored=45, unchanged=15)


async def test_a_rename_into_place_is_taken_although_its_content_is_old(start: Start, tmp_path: Path) -> None:
    watching = await start()
    outside = tmp_path / "upload.tmp"
    outside.write_bytes(b"whole")
    os.utime(outside, (1e9, 1e9))
    outside.rename(watching.root / "placed.pdf")
    (watching.root / "part.pdf.part").write_bytes(b"whole too")
    (watching.root / "part.pdf.part").rename(watching.root / "part.pdf")
    await watching.until(stored=2)


async def test_a_folder_that_is_moved_in_brings_its_files_with_its_name_as_tag(start: Start, tmp_path: Path) -> None:
    watching = await start()
    (tmp_path / "june" / "week").mkdir(parents=True)
    (tmp_path / "june" / "week" / "a.pdf").write_bytes(b"a")
    (tmp_path / "june").rename(watching.root / "june")
    await watching.until(stored=1)
    async with watching.engine.connect() as connection:
        payload = await connection.scalar(text("SELECT payload FROM watcher.outbox WHERE subject LIKE '%stored%'"))
    assert json.loads(bytes(payload))["tags"] == ["june", "week"]


async def test_files_that_were_there_before_the_start_are_taken_and_not_again_after_a_restart(start: Start) -> None:
    watching = await start(there=True)
    (watching.root / "a.pdf").write_bytes(b"a")
    await watching.until(stored=1)
    again = await start()
    await again.until(stored=1)


async def test_two_watchers_on_one_folder_take_each_file_once(start: Start) -> None:
    first, second = await start(after="move"), await start(after="move")
    assert first.root == second.root
    for number in range(20):
        (first.root / f"{number}.pdf").write_bytes(b"%d" % number)
    await first.until(stored=20)
    assert sorted(path.name for path in (first.root / "processed").iterdir()) == sorted(f"{n}.pdf" for n in range(20))


async def test_afterwards_files_move_by_outcome_and_a_refused_one_has_its_reason(start: Start) -> None:
    watching = await start(after="move", max_size="1KB")
    (watching.root / "a.pdf").write_bytes(b"a")
    await watching.until(stored=1)
    (watching.root / "b.pdf").write_bytes(b"a")
    (watching.root / "big.pdf").write_bytes(bytes(2000))
    (watching.root / "nothing.pdf").touch()
    await watching.until(stored=1, unchanged=1, refused=2)
    below = sorted(str(path.relative_to(watching.root)) for path in watching.root.rglob("*") if path.is_file())
    assert below == [
        "duplicates/b.pdf",
        "failed/big.pdf",
        "failed/big.pdf.reason.json",
        "failed/nothing.pdf",
        "failed/nothing.pdf.reason.json",
        "processed/a.pdf",
    ]
    assert json.loads((watching.root / "failed/nothing.pdf.reason.json").read_text())["reason"] == "empty"


async def test_a_missing_mount_is_waited_for_and_a_lost_one_fails_nothing(start: Start) -> None:
    watching = await start(there=False)
    await asyncio.sleep(0.3)
    assert "No such file" in str(watching.folder.away)
    watching.root.mkdir()
    (watching.root / "a.pdf").write_bytes(b"a")
    await watching.until(stored=1)
    shutil.rmtree(watching.root)
    deadline = time.monotonic() + 5
    while watching.folder.away is None and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert watching.folder.away
    watching.root.mkdir()
    (watching.root / "b.pdf").write_bytes(b"b")
    await watching.until(stored=2)


class FullDisk(Archive):
    """An archive whose disk has no room for a while."""

    full = True

    async def put_file(self, path: Path) -> Stored:
        if self.full:
            raise ArchiveUnavailable("no space left on device")
        return await super().put_file(path)


async def test_a_full_disk_is_waited_out_and_nothing_fails(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.watcher.folder.RETRY_SECONDS", (0.1,))
    opened = Archive.open(f"file://{tmp_path}/archive", Telemetry.open("watcher", "0").metrics)
    opened.__class__ = FullDisk
    watching = await start(archive=opened, after="move")
    (watching.root / "a.pdf").write_bytes(b"a")
    await asyncio.sleep(1.0)
    assert await watching.told() == {}
    assert (watching.root / "a.pdf").exists()
    FullDisk.full = False
    await watching.until(stored=1)
    assert (watching.root / "processed" / "a.pdf").exists()


async def test_a_file_that_changes_while_it_is_read_is_taken_as_it_ends(start: Start) -> None:
    watching = await start()
    path = watching.root / "a.pdf"
    path.write_bytes(b"1" * 20_000_000)
    await asyncio.sleep(STABLE + 0.01)
    path.write_bytes(b"2")
    await asyncio.sleep(STABLE / 2)
    path.write_bytes(b"3")
    deadline = time.monotonic() + 10
    while b"3" not in await watching.content() and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    for content in await watching.content():
        assert content in (b"1" * 20_000_000, b"2", b"3")
    assert b"3" in await watching.content()


async def test_the_same_path_with_new_content_is_a_new_document(start: Start) -> None:
    watching = await start()
    (watching.root / "latest.pdf").write_bytes(b"one")
    await watching.until(stored=1)
    (watching.root / "latest.pdf").write_bytes(b"two")
    await watching.until(stored=2)


async def test_urgent_files_go_into_the_high_lane(start: Start) -> None:
    watching = await start(priority=[{"pattern": "*urgent*", "lane": "hi"}])
    (watching.root / "urgent.pdf").write_bytes(b"u")
    (watching.root / "other.pdf").write_bytes(b"o")
    await watching.until(stored=2)
    async with watching.engine.connect() as connection:
        rows = await connection.execute(text("SELECT subject FROM watcher.outbox WHERE subject LIKE '%stored%'"))
        assert sorted(rows.scalars()) == ["tidemill.document.stored.hi.paper", "tidemill.document.stored.lo.paper"]


async def test_an_event_follows_within_a_tenth_of_a_second_after_the_window(start: Start) -> None:
    watching = await start(stable_for=timedelta(seconds=STABLE))
    late = []
    for number in range(5):
        path = watching.root / f"{number}.pdf"
        path.write_bytes(b"%d" % number)
        written = path.lstat().st_mtime
        while (await watching.told())["stored"] <= number:
            await asyncio.sleep(0.01)
            assert time.time() < written + 10
        late.append(time.time() - written - STABLE)
    assert sorted(late)[len(late) // 2] < 2, late  # Where nothing else runs, a tenth; a look at the folder, ten.


@pytest.mark.parametrize("method", ["auto", "polling"])
async def test_a_name_that_is_no_text_is_refused_once_and_the_others_are_taken(start: Start, method: str) -> None:
    watching = await start(method=method, poll_every=timedelta(seconds=0.2), after="move")
    strange = os.fsencode(watching.root) + b"/caf\xe9.pdf"
    await asyncio.to_thread(_write, strange, b"menu")
    _write(os.fsencode(watching.root / "plain.pdf"), b"plain")
    await watching.until(refused=1, stored=1)
    _write(os.fsencode(watching.root / "later.pdf"), b"later")
    await watching.until(refused=1, stored=2)
    kept = os.fsencode(watching.root) + b"/failed/caf\xe9.pdf"
    assert Path(os.fsdecode(kept)).read_bytes() == b"menu"
    assert "not UTF-8" in Path(os.fsdecode(kept + b".reason.json")).read_text()
    async with watching.engine.connect() as connection:
        row = (await connection.execute(text("SELECT path, reason FROM watcher.refusals"))).one()
    assert tuple(row) == ("caf\\xe9.pdf", "name")


async def test_a_file_with_such_a_name_that_stays_is_told_of_once(start: Start) -> None:
    watching = await start(after="leave", rescan_every=timedelta(seconds=0.3))
    _write(os.fsencode(watching.root) + b"/caf\xe9.pdf", b"menu")
    await watching.until(refused=1)
    again = await start(after="leave")
    await again.until(refused=1)
    assert watching.folder.method == again.folder.method == "native"


def _write(path: bytes, content: bytes) -> None:
    Path(os.fsdecode(path)).write_bytes(content)
