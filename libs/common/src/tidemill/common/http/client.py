"""One polite GET: allowed by robots.txt, in its turn, to the public internet alone, and bounded."""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Literal, Self
from zoneinfo import ZoneInfo

from tidemill.common.cache import Cache
from tidemill.common.config.politeness import Politeness
from tidemill.common.http.answer import PATIENCE, SIZES, Answer, Entry, Ledger, Patience, Purpose, Sizes, Usage
from tidemill.common.http.decoding import ACCEPTED
from tidemill.common.http.errors import (
    BadStatus,
    Blocked,
    FetchFailure,
    Held,
    NetworkFailure,
    RedirectLoop,
    RobotsDisallow,
    TimedOut,
)
from tidemill.common.http.guard import Guard, Resolve, resolve
from tidemill.common.http.headers import parse_retry_after
from tidemill.common.http.limits import HostLimits, Permit
from tidemill.common.http.pacing import Outcome, terms_of
from tidemill.common.http.robots import REDIRECTS as ROBOTS_REDIRECTS
from tidemill.common.http.robots import SIZE_BYTES, Decision, Robots, Rules
from tidemill.common.http.wire import URL, Raw, Wire, bare_url, host_of, parse_url, printable_url, user_agent
from tidemill.common.telemetry.metrics import (
    HTTP_ANSWER_SECONDS,
    HTTP_BYTES,
    HTTP_REQUESTS,
    HTTP_SAVED_BYTES,
    ROBOTS_DECISIONS,
    Metrics,
)

REDIRECTS = 10
MOVED = (301, 302, 303, 307, 308)
BLOCKED = (401, 403, 407, 429, 451)
PUSHBACK = (429, 503)
ABOUT_THE_REQUEST = {"accept", "accept-language", "if-none-match", "if-modified-since", "range", "if-range"}
"""Headers that go along to another host; all others may be secrets."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """What one call of `open` asks for, wherever redirects lead."""

    source: str
    politeness: Politeness
    headers: Mapping[str, str]
    sizes: Sizes
    patience: Patience
    encodings: str
    deadline: float
    """For leave to ask, by the monotonic clock."""
    known_bytes: int
    usage: Usage

    @property
    def user_agent(self) -> str:
        return user_agent(self.politeness.contact, self.politeness.user_agent)

    @property
    def agent(self) -> str:
        """The name to look for in robots.txt."""
        return self.user_agent.partition(" ")[0].partition("/")[0]

    def wait(self) -> timedelta:
        return timedelta(seconds=max(0.0, self.deadline - time.monotonic()))


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
        self._ssl_context = ssl_context
        self._wires: dict[tuple[str, ...], Wire] = {}

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
    ) -> AsyncIterator[Answer]:
        """An answer of 2xx, 304 or 416; every other one is raised as BadStatus or Blocked, after redirects.

        `wait` is for leave to ask, over all redirects; `identity` asks for the bytes as they are, uncompressed;
        `known_bytes` are what a 304 saves. Raises FetchFailure and Held; the body raises while it is read.
        """
        asking = _Asking(
            source,
            politeness,
            headers or {},
            sizes,
            patience,
            "identity" if identity else ACCEPTED,
            time.monotonic() + wait.total_seconds(),
            known_bytes,
            Usage() if usage is None else usage,
        )
        hop = await self._follow(parse_url(url), asking)
        try:
            yield hop.answer
        except asyncio.CancelledError as cancelled:
            await hop.close(cancelled)
            raise
        finally:
            await hop.close()

    async def _follow(self, url: URL, asking: _Asking) -> "_Hop":
        """The first answer that is no redirect."""
        asked: list[URL] = []
        purpose: Purpose = "page"
        while True:
            decision, crawl_delay = await self._leave(url, asking)
            hop = await self._ask(url, asking, purpose, decision=decision, crawl_delay=crawl_delay)
            target = await hop.redirect(REDIRECTS, asked)
            if target is None:
                hop.answer.redirects = tuple(printable_url(each) for each in asked)
                await hop.judge()
                return hop
            asked.append(url)
            asking = _towards(target, url, asking)
            url, purpose = target, "redirect"

    async def _leave(self, url: URL, asking: _Asking) -> tuple[Decision, float | None]:
        """What robots.txt says; raises RobotsDisallow and Held."""
        if not asking.politeness.obey_robots:
            return "ignored", None
        origin = _origin(url)
        try:
            rules: Rules = await self._robots.rules(origin, lambda: self._fetch_robots(origin, asking))
        except Held as held:
            if held.reason == "robots_unreachable":
                self._decide(url, asking, "unreachable")
            raise
        if not rules.allows(bare_url(url), asking.agent):
            self._decide(url, asking, "disallowed")
            raise RobotsDisallow(f"{origin}/robots.txt does not let {asking.agent} ask for {url.path}")
        self._metrics.of(ROBOTS_DECISIONS, source=asking.source, decision="allowed").inc()
        return "allowed", rules.crawl_delay(asking.agent)

    def _decide(self, url: URL, asking: _Asking, decision: Decision) -> None:
        """Account for a decision that prevents a request."""
        self._metrics.of(ROBOTS_DECISIONS, source=asking.source, decision=decision).inc()
        entry = _entry(url, asking, "page")
        self._ledger(replace(entry, requests=0, robots=decision, failure="robots"))

    async def _fetch_robots(self, origin: str, asking: _Asking) -> str:
        asking = replace(
            asking,
            headers={},
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
            asking = _towards(target, url, asking)
            url = target

    async def _ask(
        self,
        url: URL,
        asking: _Asking,
        purpose: Purpose,
        *,
        decision: Decision | None,
        crawl_delay: float | None = None,
    ) -> "_Hop":
        """One request on the wire, in its turn."""
        terms = terms_of(asking.source, asking.politeness, crawl_delay)
        permit = await self._limits.acquire(host_of(url), terms, wait=asking.wait())
        hop = _Hop(url, asking, permit, _entry(url, asking, purpose, decision), self._metrics, self._ledger)
        try:
            await hop.send(self._wire(asking.politeness))
        except BaseException as error:
            await hop.close(error)
            raise
        return hop

    def _wire(self, politeness: Politeness) -> Wire:
        """Sources that may go to other private hosts share no connections."""
        allowed = tuple(sorted(politeness.allow_private))
        if allowed not in self._wires:
            self._wires[allowed] = Wire(Guard(allowed, resolve=self._resolve), ssl_context=self._ssl_context)
        return self._wires[allowed]


class _Hop:
    """One request, from leave to account."""

    def __init__(
        self, url: URL, asking: _Asking, permit: Permit, entry: Entry, metrics: Metrics, ledger: Ledger
    ) -> None:
        self._url = url
        self._asking = asking
        self._permit = permit
        self._entry = entry
        self._metrics = metrics
        self._ledger = ledger
        self._sent_at: float | None = None
        self._seconds: float | None = None
        self._retry_after: timedelta | None = None
        self._answer: Answer | None = None
        self._accounted = False

    @property
    def answer(self) -> Answer:
        """What `send` brought."""
        assert self._answer is not None
        return self._answer

    async def send(self, wire: Wire) -> None:
        """Send it and read the head of the answer."""
        patience = self._asking.patience
        seconds = patience.answer.total_seconds()
        try:
            async with asyncio.timeout(None) as limit:

                async def before() -> None:
                    await self._permit.start()
                    self._sent_at = time.monotonic()
                    self._asking.usage.requests += 1
                    limit.reschedule(asyncio.get_running_loop().time() + seconds)

                raw = await wire.get(
                    self._url,
                    self._headers(),
                    connect_seconds=patience.connect.total_seconds(),
                    silence_seconds=max(seconds, patience.silence.total_seconds()),
                    before=before,
                    after=self._permit.sent,
                )
        except TimeoutError:
            raise TimedOut(f"{printable_url(self._url)} did not answer within {seconds:g} s") from None
        self._take(raw)

    def _headers(self) -> list[tuple[str, str]]:
        headers = {
            "user-agent": self._asking.user_agent,
            "accept": "*/*",
            "accept-encoding": self._asking.encodings,
        } | {name.lower(): value for name, value in self._asking.headers.items()}
        if self._url.userinfo:
            login = f"{self._url.username}:{self._url.password}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(login).decode()}"
        return [(name.title(), value) for name, value in headers.items()]

    def _take(self, raw: Raw) -> None:
        now = time.monotonic()
        sent_at = now if self._sent_at is None else self._sent_at
        self._seconds = now - sent_at
        self._metrics.of(HTTP_ANSWER_SECONDS).observe(self._seconds)
        if raw.status >= 400:
            self._retry_after = parse_retry_after(
                raw.headers.get("retry-after"), now=datetime.now(UTC), date=raw.headers.get("date")
            )
        self._answer = Answer(
            self._entry.url,
            raw,
            sizes=self._asking.sizes,
            patience=self._asking.patience,
            usage=self._asking.usage,
            sent_at=sent_at,
        )

    async def redirect(self, most: int, asked: list[URL]) -> URL | None:
        """Where the answer leads, if elsewhere; then it is done with. Raises RedirectLoop, UnfetchableUrl."""
        location = self.answer.headers.get("location")
        if self.answer.status not in MOVED or location is None:
            return None
        try:
            target = _target(location, self._url, most, asked)
        except FetchFailure as failure:
            await self.close(failure)
            raise
        await self.close()
        return target

    async def judge(self) -> None:
        """Raise what is no answer to the question."""
        status = self.answer.status
        if 200 <= status < 300 or status in (304, 416):
            return
        after = self._left_alone_until()
        kind = Blocked if status in BLOCKED else BadStatus
        failure = kind(status, f"{self.answer.url} answered {status} {_phrase(status)}", after=after)
        await self.close(failure)
        raise failure

    async def close(self, error: BaseException | None = None) -> None:
        """Let go of the connection, give the place back, and account for it. Harmless when repeated."""
        if self._accounted:
            return
        self._accounted = True
        try:
            if self._answer is not None:
                await self._answer.close(at_once=isinstance(error, asyncio.CancelledError))
        finally:
            error = error or (self._answer.failure if self._answer else None)
            await self._permit.finish(self._outcome(error))
            self._account(error)

    def _outcome(self, error: BaseException | None) -> Outcome:
        if self._answer is None and not isinstance(error, NetworkFailure | TimedOut):
            return Outcome("unknown")
        if self._answer is None or isinstance(error, NetworkFailure | TimedOut):
            return Outcome("failure")
        status = self._answer.status
        retry_after = None if self._retry_after is None else self._retry_after.total_seconds()
        if status in PUSHBACK:
            return Outcome("pushback", self._seconds, retry_after)
        # One page may be forbidden; many in a row are a wall, and there is no use in running against it.
        kind: Literal["failure", "well"] = "failure" if status >= 500 or status == 403 else "well"
        return Outcome(kind, self._seconds, retry_after)

    def _account(self, error: BaseException | None) -> None:
        if self._sent_at is None and not isinstance(error, FetchFailure):
            return
        answer, asking = self._answer, self._asking
        status = answer.status if answer else None
        failure = None if error is None else error.slug if isinstance(error, FetchFailure) else "cancelled"
        received = answer.bytes_received if answer else 0
        saved = asking.known_bytes if status == 304 else 0
        outcome = failure if failure and failure not in ("http", "blocked") else _class(status)
        self._metrics.of(HTTP_REQUESTS, source=asking.source, purpose=self._entry.purpose, outcome=outcome).inc()
        self._metrics.of(HTTP_BYTES, source=asking.source).inc(received)
        self._metrics.of(HTTP_SAVED_BYTES, source=asking.source).inc(saved)
        self._ledger(
            replace(
                self._entry,
                requests=int(self._sent_at is not None),
                status=status,
                bytes_received=received,
                bytes_saved=saved,
                seconds=0.0 if self._sent_at is None else time.monotonic() - self._sent_at,
                retry_after=self._left_alone_until(),
                failure=failure,
            )
        )

    def _left_alone_until(self) -> datetime | None:
        return None if self._retry_after is None else datetime.now(UTC) + self._retry_after


def _entry(url: URL, asking: _Asking, purpose: Purpose, decision: Decision | None = None) -> Entry:
    now = datetime.now(UTC)
    return Entry(
        source=asking.source,
        host=host_of(url),
        at=now,
        day=now.astimezone(ZoneInfo(asking.politeness.zone)).date(),
        url=printable_url(url),
        purpose=purpose,
        robots=decision,
    )


def _target(location: str, url: URL, most: int, asked: list[URL]) -> URL:
    target = parse_url(location, url)
    if not target.userinfo and _origin(target) == _origin(url):
        target = target.copy_with(userinfo=url.userinfo)
    if target == url or target in asked:
        raise RedirectLoop(f"{printable_url(url)} redirects to {printable_url(target)}, which came before")
    if len(asked) >= most:
        raise RedirectLoop(f"more than {most} redirects, the last to {printable_url(target)}")
    return target


def _towards(target: URL, url: URL, asking: _Asking) -> _Asking:
    """What may be told to where a redirect leads."""
    if _origin(target) == _origin(url):
        return asking
    return replace(
        asking, headers={name: value for name, value in asking.headers.items() if name.lower() in ABOUT_THE_REQUEST}
    )


def _origin(url: URL) -> str:
    return f"{url.scheme}://{host_of(url)}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(a status of its own)"


def _class(status: int | None) -> str:
    return "none" if status is None else "304" if status == 304 else f"{status // 100}xx"
