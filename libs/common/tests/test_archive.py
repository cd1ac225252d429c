"""The archive: what goes in comes out, once, whole, or says why not."""

import asyncio
import gc
import hashlib
import os
import random
import resource
import secrets
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.common.archive import (
    Archive,
    ArchiveUnavailable,
    ChangedWhileReading,
    CorruptArchive,
    NotArchived,
    Stored,
)
from tidemill.common.archive.packing import SAMPLE, SLICE, Packer
from tidemill.common.archive.store import REFRESH_AFTER, FolderArchive, Incoming
from tidemill.common.bus.step import Unavailable
from tidemill.common.telemetry.metrics import Metrics, value

MISSING = "0" * 64
TEXT = b"1 Ferencvaros - Ujpest 1,85 3,40 4,10\n" * 40_000
"""1.5 MB that compress well."""
NOISE = random.Random(7).randbytes(SLICE + SLICE // 2)
"""1.5 MB that do not compress, like the images of a PDF."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def in_chunks(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def put(archive: Archive, content: bytes) -> Stored:
    return await archive.put(in_chunks(content))


async def read(archive: Archive, name: str) -> bytes:
    return b"".join([piece async for piece in archive.read(name)])


class S3Server:
    """moto on a free port, which can be away for a while."""

    def __init__(self) -> None:
        import boto3
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", 0)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = pytest.MonkeyPatch()
        self._environment.setenv("AWS_ACCESS_KEY_ID", "test")
        self._environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        self.client: Any = boto3.client("s3", endpoint_url=self.url, region_name="us-east-1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._environment.undo()

    def make_bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(4)}"
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def written_at(self, bucket: str) -> datetime:
        (entry,) = self.client.list_objects_v2(Bucket=bucket)["Contents"]
        written: datetime = entry["LastModified"]
        return written

    def make_older(self, bucket: str, by: timedelta) -> None:
        """S3 has no way to do this, so reach into the server."""
        from moto.s3.models import s3_backends

        for account in s3_backends.values():
            for backend in account.values():
                if bucket in backend.buckets:
                    for entry in backend.buckets[bucket].keys.values():
                        entry.last_modified -= by

    def unfinished(self, bucket: str) -> int:
        return len(self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))

    @contextmanager
    def away(self) -> Iterator[None]:
        from moto.server import ThreadedMotoServer

        self._server.stop()
        yield
        self._server = ThreadedMotoServer("127.0.0.1", self.port)
        self._server.start()


class ArchiveContract:
    """What every archive does. Subclasses give the fixture `archive`."""

    @pytest.mark.parametrize("content", [b"", b"x", b"x" * 200_000, TEXT, NOISE, b"x" * SLICE, b"x" * (SLICE + 1)])
    async def test_content_comes_back_as_it_went(self, archive: Archive, tmp_path: Path, content: bytes) -> None:
        stored = await put(archive, content)
        assert (stored.sha256, stored.size_bytes, stored.existed) == (sha256(content), len(content), False)
        assert await read(archive, stored.sha256) == content
        assert await archive.fetch_to(stored.sha256, tmp_path / "copy") == len(content)
        assert (tmp_path / "copy").read_bytes() == content
        assert await archive.verify(stored.sha256) == len(content)

    @pytest.mark.parametrize("content", [b"", b"x" * 200_000, TEXT, NOISE])
    async def test_a_file_is_stored_like_its_content(self, archive: Archive, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "file").write_bytes(content)
        first = await archive.put_file(tmp_path / "file")
        second = await put(archive, content)
        assert not first.existed
        assert second.existed
        assert (first.sha256, first.stored_bytes) == (second.sha256, second.stored_bytes)
        assert [entry.sha256 async for entry in archive.list()] == [first.sha256]

    async def test_what_compresses_is_compressed_and_what_does_not_is_kept_as_it_is(self, archive: Archive) -> None:
        text, noise = await put(archive, TEXT), await put(archive, NOISE)
        assert text.stored_bytes < len(TEXT) / 10
        assert noise.stored_bytes == len(NOISE)
        assert (await archive.stat(text.sha256)).entry.key.endswith(f"{text.sha256}.zst")
        assert (await archive.stat(noise.sha256)).entry.key == f"{noise.sha256[:2]}/{noise.sha256[2:4]}/{noise.sha256}"

    async def test_stat_knows_sizes_without_reading(self, archive: Archive, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(TEXT)
        stored = await archive.put_file(tmp_path / "file")
        described = await archive.stat(stored.sha256)
        assert described.size_bytes == len(TEXT)
        assert described.entry.stored_bytes == stored.stored_bytes
        small = await put(archive, b"x" * 5000)
        assert (await archive.stat(small.sha256)).size_bytes == 5000
        noise = await put(archive, NOISE)
        assert (await archive.stat(noise.sha256)).size_bytes == len(NOISE)

    async def test_the_size_of_a_compressed_stream_is_not_known_without_reading(self, archive: Archive) -> None:
        stored = await put(archive, TEXT)
        assert (await archive.stat(stored.sha256)).size_bytes is None
        assert await archive.verify(stored.sha256) == len(TEXT)

    async def test_what_is_not_there_is_not_archived(self, archive: Archive, tmp_path: Path) -> None:
        with pytest.raises(NotArchived, match=MISSING):
            await read(archive, MISSING)
        with pytest.raises(NotArchived):
            await archive.fetch_to(MISSING, tmp_path / "copy")
        with pytest.raises(NotArchived):
            await archive.stat(MISSING)
        assert list(tmp_path.glob("*copy*")) == []
        assert not await archive.delete(MISSING)

    async def test_deleted_is_gone(self, archive: Archive) -> None:
        stored = await put(archive, TEXT)
        assert await archive.delete(stored.sha256)
        with pytest.raises(NotArchived):
            await archive.stat(stored.sha256)
        assert [entry async for entry in archive.list()] == []

    async def test_a_stream_that_breaks_off_leaves_nothing(self, archive: Archive) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield NOISE + NOISE
            raise ConnectionResetError("peer went away")

        with pytest.raises(ConnectionResetError):
            await archive.put(broken())
        assert [entry async for entry in archive.list()] == []

    async def test_the_same_content_from_many_sides_at_once_is_stored_once(self, archive: Archive) -> None:
        stored = await asyncio.gather(*(put(archive, TEXT) for _ in range(8)))
        assert {one.sha256 for one in stored} == {sha256(TEXT)}
        assert len([entry async for entry in archive.list()]) == 1
        assert await read(archive, sha256(TEXT)) == TEXT

    async def test_a_reader_may_stop_early(self, archive: Archive) -> None:
        stored = await put(archive, NOISE)
        pieces = archive.read(stored.sha256)
        assert len(await anext(pieces)) <= SLICE
        await pieces.aclose()

    @pytest.mark.parametrize("name", ["", "abc", "A" * 64, "../" + "0" * 61, "0" * 63 + "\n"])
    async def test_a_name_that_is_no_sha256_is_refused(self, archive: Archive, name: str) -> None:
        with pytest.raises(ValueError, match="SHA-256"):
            await archive.stat(name)

    async def test_a_well_archive_has_no_complaint(self, archive: Archive) -> None:
        assert await archive.complaint() is None

    async def test_bytes_and_outcomes_are_counted(self, archive: Archive) -> None:
        def counted(name: str, **labels: str) -> float:
            return value(name, service="archive-test", **labels)

        written = counted("tidemill_archive_bytes_total", direction="written")
        known = counted("tidemill_archive_puts_total", outcome="known")
        gone_out = counted("tidemill_archive_bytes_total", direction="read")
        await put(archive, NOISE)
        await put(archive, NOISE)
        await read(archive, sha256(NOISE))
        assert counted("tidemill_archive_bytes_total", direction="written") - written == len(NOISE)
        assert counted("tidemill_archive_bytes_total", direction="read") - gone_out == len(NOISE)
        assert counted("tidemill_archive_puts_total", outcome="known") - known == 1


class TestMemoryArchive(ArchiveContract):
    @pytest.fixture
    async def archive(self) -> AsyncIterator[Archive]:
        async with Archive.open("memory:///", Metrics("archive-test")) as archive:
            yield archive


class TestFolderArchive(ArchiveContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "the archive"

    @pytest.fixture
    async def archive(self, root: Path) -> AsyncIterator[Archive]:
        async with Archive.open(root.as_uri(), Metrics("archive-test")) as archive:
            yield archive

    @staticmethod
    def files(root: Path) -> list[Path]:
        return [path for path in root.rglob("*") if path.is_file()]

    async def test_the_layout_is_two_folders_and_the_hash(self, archive: Archive, root: Path) -> None:
        stored = await put(archive, b"x" * 1000)
        name = stored.sha256
        assert self.files(root) == [root / name[:2] / name[2:4] / f"{name}.zst"]

    async def test_putting_again_makes_it_young_again(self, archive: Archive, root: Path) -> None:
        stored = await put(archive, TEXT)
        (path,) = self.files(root)
        os.utime(path, (1000, 1000))
        await put(archive, TEXT)
        assert time.time() - (await archive.stat(stored.sha256)).entry.stored_at.timestamp() < 60

    async def test_strange_files_are_left_out_of_the_list(self, archive: Archive, root: Path) -> None:
        stored = await put(archive, TEXT)
        (root / "README").write_text("mine")
        (root / ".incoming" / "half").write_text("half")
        assert [entry.sha256 async for entry in archive.list()] == [stored.sha256]

    @pytest.mark.parametrize("content", [TEXT, NOISE])
    @pytest.mark.parametrize(
        "damage",
        [lambda data: data[:-1], lambda data: data[:-5] + b"hello", lambda data: b"\x00" + data[1:], lambda data: b""],
        ids=["cut", "end changed", "beginning changed", "emptied"],
    )
    async def test_damage_is_noticed_before_the_last_slice(
        self, archive: Archive, root: Path, tmp_path: Path, content: bytes, damage: object
    ) -> None:
        stored = await put(archive, content)
        (path,) = self.files(root)
        path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
        seen = b""
        with pytest.raises(CorruptArchive, match=stored.sha256):
            async for piece in archive.read(stored.sha256):
                seen += piece
        assert len(seen) < len(content)
        with pytest.raises(CorruptArchive):
            await archive.fetch_to(stored.sha256, tmp_path / "copy")
        assert list(tmp_path.glob("*copy*")) == []

    async def test_content_that_a_power_loss_emptied_is_written_again(self, archive: Archive, root: Path) -> None:
        stored = await put(archive, TEXT)
        (path,) = self.files(root)
        path.write_bytes(b"")
        assert not (await put(archive, TEXT)).existed
        assert await read(archive, stored.sha256) == TEXT

    async def test_a_file_that_is_written_over_is_not_stored(
        self, archive: Archive, root: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "changing"
        path.write_bytes(NOISE * 20)
        putting = asyncio.create_task(archive.put_file(path))
        with path.open("r+b") as file:
            while not putting.done():
                file.seek(0)
                file.write(os.urandom(SLICE))
                file.flush()
                await asyncio.sleep(0)
        with pytest.raises(ChangedWhileReading, match="changing"):
            await putting
        assert self.files(root) == []

    @pytest.mark.parametrize("content", [TEXT * 20, NOISE * 20])
    async def test_a_file_that_grows_is_not_stored(
        self, archive: Archive, root: Path, tmp_path: Path, content: bytes
    ) -> None:
        path = tmp_path / "growing"
        path.write_bytes(content)
        putting = asyncio.create_task(archive.put_file(path))
        while not (putting.done() or any(root.glob(".incoming/*"))):
            await asyncio.sleep(0)
        with path.open("ab") as file:
            file.write(b"one line more\n")
        with pytest.raises(ChangedWhileReading, match="growing"):
            await putting
        assert self.files(root) == []

    async def test_a_file_that_cannot_be_read_is_no_fault_of_the_archive(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        with pytest.raises(FileNotFoundError):
            await archive.put_file(tmp_path / "nothing")

    @pytest.mark.parametrize("size", [SLICE // 2, 3 * SLICE])
    async def test_a_full_disk_is_unavailable_and_nothing_half_written_stays(
        self, archive: Archive, root: Path, tmp_path: Path, size: int
    ) -> None:
        (tmp_path / "file").write_bytes(random.Random(1).randbytes(size))
        failed = value("tidemill_archive_puts_total", service="archive-test", outcome="failed")
        with files_limited_to(size // 2), pytest.raises(ArchiveUnavailable, match="File too large") as raised:
            await archive.put_file(tmp_path / "file")
        assert isinstance(raised.value, Unavailable), "the engine tries again and counts no attempt"
        assert self.files(root) == []
        assert value("tidemill_archive_puts_total", service="archive-test", outcome="failed") == failed + 1
        assert not (await archive.put_file(tmp_path / "file")).existed

    async def test_a_full_disk_where_the_content_is_fetched_to_is_unavailable_too(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        stored = await put(archive, TEXT)
        with files_limited_to(SLICE // 2), pytest.raises(ArchiveUnavailable, match="copy"):
            await archive.fetch_to(stored.sha256, tmp_path / "copy")
        assert list(tmp_path.glob("*copy*")) == []

    async def test_a_disk_that_is_really_full(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("only root may mount a small disk")
        try:
            async with Archive.open((disk / "archive").as_uri()) as archive:
                await put(archive, NOISE[:SLICE])
                with pytest.raises(ArchiveUnavailable, match="No space left"):
                    await put(archive, NOISE)
                assert len(self.files(disk)) == 1
                assert "MB left" in str(await archive.complaint())
        finally:
            subprocess.run(["umount", disk], check=True)

    async def test_a_missing_mount_is_unavailable_and_its_mount_point_stays_empty(
        self, archive: Archive, root: Path
    ) -> None:
        stored = await put(archive, TEXT)
        away = root.rename(root.with_name("away"))
        root.mkdir()
        for attempt in (put(archive, TEXT), put(archive, NOISE), read(archive, stored.sha256)):
            with pytest.raises(ArchiveUnavailable, match="is it mounted"):
                await attempt
        assert "is it mounted" in str(await archive.complaint())
        assert list(root.iterdir()) == []
        root.rmdir()
        away.rename(root)
        assert await read(archive, stored.sha256) == TEXT

    async def test_what_a_killed_writer_left_is_swept_and_what_is_being_written_is_not(self, root: Path) -> None:
        program = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from tidemill.common.archive import Archive\n"
            "async def chunks():\n"
            "    yield b'x' * 3_000_000\n"
            "    print('writing', flush=True)\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(Archive.open(sys.argv[1]).put(chunks()))\n"
        )
        with subprocess.Popen([sys.executable, "-c", program, root.as_uri()], stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"writing\n"
            (left,) = self.files(root)
            os.utime(left, (1000, 1000))
            async with Archive.open(root.as_uri()):
                assert self.files(root) == [left], "its writer lives"
            writer.kill()
            writer.wait()
        os.utime(left, (1000, 1000))
        async with Archive.open(root.as_uri()) as archive:
            assert self.files(root) == []
            assert (await put(archive, TEXT)).size_bytes == len(TEXT)

    async def test_a_cancelled_put_leaves_nothing(self, archive: Archive, root: Path) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield NOISE

        putting = asyncio.create_task(archive.put(endless()))
        await asyncio.sleep(0.1)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert self.files(root) == []

    async def test_a_put_that_is_cancelled_while_its_place_is_made_leaves_nothing(
        self, archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        making, make = threading.Event(), FolderArchive.incoming

        def make_slowly(store: FolderArchive) -> Incoming:
            making.set()
            time.sleep(0.2)
            return make(store)

        monkeypatch.setattr(FolderArchive, "incoming", make_slowly)
        putting = asyncio.create_task(put(archive, NOISE))
        assert await asyncio.to_thread(making.wait, 20)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert self.files(root) == []

    @pytest.mark.parametrize("content", [TEXT[:1000], TEXT], ids=["small", "large"])
    async def test_what_a_put_used_is_gone_without_a_search_for_garbage(self, archive: Archive, content: bytes) -> None:
        gc.collect()
        gc.disable()
        try:
            await put(archive, content)
            async with asyncio.timeout(5):  # The thread lets go of it a moment after it has said so.
                while any(isinstance(each, Packer) for each in gc.get_objects()):
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()

    async def test_the_event_loop_never_waits_long(self, archive: Archive, tmp_path: Path) -> None:
        with (tmp_path / "large").open("wb") as file:
            for _ in range(30):
                file.write(TEXT)
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.001)
                longest = max(longest, time.perf_counter() - began)

        watching = asyncio.create_task(watch())
        stored = await archive.put_file(tmp_path / "large")
        await archive.fetch_to(stored.sha256, tmp_path / "copy")
        watching.cancel()
        assert longest < 0.5, "slices take milliseconds; the rest is the machine's"

    async def test_memory_is_constant_whatever_the_size(self, archive: Archive, tmp_path: Path) -> None:
        with (tmp_path / "large").open("wb") as file:
            for _ in range(40):
                file.write(TEXT)
        tracemalloc.start()
        try:
            stored = await archive.put_file(tmp_path / "large")
            await put_again(archive, tmp_path / "large")
            await archive.fetch_to(stored.sha256, tmp_path / "copy")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (tmp_path / "copy").stat().st_size == 40 * len(TEXT)
        assert peak < 16 << 20

    async def test_a_folder_that_cannot_be_used_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(ArchiveUnavailable, match="file"):
            Archive.open((tmp_path / "file").as_uri())

    async def test_a_folder_is_not_made_where_that_is_not_wanted(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveUnavailable, match="there is no archive"):
            Archive.open((tmp_path / "none").as_uri(), make=False)
        assert not (tmp_path / "none").exists()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    @given(content=st.binary(max_size=3000), repeat=st.integers(1, 700), cuts=st.lists(st.integers(1, 400_000)))
    async def test_any_content_in_any_chunks_comes_back(
        self, archive: Archive, content: bytes, repeat: int, cuts: list[int]
    ) -> None:
        whole = content * repeat

        async def chunks() -> AsyncIterator[bytes]:
            start = 0
            for cut in cuts:
                yield whole[start : start + cut]
                start += cut
            yield whole[start:]

        stored = await archive.put(chunks())
        assert stored.sha256 == sha256(whole)
        assert await read(archive, stored.sha256) == whole


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.mark.servers
class TestS3Archive(ArchiveContract):
    @pytest.fixture
    def bucket(self, server: S3Server) -> str:
        return server.make_bucket()

    @pytest.fixture
    async def archive(self, server: S3Server, bucket: str) -> AsyncIterator[Archive]:
        url = f"s3://{bucket}/some/prefix?endpoint={server.url}&region=us-east-1"
        async with Archive.open(url, Metrics("archive-test")) as archive:
            yield archive

    async def test_the_layout_is_the_same_under_the_prefix(
        self, archive: Archive, server: S3Server, bucket: str
    ) -> None:
        name = (await put(archive, b"x" * 1000)).sha256
        assert server.keys(bucket) == [f"some/prefix/{name[:2]}/{name[2:4]}/{name}.zst"]

    async def test_a_large_content_is_uploaded_in_parts_and_appears_whole(
        self, archive: Archive, server: S3Server, bucket: str
    ) -> None:
        large = random.Random(3).randbytes(25 << 20)
        stored = await put(archive, large)
        assert await archive.verify(stored.sha256) == len(large)
        assert server.keys(bucket) == [f"some/prefix/{(await archive.stat(stored.sha256)).entry.key}"]
        assert server.unfinished(bucket) == 0

    async def test_damage_is_noticed(self, archive: Archive, server: S3Server, bucket: str) -> None:
        stored = await put(archive, NOISE)
        server.client.put_object(Bucket=bucket, Key=server.keys(bucket)[0], Body=NOISE[:-1] + b"!")
        with pytest.raises(CorruptArchive, match=stored.sha256):
            await read(archive, stored.sha256)

    async def test_young_content_is_left_alone_and_old_content_written_again(
        self, archive: Archive, server: S3Server, bucket: str
    ) -> None:
        stored = await put(archive, TEXT)
        first = server.written_at(bucket)
        await asyncio.sleep(1.1)
        await put(archive, TEXT)
        assert server.written_at(bucket) == first
        server.make_older(bucket, REFRESH_AFTER + timedelta(minutes=1))
        await put(archive, TEXT)
        assert server.written_at(bucket) > first
        assert await read(archive, stored.sha256) == TEXT

    async def test_a_store_that_is_away_is_unavailable_and_named(self, archive: Archive, server: S3Server) -> None:
        stored = await put(archive, TEXT)
        with server.away():
            for attempt in (put(archive, NOISE), read(archive, stored.sha256), archive.delete(stored.sha256)):
                with pytest.raises(ArchiveUnavailable, match="some/prefix"):
                    await attempt
            assert "some/prefix" in str(await archive.complaint())
        assert await read(archive, stored.sha256) == TEXT

    async def test_a_bucket_that_is_missing_is_a_complaint(self, server: S3Server) -> None:
        async with Archive.open(f"s3://nobodys?endpoint={server.url}&region=us-east-1") as archive:
            assert "nobodys" in str(await archive.complaint())
            with pytest.raises(ArchiveUnavailable, match="nobodys"):
                await put(archive, TEXT)


async def put_again(archive: Archive, path: Path) -> None:
    """As a stream and under another content, so that it is written."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"another beginning"
        with path.open("rb") as file:
            while piece := file.read(300_000):
                yield piece

    assert not (await archive.put(chunks())).existed


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """As if the disk were full at this size: the kernel refuses the write (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(st.binary(max_size=2000), st.integers(1, 200), st.lists(st.integers(1, 100_000), max_size=20))
def test_how_content_is_cut_changes_nothing_of_what_is_stored(content: bytes, repeat: int, cuts: list[int]) -> None:
    whole = content * repeat
    at_once, in_pieces = bytearray(), bytearray()
    first = Packer(at_once.extend, len(whole))
    first.feed(whole)
    first.finish()
    second = Packer(in_pieces.extend, len(whole))
    start = 0
    for cut in cuts:
        second.feed(whole[start : start + cut])
        start += cut
    second.feed(memoryview(whole)[start:])
    second.finish()
    assert (first.sha256, first.compressed, first.size_bytes) == (second.sha256, second.compressed, second.size_bytes)
    assert first.stored_bytes == len(at_once)
    if not first.compressed:
        assert at_once == in_pieces == whole


def test_the_beginning_decides() -> None:
    for beginning, compressed in ((b"a" * SAMPLE, True), (NOISE[:SAMPLE], False)):
        packer = Packer(lambda piece: None)
        packer.feed(beginning)
        packer.feed(NOISE)
        packer.finish()
        assert packer.compressed is compressed


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("file://relative/folder", "file:///absolute/path"),
        ("ftp://host/folder", "begins with"),
        ("/a/folder", "begins with"),
        ("s3://key:hunter2@bucket/prefix", "no credentials"),
        ("s3://bucket?secret=1", "not secret"),
        ("gs://bucket?region=x", "cannot be opened"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_what_would(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        Archive.open(url)
    assert "hunter2" not in str(raised.value)
