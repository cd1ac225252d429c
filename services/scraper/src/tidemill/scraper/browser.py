"""Pages that only scripts fill: shown in a headless Chromium whose every request goes through our own client."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from tidemill.scraper.assets import Assets
from tidemill.scraper.chromium import BrowserFailure, Chromium

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

log = structlog.get_logger(__name__)

HTML = ("text/html", "application/xhtml+xml")
"""What a browser is needed for."""

CLOSE_SECONDS = 5.0
"""A context that does not close within this takes the browser with it."""


class Document(Protocol):
    """What a request brought."""

    @property
    def url(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    @property
    def cookies(self) -> tuple[str, ...]: ...


class Asking(Protocol):
    """What a page has in the place of a network. Raises FetchFailure and Held."""

    source: str
    interval: timedelta
    """From one request to the next."""
    max_size: int
    user_agent: str
    language: str
    """`fi-FI,fi;q=0.9`, or nothing."""

    def belongs(self, url: str) -> bool:
        """Whether an address is at a host of the source."""

    def cookies(self, url: str) -> Mapping[str, str]:
        """Known before."""

    async def ask(
        self, url: str, headers: Mapping[str, str], cookies: Mapping[str, str], wait: timedelta
    ) -> Document: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """By which CSS selectors a page shows that its scripts are done."""

    required: tuple[tuple[str, ...], ...] = ()
    """Of each required field, any of these."""
    entries: str | None = None
    """Or these, of a search."""

    @property
    def any(self) -> bool:
        return bool(self.required or self.entries)


@dataclass(frozen=True, slots=True)
class Shown:
    """A page as it is when its scripts are done."""

    url: str
    content: bytes
    """The document, as UTF-8."""


class Browser:
    """One for a process, to be closed. Chromium is started for the first page, anew when it was killed, and after so
    many pages or so long: it never gives all of its memory back."""

    def __init__(
        self, *, tabs: int = 2, pages: int = 200, age: timedelta = timedelta(hours=1), window: bool = False
    ) -> None:
        self._tabs = asyncio.Semaphore(tabs)
        self._pages = pages
        self._age = age
        self._window = window
        self._changed = asyncio.Condition()
        self._chromium: Chromium | None = None
        self._open = 0
        self._shown = 0
        self._started_at = 0.0
        self._worn = False
        self._assets = Assets[Document]()

    async def show(self, document: Document, asking: Asking, wanted: Wanted) -> Shown:
        """A document as it is when its scripts are done. Raises FetchFailure, Held."""
        async with self._tabs:
            try:
                return await self._show(document, asking, wanted)
            except _Ended:
                log.warning("the browser ended, and is started again", url=document.url)
            try:
                return await self._show(document, asking, wanted)
            except _Ended as ended:
                raise BrowserFailure(f"the browser ended twice while it showed {document.url}: {ended}") from None

    async def close(self) -> None:
        """Harmless when repeated. Pages that are shown meanwhile fail."""
        async with self._changed:
            await self._end()

    async def _show(self, document: Document, asking: Asking, wanted: Wanted) -> Shown:
        chromium = await self._begin()  # Raises NoBrowser before Playwright is imported here.
        from playwright.async_api import Error

        from tidemill.scraper.tab import Tab

        try:
            async with self._context(chromium, asking) as context:
                return await Tab(document, asking, wanted, self._assets).show(context)
        except Error as error:
            if await _has_ended(chromium):
                raise _Ended(str(error).partition("\n")[0]) from None
            raise BrowserFailure(f"{document.url} cannot be shown: {str(error).partition(chr(10))[0]}") from None
        finally:
            async with self._changed:
                self._open -= 1
                self._changed.notify_all()

    async def _begin(self) -> Chromium:
        """The browser, with a place taken in it."""
        async with self._changed:
            while True:
                if self._chromium is not None and self._chromium.runs and not self._is_worn():
                    break
                if self._open and self._chromium is not None and self._chromium.runs:
                    await self._changed.wait()  # Others finish their pages in it first.
                    continue
                await self._end()
                self._chromium = await Chromium.open(window=self._window)
                self._shown, self._worn, self._started_at = 0, False, time.monotonic()
            self._open += 1
            self._shown += 1
            return self._chromium

    def _is_worn(self) -> bool:
        old = self._shown > 0 and time.monotonic() - self._started_at >= self._age.total_seconds()
        return self._worn or old or self._shown >= self._pages

    async def _end(self) -> None:
        chromium, self._chromium = self._chromium, None
        if chromium is not None:
            await chromium.close()

    @asynccontextmanager
    async def _context(self, chromium: Chromium, asking: Asking) -> AsyncIterator["BrowserContext"]:
        """Each page has one of its own: nothing of it is left for the next."""
        context = await chromium.browser.new_context(
            user_agent=asking.user_agent,
            locale=asking.language.partition(",")[0].partition(";")[0].strip() or None,
            service_workers="block",
            accept_downloads=False,
        )
        try:
            yield context
        finally:
            await asyncio.shield(self._close(context))

    async def _close(self, context: "BrowserContext") -> None:
        from playwright.async_api import Error

        with suppress(Error):
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await context.close()
            except TimeoutError:
                self._worn = True


async def _has_ended(chromium: Chromium) -> bool:
    """Whether an error came of that, which may be noticed a moment later."""
    for _ in range(20):
        if not chromium.runs:
            return True
        await asyncio.sleep(0.02)
    return False


class _Ended(Exception):
    """The browser is no more."""
