"""One page in the browser: everything that it asks for is answered by us, until its scripts are done."""

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import structlog
from playwright.async_api import BrowserContext, Error, Page, Request, Route, WebSocketRoute

from tidemill.common.http import BadStatus, FetchFailure, Held, TimedOut, TooLarge
from tidemill.scraper.assets import Assets
from tidemill.scraper.browser import Asking, Document, Shown, Wanted
from tidemill.scraper.chromium import BrowserFailure

log = structlog.get_logger(__name__)

STILL = 0.5
"""Seconds without a request after which a page's scripts count as done."""
SETTLE = 3.0
"""Seconds that are waited beyond that for what a page should show."""
BUSY = timedelta(seconds=60)
"""How long a page may take, and the turns of its requests come on top."""
TURNS = 30
LOOK_SECONDS = 0.05
ANSWER_SECONDS = 10.0
"""A page whose scripts leave no room for a question for so long is given up."""
REQUESTS = 100
REPEATS = 3
"""How often a page may ask for the same: one that polls is cut off."""
DOCUMENTS = 5
"""How often a page may go elsewhere by itself."""

ANSWERED = {"document", "script", "xhr", "fetch"}
"""Kinds of requests that reach a host. Styles are answered with nothing: no script waits for them in vain."""
OURS = {"host", "connection", "user-agent", "accept-encoding", "cookie", "content-length", "upgrade-insecure-requests"}
HOP_BY_HOP = {
    *("content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade"),
    *("link", "alt-svc", "nel", "report-to", "reporting-endpoints", "strict-transport-security", "refresh"),
}
"""Of an answer's head: about its bytes on the wire, or what would have the browser ask for more."""
_ON_ITS_WAY = ("Execution context was destroyed", "Cannot find context", "navigating")
"""What the browser says of a page that goes to another document."""
_STATE = """([required, entries]) => {
  const has = (css) => { try { return document.querySelector(css) !== null } catch { return true } };
  const all = required.length > 0 && required.every((each) => each.some(has));
  return { ready: document.readyState !== "loading", there: all || (entries !== null && has(entries)) };
}"""


class Tab:
    """One page, in a context of its own. Closed by whoever closes the context."""

    def __init__(self, document: Document, asking: Asking, wanted: Wanted, assets: Assets[Document]) -> None:
        self._document = document
        self._asking = asking
        self._wanted = wanted
        self._assets = assets
        self._fetched: dict[str, Document] = {}
        """Documents that were asked for before the browser did."""
        self._begun = False
        self._documents = 0
        self._asked: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._busy: set[asyncio.Task[None]] = set()
        self._quiet_since = time.monotonic()
        self._failure: FetchFailure | None = None
        """Of a request to a host of the source that may go better next time."""
        self._end: FetchFailure | Held | None = None
        self._began = time.monotonic()
        self._deadline = self._began + BUSY.total_seconds() + TURNS * asking.interval.total_seconds()

    async def show(self, context: BrowserContext) -> Shown:
        """Raises FetchFailure, Held, and Error where the browser ended."""
        self._context = context
        try:
            await context.route("**/*", self._route)
            await context.route_web_socket("**/*", _refuse_web_socket)
            await self._give_cookies(context)
            self._page = page = await context.new_page()
            context.on("page", _close_page)
            page.on("crash", lambda _: self._ended(BrowserFailure(f"{self._document.url} was too much for a tab")))
            await self._go(page)
            there = await self._settled(page)
            if self._failure is not None and not there:
                raise self._failure
            return await self._read(page)
        except Error as error:
            if self._end is not None:
                raise self._end from None
            raise error
        finally:
            for task in self._busy:
                task.cancel()
            if self._busy:
                await asyncio.wait(self._busy)
            if self._refused:
                log.debug("requests of a page were not made", url=self._document.url, kinds=dict(self._refused))

    async def _give_cookies(self, context: BrowserContext) -> None:
        url = self._document.url
        pairs = self._asking.cookies(url)
        if pairs:
            place = url.split("#")[0].split("?")[0]
            origin = "/".join(place.split("/")[:3]) + "/"
            await context.add_cookies([{"name": name, "value": value, "url": origin} for name, value in pairs.items()])

    async def _go(self, page: Page) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await page.goto(self._document.url, wait_until="commit", timeout=0)
        except TimeoutError:
            raise TimedOut(f"{self._document.url} does not begin to be shown") from None
        except Error as error:
            if "interrupted by another navigation" not in str(error):
                raise

    async def _settled(self, page: Page) -> bool:
        """Wait until the page is still; whether it shows what is wanted. Raises FetchFailure, Held."""
        while True:
            if self._end is not None:
                raise self._end
            now = time.monotonic()
            quiet = now - self._quiet_since if not self._busy else 0.0
            if quiet >= STILL or now > self._deadline:
                ready, there = await self._state(page)
                if ready and quiet >= STILL and (there or quiet >= SETTLE or not self._wanted.any):
                    return there or not self._wanted.any
                if now > self._deadline:
                    if there:
                        return True
                    raise TimedOut(
                        f"{self._document.url} is not still within {now - self._began:.0f} s; "
                        f"it made {sum(self._asked.values())} requests"
                    )
            await asyncio.sleep(LOOK_SECONDS)

    async def _state(self, page: Page) -> tuple[bool, bool]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                told = await page.evaluate(_STATE, [self._wanted.required, self._wanted.entries])
        except TimeoutError:
            raise TimedOut(f"the scripts of {self._document.url} do not come to an end") from None
        except Error as error:
            if self._end is None and any(words in str(error) for words in _ON_ITS_WAY):
                return False, False
            raise
        return told["ready"], told["there"]

    async def _read(self, page: Page) -> Shown:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                size = await page.evaluate("document.documentElement.outerHTML.length")
                if size > self._asking.max_size:
                    raise TooLarge(f"its scripts made {size} characters of it, and {self._asking.max_size} are allowed")
                content = (await page.content()).encode("utf-8", "replace")
        except TimeoutError:
            raise TimedOut(f"the scripts of {self._document.url} do not come to an end") from None
        return Shown(self._document.url, content)

    def _ended(self, failure: FetchFailure | Held) -> None:
        self._end = self._end or failure

    def _route(self, route: Route) -> None:
        task = asyncio.create_task(self._handle(route))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _handle(self, route: Route) -> None:
        with suppress(Error):  # The page went away meanwhile.
            reason = self._refusal(route.request)
            if reason is not None:
                self._refused[reason] += 1
                await route.abort("blockedbyclient")
                return
            try:
                await self._give(route)
            except asyncio.CancelledError:
                with suppress(Error):
                    await route.abort("failed")
                raise
            finally:
                self._quiet_since = time.monotonic()

    async def _give(self, route: Route) -> None:
        match route.request.resource_type:
            case "stylesheet":
                await route.fulfill(status=200, content_type="text/css", body="")
            case "document":
                await self._give_document(route)
            case _:
                await self._give_part(route)

    def _refusal(self, request: Request) -> str | None:
        """Why a request of a page is not made."""
        kind = request.resource_type
        if kind == "stylesheet":
            return None
        if kind not in ANSWERED or request.method != "GET":
            return kind if request.method == "GET" else request.method
        if kind == "document":
            if request.frame.parent_frame is not None:
                return "frame"
            self._documents += 1
            return "documents" if self._documents > DOCUMENTS else None
        self._asked[request.url] += 1
        if self._asked[request.url] > REPEATS:
            return "repeated"
        return "too many" if sum(self._asked.values()) > REQUESTS else None

    async def _give_document(self, route: Route) -> None:
        request = route.request
        if not self._begun:
            self._begun = True
            await _give(route, self._document)
            return
        found = self._fetched.pop(request.url, None)
        if found is None:
            try:
                found = await self._ask(request)
            except (FetchFailure, Held) as failure:
                self._ended(failure)
                await route.abort("failed")
                return
            if found.url != request.url:  # A redirect, which a browser wants to see.
                self._fetched[found.url] = found
                target = json.dumps(found.url).replace("<", "\\u003c")
                await route.fulfill(content_type="text/html", body=f"<script>location.replace({target})</script>")
                return
        self._document = found
        await _give(route, found)

    async def _give_part(self, route: Route) -> None:
        request = route.request
        try:
            if request.resource_type == "script":
                found = await self._assets.get(self._asking.source, request.url, lambda: self._ask(request))
            else:
                found = await self._ask(request)
        except BadStatus as failure:
            self._note(request, failure)
            await route.fulfill(status=failure.status, body="", headers=_open_to(request))
        except FetchFailure as failure:
            self._note(request, failure)
            await route.abort("failed")
        except Held as held:
            if self._asking.belongs(request.url):
                self._ended(held)
            await route.abort("failed")
        else:
            await _give(route, found)

    def _note(self, request: Request, failure: FetchFailure) -> None:
        if failure.retry and self._asking.belongs(request.url):
            self._failure = self._failure or failure

    async def _ask(self, request: Request) -> Document:
        own = self._asking.belongs(request.url)
        cookies = await self._context.cookies(request.url) if own else []
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in OURS and not name.startswith((":", "sec-", "if-"))
        }
        wait = timedelta(seconds=max(1.0, self._deadline - time.monotonic()))
        told = {cookie["name"]: cookie["value"] for cookie in cookies if "name" in cookie and "value" in cookie}
        return await self._asking.ask(request.url, headers, told, wait)


async def _give(route: Route, found: Document) -> None:
    headers = {name: value for name, value in found.headers.items() if name not in HOP_BY_HOP}
    if found.cookies:
        headers["set-cookie"] = "\n".join(found.cookies)
    await route.fulfill(status=found.status, headers=headers, body=found.content)


def _open_to(request: Request) -> dict[str, str]:
    """So that a script sees the status of an answer from another host."""
    origin = request.headers.get("origin")
    return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"} if origin else {}


async def _refuse_web_socket(socket: WebSocketRoute) -> None:
    await socket.close()


async def _close_page(page: Page) -> None:
    with suppress(Error):
        await page.close()
