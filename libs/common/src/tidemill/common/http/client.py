"""One polite GET: allowed by robots.txt, in its turn, to the public internet alone, and bounded."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Self

from tidemill.common.cache import Cache
from tidemill.common.config.politeness import Politeness
from tidemill.common.http.answer import PATIENCE, SIZES, Answer, Ledger, Patience, Purpose, Sizes, Usage
from tidemill.common.http.cookies import Cookies
from tidemill.common.http.decoding import ACCEPTED
from tidemill.common.http.errors import Held, RobotsDisallow
from tidemill.common.http.guard import Guard, Resolve, resolve
from tidemill.common.http.hop import Asking, Hop, entry_of, origin_of, towards
from tidemill.common.http.limits import HostLimits
from tidemill.common.http.pacing import terms_of
from tidemill.common.http.robots import REDIRECTS as ROBOTS_REDIRECTS
from tidemill.common.http.robots import SIZE_BYTES, Decision, Robots, Rules
from tidemill.common.http.wire import (
    URL,
    Wire,
    bare_url,
    create_ssl_context,
    host_of,
    parse_proxy,
    parse_url,
    printable_url,
)
from tidemill.common.telemetry.metrics import ROBOTS_DECISIONS, Metrics

REDIRECTS = 10


class PoliteClient:
    """To be closed. One for a process: connections, and what is known of hosts, are shared by all sources."""

    def __init__(
        self,
        limits: HostLimits,
        cache: Cache,
        metrics: Metrics,
        *,
        ledger: Ledger = lambda entry: None,
        resolve: Resolve = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._robots = Robots(cache)
        self._metrics = metrics
        self._ledger = ledger
        self._resolve = resolve
        self._ssl_context = ssl_context or create_ssl_context()  # 40 ms of CPU, so once.
        self._wires: dict[tuple[tuple[str, ...], URL | None], Wire] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for wire in self._wires.values():
            await wire.close()
        self._wires.clear()

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        source: str,
        politeness: Politeness,
        headers: Mapping[str, str] | None = None,
        sizes: Sizes = SIZES,
        patience: Patience = PATIENCE,
        identity: bool = False,
        wait: timedelta = timedelta(seconds=30),
        known_bytes: int = 0,
        usage: Usage | None = None,
        proxy: str | None = None,
        cookies: Cookies | None = None,
    ) -> AsyncIterator[Answer]:
        """An answer of 2xx, 304 or 416; every other one is raised as BadStatus or Blocked, after redirects.

        `wait` is for leave to ask, over all redirects; `identity` asks for the bytes as they are, uncompressed;
        `known_bytes` are what a 304 saves; `proxy` is the address of one, with its password, over which all of it goes.
        Raises FetchFailure and Held; the body raises while it is read.
        """
        asking = Asking(
            source,
            politeness,
            headers or {},
            sizes,
            patience,
            "identity" if identity else ACCEPTED,
            time.monotonic() + wait.total_seconds(),
            known_bytes,
            Usage() if usage is None else usage,
            None if proxy is None else parse_proxy(proxy),
            cookies,
        )
        hop = await self._follow(parse_url(url), asking)
        try:
            yield hop.answer
        except asyncio.CancelledError as cancelled:
            await hop.close(cancelled)
            raise
        finally:
            await hop.close()

    async def allowed(
        self,
        url: str,
        *,
        source: str,
        politeness: Politeness,
        wait: timedelta = timedelta(seconds=30),
        usage: Usage | None = None,
        proxy: str | None = None,
    ) -> bool:
        """Whether robots.txt lets us ask for this, which is read once a day; a no is accounted for as if it had been
        asked. Raises Held while the host does not say, and FetchFailure where it cannot be asked at all."""
        asking = Asking(
            source,
            politeness,
            {},
            SIZES,
            PATIENCE,
            ACCEPTED,
            time.monotonic() + wait.total_seconds(),
            0,
            Usage() if usage is None else usage,
            None if proxy is None else parse_proxy(proxy),
        )
        try:
            await self._leave(parse_url(url), asking, asks=False)
        except RobotsDisallow:
            return False
        return True

    async def _follow(self, url: URL, asking: Asking) -> Hop:
        """The first answer that is no redirect."""
        asked: list[URL] = []
        purpose: Purpose = "page"
        while True:
            decision, crawl_delay = await self._leave(url, asking)
            hop = await self._ask(url, asking, purpose, decision=decision, crawl_delay=crawl_delay)
            target = await hop.redirect(REDIRECTS, asked)
            if target is None:
                hop.answer.address = bare_url(url)
                hop.answer.redirects = tuple(printable_url(each) for each in asked)
                await hop.judge()
                return hop
            asked.append(url)
            asking = towards(target, url, asking)
            url, purpose = target, "redirect"

    async def _leave(self, url: URL, asking: Asking, *, asks: bool = True) -> tuple[Decision, float | None]:
        """What robots.txt says; raises RobotsDisallow and Held."""
        if not asking.politeness.obey_robots:
            return "ignored", None
        origin = origin_of(url)
        try:
            rules: Rules = await self._robots.rules(origin, lambda: self._fetch_robots(origin, asking))
        except Held as held:
            if held.reason == "robots_unreachable":
                self._decide(url, asking, "unreachable")
            raise
        if not rules.allows(bare_url(url), asking.agent):
            self._decide(url, asking, "disallowed")
            raise RobotsDisallow(f"{origin}/robots.txt does not let {asking.agent} ask for {url.path}")
        if asks:
            self._metrics.of(ROBOTS_DECISIONS, source=asking.source, decision="allowed").inc()
        return "allowed", rules.crawl_delay(asking.agent)

    def _decide(self, url: URL, asking: Asking, decision: Decision) -> None:
        """Account for a decision that prevents a request."""
        self._metrics.of(ROBOTS_DECISIONS, source=asking.source, decision=decision).inc()
        entry = entry_of(url, asking, "page")
        self._ledger(replace(entry, requests=0, robots=decision, failure="robots"))

    async def _fetch_robots(self, origin: str, asking: Asking) -> str:
        asking = replace(
            asking,
            headers={},
            cookies=None,
            encodings=ACCEPTED,
            sizes=Sizes(received=4 * SIZE_BYTES, decoded=4 * SIZE_BYTES),
            patience=replace(asking.patience, total=min(asking.patience.total, timedelta(minutes=1))),
            known_bytes=0,
        )
        url = parse_url(f"{origin}/robots.txt")
        asked: list[URL] = []
        while True:
            hop = await self._ask(url, asking, "robots", decision=None)
            try:
                target = await hop.redirect(ROBOTS_REDIRECTS, asked)
                if target is None:
                    await hop.judge()
                    content = bytearray()
                    async for chunk in hop.answer.chunks():
                        content += chunk
                        if len(content) >= SIZE_BYTES:
                            break
                    return content[:SIZE_BYTES].decode("utf-8-sig", errors="replace")
            finally:
                await hop.close()
            asked.append(url)
            asking = towards(target, url, asking)
            url = target

    async def _ask(
        self,
        url: URL,
        asking: Asking,
        purpose: Purpose,
        *,
        decision: Decision | None,
        crawl_delay: float | None = None,
    ) -> Hop:
        """One request on the wire, in its turn."""
        terms = terms_of(asking.source, asking.politeness, crawl_delay)
        permit = await self._limits.acquire(host_of(url), terms, wait=asking.wait())
        hop = Hop(url, asking, permit, entry_of(url, asking, purpose, decision), self._metrics, self._ledger)
        try:
            await hop.send(self._wire(asking.politeness, asking.proxy))
        except BaseException as error:
            await hop.close(error)
            raise
        return hop

    def _wire(self, politeness: Politeness, proxy: URL | None) -> Wire:
        """Sources that may go to other private hosts, or over another proxy, share no connections."""
        allowed = tuple(sorted(politeness.allow_private))
        if (allowed, proxy) not in self._wires:
            guard = Guard(allowed, resolve=self._resolve)
            self._wires[allowed, proxy] = Wire(guard, self._ssl_context, proxy, resolve=self._resolve)
        return self._wires[allowed, proxy]
