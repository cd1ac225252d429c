"""Pages that only scripts fill, in a real Chromium that reaches nothing by itself."""

import asyncio
import importlib.util
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tidemill.common.config.sources import SourceFile
from tidemill.common.http import (
    BadStatus,
    Entry,
    Held,
    PoliteClient,
    RobotsDisallow,
    TimedOut,
    TooLarge,
    Usage,
    Validators,
)
from tidemill.common.testing.hostile import Asked, Connection, Hostile, hostile_server, polite_client
from tidemill.scraper.browser import Browser
from tidemill.scraper.chromium import Chromium, NoBrowser, find_chromium
from tidemill.scraper.fetch import Fetched, PoliteFetch


def missing() -> str | None:
    """Why these tests cannot run here."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (the extra `browser`)"
    if find_chromium(next(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"), None)) is None:
        return "there is no Chromium on this machine"
    return None


NEEDS_CHROMIUM = pytest.mark.skipif(missing() is not None, reason=missing() or "")
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

APP = """
fetch('/api/1', {headers: {'X-Requested-With': 'app'}}).then(answer => answer.json()).then(data => {
  document.querySelector('#root').innerHTML = '<h1>' + data.title + '</h1>'
})
"""
SHELL = '<!doctype html><html><head><link rel="stylesheet" href="/app.css">{head}</head><body><div id="root"></div>'
SHELL += '<script src="/app.js"></script>{body}</body></html>'


def app(server: Hostile, script: str = APP, head: str = "", body: str = "", **headers: Any) -> None:
    """A page `/1` that a script fills."""
    server.says("/1", 200, SHELL.format(head=head, body=body), content_type="text/html", **headers)
    server.says("/app.js", 200, script, content_type="text/javascript")
    server.says("/api/1", 200, '{"title": "Höyry"}', content_type="application/json")


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        yield server


@pytest.fixture
def ledger() -> list[Entry]:
    return []


@pytest_asyncio.fixture(loop_scope="module")
async def client(ledger: list[Entry]) -> AsyncIterator[PoliteClient]:
    async with polite_client(ledger) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    browser = Browser()
    yield browser
    await browser.close()


@pytest.fixture
def fetch(client: PoliteClient, browser: Browser) -> PoliteFetch:
    return PoliteFetch(client, browser)


def source(server: Hostile, *allowed: str, polite: dict[str, Any] | None = None, **scrape: Any) -> SourceFile:
    search = {"url": f"{server.url}/search", "link": {"css": "a"}}
    politeness = server.politeness(**{"allow_private": [server.host, *allowed]} | (polite or {}))
    return SourceFile.model_validate(
        {
            # The browser of this module keeps scripts per source, and a port may serve a later test again.
            "source": server.name,
            "politeness": politeness.model_dump(),
            "scrape": {"search": search, "browser": True} | scrape,
            "extract": {"fields": {"title": {"from": {"css": "h1"}, "required": True}}},
        }
    )


async def get(fetch: PoliteFetch, source: SourceFile, url: str, usage: Usage | None = None) -> Fetched:
    page = await fetch.page(source, url, usage or Usage())
    assert page is not None
    return page


def paths(server: Hostile) -> list[str]:
    return [asked.path for asked in server.pages]


def chromiums() -> list[psutil.Process]:
    """What of Chromium and its driver descends from this process, zombies too."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name().startswith(("chrom", "node")):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def main_process() -> psutil.Process:
    """Of the browser started last."""
    found = [each for each in chromiums() if alive(each) and parent_of(each).name().startswith("node")]
    return max(found, key=lambda each: each.create_time())


def parent_of(process: psutil.Process) -> psutil.Process:
    parent = process.parent()
    assert parent is not None
    return parent


@NEEDS_CHROMIUM
async def test_a_page_is_what_its_scripts_made_of_it_and_every_request_is_ours(
    fetch: PoliteFetch, server: Hostile, ledger: list[Entry]
) -> None:
    app(server, etag='"1"')
    usage = Usage()
    page = await get(fetch, source(server, polite={"contact": "mail@example.org"}), f"{server.url}/1", usage)
    assert "<h1>Höyry</h1>" in page.content.decode()
    assert page.content.startswith(b"<!DOCTYPE html>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (page.url, page.status, page.etag) == (f"{server.url}/1", 200, None)
    assert paths(server) == ["/1", "/app.js", "/api/1"]
    assert {asked.headers["user-agent"] for asked in server.asked} == {"Tidemill/0.1.0 (+mail@example.org)"}
    assert server.pages[2].headers["x-requested-with"] == "app"
    assert usage.requests == len(ledger) == 4


@NEEDS_CHROMIUM
async def test_scripts_are_asked_for_once_and_the_frame_of_a_page_is_never_conditional(
    fetch: PoliteFetch, server: Hostile
) -> None:
    app(server, etag='"1"')
    for _ in range(2):
        assert await fetch.page(source(server), f"{server.url}/1", Usage(), Validators('"1"', None), 100)
    assert paths(server) == ["/1", "/app.js", "/api/1", "/1", "/api/1"]
    assert not any("if-none-match" in asked.headers for asked in server.asked)


EVERY_WAY = """
<link rel="preconnect" href="{far}"><link rel="dns-prefetch" href="{far}"><link rel="prefetch" href="{far}/prefetch">
<link rel="icon" href="{far}/icon"><link rel="manifest" href="{far}/manifest">
<link rel="modulepreload" href="{far}/preload.js"><link rel="stylesheet" href="{far}/far.css">
<style>@font-face {{ font-family: x; src: url({far}/font) }} body {{ font-family: x; background: url({far}/b) }}</style>
<script type="speculationrules">{{"prerender": [{{"source": "list", "urls": ["{far}/prerender"]}}]}}</script>
<img src="{far}/img"><img src="/near.png"><video src="{far}/video" autoplay></video>
<iframe src="{far}/frame"></iframe>
<object data="{far}/object"></object><embed src="{far}/embed"><audio src="{far}/audio"></audio>
<script src="{far}/far.js"></script><svg><image href="{far}/svg"/></svg>
<script>
const attempts = [
  () => new WebSocket("{far}/socket".replace("http", "ws")),
  () => new EventSource("{far}/events"),
  () => new EventSource("/events"),
  () => navigator.sendBeacon("{far}/beacon", "x"),
  () => fetch("{far}/fetch").catch(() => 0),
  () => fetch("/post", {{method: "POST", body: "x"}}).catch(() => 0),
  () => navigator.serviceWorker.register("/sw.js").catch(() => 0),
  () => new Worker(URL.createObjectURL(new Blob([
    'fetch("{far}/worker").catch(() => 0); new WebSocket("{far}/worker-socket".replace("http", "ws"))']))),
  () => new SharedWorker("/shared.js"),
  () => new WebTransport("{far}/transport".replace("http:", "https:")).ready.catch(() => 0),
  () => {{
    const peer = new RTCPeerConnection({{iceServers: [{{urls: "stun:127.0.0.1:{udp}"}}]}});
    peer.createDataChannel("x");
    peer.createOffer().then(offer => peer.setLocalDescription(offer));
  }},
  () => window.open("{far}/popup"),
  () => {{ const form = document.createElement("form"); form.method = "post"; form.action = "{far}/form";
    form.target = "_blank"; document.body.append(form); form.submit() }},
];
for (const attempt of attempts) {{ try {{ attempt() }} catch (error) {{ console.log(error) }} }}
setTimeout(() => document.body.insertAdjacentHTML("beforeend", "<h1>tried</h1>"), 1500);
</script>
"""


class Udp(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.came: list[bytes] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.came.append(data)


@NEEDS_CHROMIUM
async def test_nothing_reaches_a_network_on_its_own(fetch: PoliteFetch, server: Hostile, ledger: list[Entry]) -> None:
    transport, udp = await asyncio.get_running_loop().create_datagram_endpoint(Udp, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    async with hostile_server() as far:
        server.says("/1", 200, EVERY_WAY.format(far=far.url, udp=port), content_type="text/html")
        page = await get(fetch, source(server), f"{server.url}/1")
        assert b"<h1>tried</h1>" in page.content
        await asyncio.sleep(1)
        assert far.connections == 0
    transport.close()
    assert udp.came == []
    assert server.connections == 1
    assert len(server.asked) == sum(entry.requests for entry in ledger)
    assert set(paths(server)) <= {"/1", "/shared.js"}


@NEEDS_CHROMIUM
async def test_what_robots_txt_forbids_is_not_asked_for_by_scripts_either(fetch: PoliteFetch, server: Hostile) -> None:
    app(server, "for (const path of ['/private/1', '/api/1']) fetch(path).catch(() => 0);" + APP)
    server.says("/robots.txt", 200, "User-agent: *\nDisallow: /private\n")
    await get(fetch, source(server), f"{server.url}/1")
    assert "/private/1" not in paths(server)
    with pytest.raises(RobotsDisallow):
        await get(fetch, source(server), f"{server.url}/private/page")


@NEEDS_CHROMIUM
async def test_a_page_asks_no_faster_than_its_source(fetch: PoliteFetch, server: Hostile) -> None:
    app(server)
    await get(fetch, source(server, polite={"rate": "2/s", "concurrency": 1}), f"{server.url}/1")
    gaps = [after.at - before.at for before, after in zip(server.asked, server.asked[1:], strict=False)]
    assert len(gaps) == 3
    assert min(gaps) > 0.25  # Without, hardly any; a server that is late for one finds it nearer to the next.
    assert sum(gaps) > 1.4


COOKIES = """
document.cookie = "made=here";
fetch('/api/1').then(() => fetch('/api/2')).then(() => {
  document.querySelector('#root').innerHTML = '<h1>' + document.cookie + '</h1>' })
"""


@NEEDS_CHROMIUM
async def test_cookies_of_source_answers_and_scripts_are_told_to_the_source_alone(
    fetch: PoliteFetch, server: Hostile
) -> None:
    async with hostile_server() as far:
        far.says("/far.js", 200, "", content_type="text/javascript", set_cookie="far=1")
        elsewhere = f"localhost:{far.port}"  # Cookies know no ports.
        app(server, COOKIES, head=f'<script src="http://{elsewhere}/far.js"></script>', set_cookie="seen=1")
        server.says("/api/1", 200, "{}", set_cookie="hidden=1; HttpOnly")
        server.says("/api/2", 200, "{}")
        page = await get(fetch, source(server, elsewhere, cookies={"consent": "yes"}), f"{server.url}/1")
        assert "cookie" not in far.pages[0].headers
    told = {asked.path: set(asked.headers.get("cookie", "").split("; ")) for asked in server.pages}
    assert told["/1"] == {"consent=yes"}
    assert told["/api/1"] == {"consent=yes", "seen=1", "made=here"}
    assert told["/api/2"] == {"consent=yes", "seen=1", "made=here", "hidden=1"}
    shown = page.content.decode().partition("<h1>")[2].partition("</h1>")[0]
    assert set(shown.split("; ")) == {"consent=yes", "seen=1", "made=here"}


@NEEDS_CHROMIUM
async def test_redirects_of_hosts_and_of_scripts_lead_to_where_the_page_is(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/old", 302, location="/hop")
    server.says("/hop", 200, "<script>location.href = '/further'</script>", content_type="text/html")
    server.says("/further", 301, location="/a/1")
    server.says("/a/1", 200, "<div id=root></div><script src='app.js'></script>", content_type="text/html")
    server.says("/a/app.js", 200, APP.replace("/api/1", "../api/1"), content_type="text/javascript")
    server.says("/api/1", 200, '{"title": "there"}', content_type="application/json")
    page = await get(fetch, source(server), f"{server.url}/old")
    assert b"<h1>there</h1>" in page.content
    assert page.url == f"{server.url}/a/1"
    assert page.redirects[0] == f"{server.url}/old"
    assert paths(server) == ["/old", "/hop", "/further", "/a/1", "/a/app.js", "/api/1"]


@NEEDS_CHROMIUM
async def test_what_comes_late_is_waited_for(fetch: PoliteFetch, server: Hostile) -> None:
    app(server, f"setTimeout(() => {{ {APP} }}, 1500)")
    assert b"<h1>" in (await get(fetch, source(server), f"{server.url}/1")).content


@NEEDS_CHROMIUM
async def test_a_page_that_polls_is_cut_off(fetch: PoliteFetch, server: Hostile) -> None:
    app(server, APP + "setInterval(() => fetch('/poll'), 50)")
    server.says("/poll", 200, "{}")
    page = await get(fetch, source(server), f"{server.url}/1")
    assert b"<h1>" in page.content
    assert paths(server).count("/poll") == 3


@NEEDS_CHROMIUM
async def test_an_answer_that_fails_is_the_failure_of_a_page_that_stays_empty(
    fetch: PoliteFetch, server: Hostile
) -> None:
    app(server)
    server.says("/api/1", 500)
    with pytest.raises(BadStatus) as caught:
        await get(fetch, source(server), f"{server.url}/1")
    assert (caught.value.status, caught.value.retry) == (500, True)
    app(server, APP + "fetch('/counter')")
    server.says("/counter", 500)
    assert b"<h1>" in (await get(fetch, source(server), f"{server.url}/1")).content


@NEEDS_CHROMIUM
async def test_a_budget_that_ends_in_the_middle_of_a_page_holds_it(fetch: PoliteFetch, server: Hostile) -> None:
    app(server)
    with pytest.raises(Held) as caught:
        await get(fetch, source(server, polite={"daily_budget": 3}), f"{server.url}/1")
    assert caught.value.reason == "budget_spent"
    assert paths(server) == ["/1", "/app.js"]


@NEEDS_CHROMIUM
async def test_a_page_that_grows_beyond_the_limit_is_refused(fetch: PoliteFetch, server: Hostile) -> None:
    app(server, "document.querySelector('#root').innerHTML = '<h1>' + 'x'.repeat(3e6) + '</h1>'")
    with pytest.raises(TooLarge):
        await get(fetch, source(server, max_size="1MB"), f"{server.url}/1")


@NEEDS_CHROMIUM
async def test_json_needs_no_browser(client: PoliteClient, server: Hostile) -> None:
    server.says("/search", 200, '{"items": []}', content_type="application/json")
    page = await get(PoliteFetch(client), source(server), f"{server.url}/search")
    assert page.content == b'{"items": []}'


@NEEDS_CHROMIUM
@pytest.mark.long
async def test_scripts_without_end_are_given_up_and_the_next_page_is_shown(
    client: PoliteClient, server: Hostile
) -> None:
    fetch = PoliteFetch(client)
    app(server)
    server.says("/endless", 200, "<script>while (true) {}</script>", content_type="text/html")
    with pytest.raises(TimedOut, match="do not come to an end"):
        await get(fetch, source(server), f"{server.url}/endless")
    assert b"<h1>" in (await get(fetch, source(server), f"{server.url}/1")).content
    await fetch.close()


@NEEDS_CHROMIUM
@pytest.mark.long
@pytest.mark.parametrize("victim", ["chromium", "driver", "tab"])
async def test_a_killed_browser_is_started_again_and_the_page_shown(
    client: PoliteClient, server: Hostile, victim: str
) -> None:
    fetch = PoliteFetch(client)
    app(server)
    waiting = asyncio.Event()

    @server.on("/api/1")
    async def slow(asked: Asked, connection: Connection) -> None:
        if not waiting.is_set():
            waiting.set()
            await asyncio.sleep(60)
        await connection.answer(200, '{"title": "Höyry"}')

    showing = asyncio.create_task(get(fetch, source(server), f"{server.url}/1"))
    await waiting.wait()
    main = main_process()
    if victim == "tab":
        for renderer in [each for each in chromiums() if alive(each) and "--type=renderer" in each.cmdline()]:
            renderer.kill()
        with pytest.raises(Exception, match=r"too much for a tab|cannot be shown"):
            await showing
        assert b"<h1>" in (await get(fetch, source(server), f"{server.url}/1")).content
    else:
        (main if victim == "chromium" else parent_of(main)).kill()
        assert b"<h1>" in (await showing).content
        assert main_process().pid != main.pid
    await fetch.close()


@NEEDS_CHROMIUM
@pytest.mark.long
async def test_a_browser_is_renewed_after_so_many_pages_and_after_so_long(
    client: PoliteClient, server: Hostile
) -> None:
    app(server)
    for browser, pages in ((Browser(tabs=1, pages=2), 3), (Browser(tabs=1, age=timedelta(0)), 2)):
        fetch = PoliteFetch(client, browser)
        seen = set()
        for _ in range(pages):
            await get(fetch, source(server), f"{server.url}/1")
            seen.add(main_process().pid)
        await fetch.close()
        assert len(seen) == 2


@NEEDS_CHROMIUM
@pytest.mark.long
async def test_tabs_work_side_by_side_and_no_more_than_allowed(client: PoliteClient, server: Hostile) -> None:
    fetch = PoliteFetch(client, Browser(tabs=2, pages=3))
    app(server)
    pages = await asyncio.gather(*(get(fetch, source(server), f"{server.url}/1") for _ in range(5)))
    assert all(b"<h1>" in page.content for page in pages)
    await fetch.close()


@NEEDS_CHROMIUM
async def test_no_process_is_left_after_the_end(client: PoliteClient, server: Hostile) -> None:
    before = {each.pid for each in chromiums()}
    fetch = PoliteFetch(client)
    app(server)
    await get(fetch, source(server), f"{server.url}/1")
    started = [each for each in chromiums() if each.pid not in before]
    assert len(started) > 3
    await fetch.close()
    await fetch.close()
    assert [each for each in started if each.is_running()] == []


@NEEDS_CHROMIUM
@pytest.mark.long
async def test_a_page_that_nobody_waits_for_any_more_is_closed(client: PoliteClient, server: Hostile) -> None:
    fetch = PoliteFetch(client)
    app(server)
    waiting = asyncio.Event()

    @server.on("/api/1")
    async def silent(asked: Asked, connection: Connection) -> None:
        waiting.set()
        await asyncio.sleep(60)

    showing = asyncio.create_task(get(fetch, source(server), f"{server.url}/1"))
    await waiting.wait()
    showing.cancel()
    await asyncio.wait([showing])
    assert showing.cancelled()
    app(server)
    assert b"<h1>" in (await get(fetch, source(server), f"{server.url}/1")).content
    await fetch.close()


@NEEDS_CHROMIUM
async def test_a_killed_process_takes_its_browser_with_it(server: Hostile) -> None:
    app(server)
    waiting = asyncio.Event()

    @server.on("/api/1")
    async def silent(asked: Asked, connection: Connection) -> None:
        waiting.set()
        await asyncio.sleep(60)

    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).parent / "browser_worker.py")),
        *(source(server).model_dump_json(by_alias=True, exclude_defaults=True), f"{server.url}/1"),
    )
    await asyncio.wait_for(waiting.wait(), 60)
    started = psutil.Process(worker.pid).children(recursive=True)
    assert len(started) > 3
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    async with asyncio.timeout(10):
        while any(alive(each) for each in started):
            await asyncio.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_chromium_that_is_not_there_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright")
    monkeypatch.setenv("TIDEMILL_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(NoBrowser, match=r"/nowhere/chromium.*apt-get install chromium") as caught:
        await Chromium.open()
    assert (caught.value.slug, caught.value.retry) == ("browser", False)


@pytest.mark.parametrize(
    ("complaints", "reason", "remedy"),
    [
        (("[7:1130/06:FATAL:zygote_host.cc:128] No usable sandbox!", "#0 0x55f"), "usable sandbox", "browser.yaml"),
        (("[1:FATAL:zygote_host.cc:2] Zygote process exited", "[1:ERROR:io.cc:5] cpu0"), "Zygote proc", "browser.yaml"),
        (("[7:1130/06:ERROR:dbus.cc:9] no bus", "error while loading libnss3.so"), "libnss3.so", "apt-get install"),
    ],
)
async def test_a_chromium_that_does_not_start_is_told_by_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: tuple[str, ...], reason: str, remedy: str
) -> None:
    pytest.importorskip("playwright")
    program = tmp_path / "chromium"
    program.write_text("".join(["#!/bin/sh\n", *(f"echo '{each}' >&2\n" for each in complaints), "exit 1\n"]))
    program.chmod(0o755)
    monkeypatch.setenv("TIDEMILL_CHROMIUM", str(program))
    with pytest.raises(NoBrowser) as caught:
        await Chromium.open()
    assert reason in str(caught.value)
    assert remedy in str(caught.value)


async def test_without_the_extra_the_remedy_names_it() -> None:
    code = "import sys; sys.modules['playwright'] = None; sys.modules['playwright.async_api'] = None; import asyncio; "
    code += "from tidemill.scraper import fetch; from tidemill.scraper.browser import Browser; "
    code += "from tidemill.scraper.chromium import Chromium; asyncio.run(Chromium.open())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, complaint = await process.communicate()
    assert b"NoBrowser" in complaint
    assert b"tidemill-scraper[browser]" in complaint


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("chromium", "google-chrome"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TIDEMILL_CHROMIUM", raising=False)
    yield tmp_path


async def test_the_environment_then_playwright_then_the_system_says_where_chromium_is(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_chromium(programs / "gone") == programs / "chromium"
    assert find_chromium(programs / "google-chrome") == programs / "google-chrome"
    monkeypatch.setenv("TIDEMILL_CHROMIUM", "/opt/chrome")
    assert find_chromium(programs / "google-chrome") == Path("/opt/chrome")
