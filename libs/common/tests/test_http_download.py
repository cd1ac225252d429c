"""Files to disk, from a server that misbehaves: the right bytes or a named failure, never something in between."""

import asyncio
import base64
import gzip
import hashlib
import json
import random
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.http import (
    BadStatus,
    Bandwidth,
    Blocked,
    ChecksumMismatch,
    Downloaded,
    Entry,
    FetchFailure,
    Held,
    NetworkFailure,
    NotModified,
    NotWhatItShouldBe,
    Patience,
    PoliteClient,
    PrivateAddress,
    Progress,
    TimedOut,
    TooLarge,
    Truncated,
    Usage,
    Validators,
    download,
    forget,
)
from tidemill.common.http.bandwidth import Meter
from tidemill.common.http.partfile import CHECKPOINT_BYTES, PartFile, find_part, state_of
from tidemill.common.http.resume import Part
from tidemill.common.testing.hostile import Asked, Connection, Hostile, hostile_server, polite_client

PDF = b"%PDF-1.7\n" + random.Random(5).randbytes(300_000)
SHORT = Patience(silence=timedelta(seconds=1))

Bring = Callable[..., Awaitable[Downloaded | NotModified]]


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        yield server


@pytest.fixture
def ledger() -> list[Entry]:
    return []


@pytest.fixture
async def client(ledger: list[Entry]) -> AsyncIterator[PoliteClient]:
    async with polite_client(ledger) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "issue.pdf.part"


@pytest.fixture
def bring(client: PoliteClient, server: Hostile, path: Path) -> Bring:
    async def bring(file: str = "/issue.pdf", **options: object) -> Downloaded | NotModified:
        options = {"politeness": server.politeness(obey_robots=False)} | options
        return await download(client, f"{server.url}{file}", path, source="s", **options)  # type: ignore[arg-type]

    return bring


def check(done: Downloaded | NotModified, content: bytes = PDF) -> Downloaded:
    assert isinstance(done, Downloaded)
    assert done.path.read_bytes() == content
    assert done.sha256 == hashlib.sha256(content).hexdigest()
    assert done.size_bytes == len(content)
    return done


async def failure(bringing: Awaitable[object]) -> FetchFailure:
    with pytest.raises(FetchFailure) as caught:
        await bringing
    return caught.value


class Issue:
    """A file on a server that knows ranges, and of which each answer can be spoilt."""

    def __init__(self, server: Hostile, content: bytes = PDF, etag: str = '"1"') -> None:
        self.content = content
        self.etag = etag
        self.cut_after: int | None = None
        """Bytes of the next body after which the connection breaks."""
        self.spoilt: dict[str, str] = {}
        """Headers of a 206 that lie."""
        self.status: int | None = None
        """Of the answer to a range."""
        self.answered: list[int] = []
        server.on("/issue.pdf")(self.answer)

    async def answer(self, asked: Asked, connection: Connection) -> None:
        wanted, headers = asked.headers.get("range"), {"ETag": self.etag, "Accept-Ranges": "bytes"}
        if asked.headers.get("if-none-match") == self.etag:
            self.answered.append(304)
            await connection.answer(304, etag=self.etag)
            return
        whole = wanted is None or asked.headers.get("if-range") != self.etag
        if self.status is not None and not whole:
            self.answered.append(self.status)
            if self.status == 416:
                await connection.answer(416, content_range=f"bytes */{len(self.content)}")
                return
            whole = True
        first = 0 if whole or wanted is None else int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = self.content[first:]
        headers["Content-Length"] = str(len(body))
        if not whole:
            headers["Content-Range"] = f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
            headers |= self.spoilt
        self.answered.append(200 if whole else 206)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        cut, self.cut_after = self.cut_after, None
        await connection.send(f"HTTP/1.1 {200 if whole else 206} X\r\n{lines}\r\n", body[:cut])
        if cut is not None:
            connection.hang_up()


async def broken_off(bring: Bring, issue: Issue, after: int = 100_000) -> None:
    """A first attempt that leaves a part."""
    issue.cut_after = after
    error = await failure(bring())
    assert isinstance(error, Truncated)
    assert error.retry


async def test_a_file_comes_whole_with_what_recognises_it(bring: Bring, server: Hostile, path: Path) -> None:
    server.says("/issue.pdf", 200, PDF, etag='"1"', last_modified="then", content_type="application/pdf")
    usage = Usage()
    done = check(await bring(usage=usage))
    assert (done.etag, done.last_modified, done.media_type) == ('"1"', "then", "application/pdf")
    assert (done.url, done.resumed_from) == (f"{server.url}/issue.pdf", 0)
    assert (usage.requests, usage.bytes_received) == (1, len(PDF))
    assert server.asked[0].headers["accept-encoding"] == "identity"
    forget(path)
    assert list(path.parent.iterdir()) == []
    forget(path)


async def test_a_known_file_that_did_not_change_costs_no_body(bring: Bring, server: Hostile, path: Path) -> None:
    issue = Issue(server)
    assert isinstance(await bring(known=Validators('"1"')), NotModified)
    check(await bring(known=Validators('"0"')))
    assert issue.answered == [304, 200]


async def test_what_a_304_saved_is_in_the_ledger(bring: Bring, server: Hostile, ledger: list[Entry]) -> None:
    Issue(server)
    await bring(known=Validators('"1"'), known_bytes=300_009)
    assert [(entry.status, entry.bytes_received, entry.bytes_saved) for entry in ledger] == [(304, 0, 300_009)]


async def test_a_truncated_body_is_resumed_where_it_broke_off(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    usage = Usage()
    done = check(await bring(usage=usage))
    assert done.resumed_from == 100_000
    assert usage.bytes_received == len(PDF) - 100_000
    assert issue.answered == [200, 206]
    assert server.asked[1].headers["range"] == "bytes=100000-"
    assert server.asked[1].headers["if-range"] == '"1"'


async def test_it_may_break_off_again_and_again(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    for _ in range(4):
        await broken_off(bring, issue, 60_000)
    assert check(await bring()).resumed_from == 240_000


async def test_a_reset_and_a_silence_leave_a_part_too(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)

    @server.on("/issue.pdf")
    async def half(asked: Asked, connection: Connection) -> None:
        await connection.send(f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {len(PDF)}\r\n\r\n', PDF[:70_000])
        await asyncio.sleep(60)

    assert isinstance(await failure(bring(patience=SHORT)), TimedOut)
    server.on("/issue.pdf")(issue.answer)
    assert check(await bring()).resumed_from == 70_000


async def test_a_200_to_a_range_starts_over(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    issue.status = 200
    assert check(await bring()).resumed_from == 0
    assert issue.answered == [200, 200, 200]


async def test_another_etag_midway_starts_over_with_the_new_file(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    issue.content, issue.etag = b"%PDF-2.0\n" + bytes(200_000), '"2"'
    done = check(await bring(), issue.content)
    assert (done.resumed_from, done.etag) == (0, '"2"')


async def test_a_416_fetches_the_whole_once(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    issue.status = 416
    assert check(await bring()).resumed_from == 0
    assert issue.answered == [200, 416, 200]


async def test_a_server_that_always_says_416_is_given_up(bring: Bring, server: Hostile) -> None:
    server.says("/issue.pdf", 416)
    error = await failure(bring())
    assert isinstance(error, BadStatus)
    assert error.status == 416
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "spoilt",
    [
        {"Content-Range": f"bytes 0-{len(PDF) - 1}/{len(PDF)}"},
        {"Content-Range": f"bytes 100001-{len(PDF) - 1}/{len(PDF)}"},
        {"Content-Range": f"bytes 100000-{len(PDF)}/{len(PDF) + 1}"},
        {"Content-Range": "bytes */*"},
        {"Content-Type": "multipart/byteranges; boundary=x"},
        {"ETag": '"2"'},
        {"ETag": 'W/"1"'},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_a_206_that_lies_is_not_appended_and_the_whole_is_fetched(
    bring: Bring, server: Hostile, spoilt: dict[str, str]
) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    issue.spoilt = spoilt
    assert check(await bring()).resumed_from == 0
    assert issue.answered == [200, 206, 200]


async def test_a_206_that_nobody_asked_for_is_no_file(bring: Bring, server: Hostile, path: Path) -> None:
    server.says("/issue.pdf", 206, PDF, content_range=f"bytes 0-{len(PDF) - 1}/{len(PDF)}")
    assert isinstance(await failure(bring()), BadStatus)
    assert not path.exists()


async def test_a_server_that_gives_a_little_at_a_time_is_asked_on(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue, 120_000)

    @server.on("/issue.pdf")
    async def little(asked: Asked, connection: Connection) -> None:
        first = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        body = PDF[first : first + 50_000]
        told = f"bytes {first}-{first + len(body) - 1}/{len(PDF)}"
        await connection.answer(206, body, content_range=told, etag='"1"')

    assert check(await bring()).resumed_from == 120_000
    assert len(server.asked) == 5


async def test_a_server_that_gives_next_to_nothing_is_given_up_and_what_came_is_kept(
    bring: Bring, server: Hostile, path: Path
) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)

    @server.on("/issue.pdf")
    async def byte(asked: Asked, connection: Connection) -> None:
        first = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        await connection.answer(206, b"x", content_range=f"bytes {first}-{first}/{len(PDF)}", etag='"1"')

    error = await failure(bring())
    assert isinstance(error, NetworkFailure)
    assert len(server.asked) <= 25


async def test_a_weak_etag_is_not_resumed(bring: Bring, server: Hostile) -> None:
    issue = Issue(server, etag='W/"1"')
    await broken_off(bring, issue)
    assert check(await bring()).resumed_from == 0
    assert "range" not in server.asked[1].headers


async def test_a_whole_part_is_confirmed_without_a_body(bring: Bring, server: Hostile, ledger: list[Entry]) -> None:
    issue = Issue(server)
    check(await bring())  # Then killed, before anybody moved the file.
    assert check(await bring()).resumed_from == len(PDF)
    assert issue.answered == [200, 304]
    assert ledger[-1].bytes_saved == len(PDF)
    issue.content, issue.etag = b"%PDF-2.0\n", '"2"'
    check(await bring(), b"%PDF-2.0\n")


async def test_a_part_of_another_address_is_dropped(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    other = b"%PDF-1.3\n" + bytes(20)
    server.says("/other.pdf", 200, other, etag='"1"')
    check(await bring("/other.pdf"), other)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"size": 5}', '{"url": 1, "size": "x"}', None])
async def test_a_part_of_which_nothing_is_known_is_dropped(
    bring: Bring, server: Hostile, path: Path, damage: str | None
) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    state = json.loads(state_of(path).read_bytes())
    state_of(path).write_text(json.dumps(state | {"total": "many"}) if damage is None else damage)
    assert check(await bring()).resumed_from == 0


async def test_a_part_that_lost_its_end_is_dropped_and_one_that_grew_is_cut(
    bring: Bring, server: Hostile, path: Path
) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    with path.open("ab") as file:
        file.write(b"written after the last checkpoint, and not known to be safe")
    assert check(await bring()).resumed_from == 100_000
    forget(path)
    await broken_off(bring, issue)
    with path.open("r+b") as file:
        file.truncate(99_999)
    assert check(await bring()).resumed_from == 0


async def test_html_served_as_pdf_is_refused_at_its_first_bytes(bring: Bring, server: Hostile, path: Path) -> None:
    page = "<!DOCTYPE html><title>Please log in</title>" + "x" * 5_000_000
    server.says("/issue.pdf", 200, page, content_type="application/pdf")
    usage = Usage()
    error = await failure(bring(usage=usage))
    assert isinstance(error, NotWhatItShouldBe)
    assert (error.slug, error.retry) == ("not_what_it_should_be", False)
    assert "an HTML page titled 'Please log in' came where a PDF was expected" in str(error)
    assert usage.bytes_received < 1_000_000
    assert not path.exists()


async def test_a_short_error_page_is_refused_too(bring: Bring, server: Hostile, path: Path) -> None:
    server.says("/issue.pdf", 200, "<html>not yet")
    assert isinstance(await failure(bring()), NotWhatItShouldBe)
    assert not path.exists()


@pytest.mark.parametrize(("extra", "kind"), [(None, Truncated), (b"more", NotWhatItShouldBe)])
async def test_a_range_of_another_length_than_it_says_is_no_file(
    bring: Bring, server: Hostile, path: Path, extra: bytes | None, kind: type[FetchFailure]
) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)

    @server.on("/issue.pdf")
    async def lie(asked: Asked, connection: Connection) -> None:
        body = b"" if extra is None else PDF[100_000:] + extra
        told = f"Content-Range: bytes 100000-{len(PDF) - 1}/{len(PDF)}"
        await connection.send(f'HTTP/1.1 206 X\r\nETag: "1"\r\n{told}\r\nTransfer-Encoding: chunked\r\n\r\n')
        await connection.send(*([f"{len(body):x}\r\n", body, "\r\n"] if body else []), "0\r\n\r\n")

    assert type(await failure(bring())) is kind
    server.on("/issue.pdf")(issue.answer)
    check(await bring())


async def test_any_kind_is_taken_when_that_is_said(bring: Bring, server: Hostile) -> None:
    server.says("/issue.pdf", 200, b"<html>")
    check(await bring(expect="any"), b"<html>")


async def test_a_file_that_is_too_small_is_refused(bring: Bring, server: Hostile) -> None:
    server.says("/issue.pdf", 200, b"%PDF-1.4")
    assert isinstance(await failure(bring(min_size=1000)), NotWhatItShouldBe)
    server.says("/empty", 200, b"")
    assert "0 bytes" in str(await failure(bring("/empty")))


async def test_5_gb_declared_are_refused_with_nothing_on_disk(bring: Bring, server: Hostile, path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server.says("/issue.pdf", 200, PDF, content_length=5 * 10**9, etag='"1"')
    usage = Usage()
    assert isinstance(await failure(bring(usage=usage)), TooLarge)
    assert usage.bytes_received == 0
    assert not path.exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


async def test_a_range_that_makes_it_too_large_is_refused(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    assert isinstance(await failure(bring(max_size=200_000)), TooLarge)


async def test_a_body_without_end_is_cut_at_the_limit(bring: Bring, server: Hostile, path: Path) -> None:
    @server.on("/issue.pdf")
    async def endless(asked: Asked, connection: Connection) -> None:
        await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "9\r\n%PDF-1.7\n\r\n")
        for _ in range(200):
            await connection.send("10000\r\n", bytes(0x10000), "\r\n")

    assert isinstance(await failure(bring(max_size=1_000_000)), TooLarge)
    assert not path.exists()


async def test_a_body_of_unknown_length_comes_whole(bring: Bring, server: Hostile) -> None:
    @server.on("/issue.pdf")
    async def chunked(asked: Asked, connection: Connection) -> None:
        await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(PDF), 7777):
            piece = PDF[start : start + 7777]
            await connection.send(f"{len(piece):x}\r\n", piece, "\r\n")
        await connection.send("0\r\n\r\n")

    check(await bring())


async def test_a_file_that_is_encoded_although_nobody_asked_is_decoded(bring: Bring, server: Hostile) -> None:
    server.says("/issue.pdf", 200, gzip.compress(PDF), content_encoding="gzip", etag='"1"')
    check(await bring())
    assert isinstance(await failure(bring(max_size=100_000)), TooLarge)


async def test_a_gzip_bomb_never_reaches_the_disk(bring: Bring, server: Hostile, path: Path) -> None:
    bomb = gzip.compress(b"%PDF-1.7\n" + bytes(100 << 20))
    server.says("/issue.pdf", 200, bomb, content_encoding="gzip")
    assert isinstance(await failure(bring(max_size=2_000_000)), TooLarge)
    assert not path.exists()


async def test_a_published_checksum_is_checked(bring: Bring, server: Hostile, path: Path) -> None:
    Issue(server)
    check(await bring(checksum=hashlib.sha256(PDF).hexdigest().upper()))
    error = await failure(bring(checksum="0" * 64))
    assert isinstance(error, ChecksumMismatch)
    assert "by its publisher 000" in str(error)
    assert not path.exists()


@pytest.mark.parametrize("header", ["Repr-Digest", "Digest"])
async def test_a_digest_of_the_server_is_checked(bring: Bring, server: Hostile, header: str) -> None:
    digest = base64.b64encode(hashlib.sha256(PDF).digest()).decode()
    form = "sha-256=:{}:" if header == "Repr-Digest" else "SHA-256={}"
    server.says("/issue.pdf", 200, PDF, **{header: form.format(digest)})
    check(await bring())
    server.says("/issue.pdf", 200, PDF + b"x", **{header: form.format(digest)})
    assert isinstance(await failure(bring()), ChecksumMismatch)


async def test_a_file_behind_redirects_is_resumed_under_the_address_that_was_asked_for(
    bring: Bring, server: Hostile
) -> None:
    issue = Issue(server)
    server.says("/latest.pdf", 302, location="/issue.pdf")
    issue.cut_after = 50_000
    assert isinstance(await failure(bring("/latest.pdf")), Truncated)
    done = check(await bring("/latest.pdf"))
    assert (done.resumed_from, done.url) == (50_000, f"{server.url}/issue.pdf")


async def test_a_redirect_to_a_private_address_brings_nothing(bring: Bring, server: Hostile, path: Path) -> None:
    async with hostile_server() as secret:
        server.says("/issue.pdf", 302, location=f"{secret.url}/x")
        assert isinstance(await failure(bring()), PrivateAddress)
        assert secret.connections == 0
    assert not path.exists()


async def test_429_keeps_the_part_and_says_when_to_come_again(bring: Bring, server: Hostile, path: Path) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    server.says("/issue.pdf", 429, retry_after="60")
    error = await failure(bring())
    assert isinstance(error, Blocked)
    assert error.after is not None
    assert find_part(path) is not None


async def test_a_cancelled_download_keeps_what_came(bring: Bring, server: Hostile, path: Path) -> None:
    issue = Issue(server)

    @server.on("/issue.pdf")
    async def stop(asked: Asked, connection: Connection) -> None:
        await connection.send(f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {len(PDF)}\r\n\r\n', PDF[:70_000])
        await asyncio.sleep(60)

    bringing = asyncio.ensure_future(bring())
    while not path.exists() or path.stat().st_size < 1024:
        await asyncio.sleep(0.01)
    bringing.cancel()
    await asyncio.wait([bringing])
    assert bringing.cancelled()
    server.on("/issue.pdf")(issue.answer)
    assert check(await bring()).resumed_from > 0


FAULTS = st.sampled_from(["cut", "lying range", "200", "416", "other etag", "weak", "kill", "new content"])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(FAULTS, st.integers(0, 60_000)), max_size=6))
async def test_whatever_goes_wrong_in_whatever_order_the_file_is_right_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, faults: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("mix") / "part"
    async with hostile_server() as server, polite_client() as client:
        issue = Issue(server, PDF[:60_000])
        url, politeness = f"{server.url}/issue.pdf", server.politeness(obey_robots=False)

        async def attempt() -> bool:
            try:
                check(await download(client, url, path, source="s", politeness=politeness), issue.content)
            except (FetchFailure, Held):
                return False
            return True

        for number, (fault, at) in enumerate(faults):
            issue.spoilt, issue.status, issue.cut_after = {}, None, at
            match fault:
                case "lying range":
                    issue.spoilt = {"Content-Range": f"bytes {at}-59999/60000"}
                case "200" | "416":
                    issue.status = int(fault)
                case "other etag":
                    issue.spoilt = {"ETag": f'"x{number}"'}
                case "weak":
                    issue.etag = f'W/"{number}"'
                case "kill":
                    with path.open("ab") as file:
                        file.write(bytes(at))
                case "new content":
                    issue.content, issue.etag = b"%PDF-" + bytes([number]) * (50_000 + number), f'"{number}"'
            await attempt()
        issue.spoilt, issue.status, issue.cut_after = {}, None, None
        assert await attempt() or len(faults) >= 5  # Five failures in a row open the breaker.


async def test_a_download_that_is_cancelled_at_any_moment_is_never_doubled_or_torn(
    bring: Bring, server: Hostile, path: Path
) -> None:
    content = b"%PDF-1.7\n" + random.Random(3).randbytes(2_500_000)
    Issue(server, content)
    politeness = server.politeness(obey_robots=False, rate="1000/s")
    for steps in range(10, 150, 4):
        bringing = asyncio.ensure_future(bring(politeness=politeness))
        for _ in range(steps):
            await asyncio.sleep(0)
        bringing.cancel()
        await asyncio.wait([bringing])
        part = find_part(path)
        if part is not None:
            assert path.read_bytes()[: part.size] == content[: part.size]
    check(await bring(politeness=politeness), content)


async def test_progress_is_told_to_its_end(bring: Bring, server: Hostile) -> None:
    issue = Issue(server)
    await broken_off(bring, issue)
    told: list[Progress] = []
    await bring(on_progress=told.append)
    assert (told[-1].received, told[-1].total) == (len(PDF), len(PDF))
    assert told[-1].bytes_per_second > 0
    assert told[-1].eta == timedelta(0)


def test_rate_and_rest_are_of_the_last_seconds() -> None:
    now = 0.0
    meter = Meter(1000, 11_000, clock=lambda: now)
    assert meter.due(1000) is None
    now = 1.0
    assert meter.due(2000) == Progress(2000, 11_000, 1000.0, timedelta(seconds=9))
    assert meter.due(2100) is None
    now = 100.0
    assert meter.progress(2000).bytes_per_second < 1
    for second in range(101, 130):
        now = float(second)
        progress = meter.progress(2000 + (second - 100) * 100)
    assert progress.bytes_per_second == pytest.approx(100)
    assert Meter(0, None, clock=lambda: now).progress(0) == Progress(0, None, 0.0, None)


@settings(deadline=None)
@given(st.integers(1, 10**7), st.lists(st.integers(1, 10**6), max_size=30))
async def test_bandwidth_is_never_exceeded(cap: int, sizes: list[int]) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    bandwidth = Bandwidth(cap, clock=lambda: now, sleep=sleep)
    for size in sizes:
        await bandwidth.take(size)
    assert now == pytest.approx(sum(sizes) / cap)


async def test_a_capped_download_takes_its_time(bring: Bring, server: Hostile) -> None:
    Issue(server)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    check(await bring(bandwidth=Bandwidth(100_000, clock=lambda: 0.0, sleep=sleep)))
    assert slept[-1] == pytest.approx(len(PDF) / 100_000)


@settings(max_examples=25, deadline=None)  # Each makes its files safe.
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=12))
def test_a_state_never_promises_more_than_is_on_disk(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("part") / "file"
    fresh = Part("https://example.org/", 0, None, '"1"', None)
    written = b""
    file = PartFile(path, fresh)
    for size, checkpoint in steps:
        file.write(block := bytes([len(written) % 251]) * size)
        written += block
        if checkpoint:
            file.checkpoint()
        part = find_part(path)
        if part is not None:
            assert path.read_bytes()[: part.size] == written[: part.size]
    file.close()
    part = find_part(path) or fresh
    again = PartFile(path, part)
    assert again.size == part.size
    assert again.sha256 == hashlib.sha256(written[: part.size]).hexdigest()
    assert again.head == written[: part.size][:1024]
    again.close()
    PartFile(path, fresh).close()
    assert not state_of(path).exists()


def test_much_data_is_made_safe_without_being_asked(path: Path) -> None:
    file = PartFile(path, Part("https://example.org/", 0, None, '"1"', None))
    for _ in range(9):
        file.write(bytes(CHECKPOINT_BYTES // 4))
    file.close()
    assert json.loads(state_of(path).read_bytes())["size"] == 2 * CHECKPOINT_BYTES


@pytest.mark.slow
@pytest.mark.chaos
async def test_after_kill_9_in_the_middle_of_200_mb_less_than_5_percent_is_fetched_again(
    server: Hostile, path: Path
) -> None:
    size = 200_000_000
    block = random.Random(7).randbytes(1_000_000)
    digest = hashlib.sha256()
    for _ in range(200):
        digest.update(block)
    sent = 0
    halfway = asyncio.Event()

    @server.on("/big.bin")
    async def big(asked: Asked, connection: Connection) -> None:
        nonlocal sent
        connection.narrow()
        wanted = asked.headers.get("range", "bytes=0-")
        first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        told = f"Content-Range: bytes {first}-{size - 1}/{size}\r\n" if first else ""
        await connection.send(
            f'HTTP/1.1 {206 if first else 200} X\r\nETag: "1"\r\nContent-Length: {size - first}\r\n{told}\r\n'
        )
        while first < size and connection.open:
            piece = block[first % len(block) :][:100_000]
            await connection.send(piece)
            first += len(piece)
            sent += len(piece)
            if sent > size // 2:
                halfway.set()

    command = [str(Path(__file__).with_name("http_download_worker.py")), f"{server.url}/big.bin", str(path)]
    worker = await asyncio.create_subprocess_exec(sys.executable, *command)
    await halfway.wait()
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    part = find_part(path)
    assert part is not None
    again = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    told, _ = await again.communicate()
    sha256, resumed_from, grown_kilobytes = told.decode().split()
    assert (sha256, int(resumed_from)) == (digest.hexdigest(), part.size)
    assert int(grown_kilobytes) < 40_000
    assert sent - size < 0.05 * size
