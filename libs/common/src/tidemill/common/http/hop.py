"""One request on the wire, from leave to account."""

import asyncio
import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Literal
from zoneinfo import ZoneInfo

from tidemill.common.config.politeness import Politeness
from tidemill.common.http.answer import Answer, Entry, Ledger, Patience, Purpose, Sizes, Usage
from tidemill.common.http.cookies import Cookies
from tidemill.common.http.errors import (
    BadStatus,
    Blocked,
    FetchFailure,
    NetworkFailure,
    ProxyFailure,
    RedirectLoop,
    TimedOut,
    UnfetchableUrl,
)
from tidemill.common.http.headers import parse_retry_after
from tidemill.common.http.limits import Permit
from tidemill.common.http.pacing import Outcome
from tidemill.common.http.robots import Decision
from tidemill.common.http.wire import URL, Raw, Wire, host_of, parse_url, printable_url, user_agent
from tidemill.common.telemetry.metrics import (
    HTTP_ANSWER_SECONDS,
    HTTP_BYTES,
    HTTP_REQUESTS,
    HTTP_SAVED_BYTES,
    Few,
    Metrics,
)

MOVED = (301, 302, 303, 307, 308)
HOSTS = Few(100)
"""Redirects lead anywhere, and a label must not have a value for everything."""

BLOCKED = (401, 403, 407, 429, 451)
PUSHBACK = (429, 503)
ABOUT_THE_REQUEST = {"accept", "accept-language", "if-none-match", "if-modified-since", "range", "if-range"}
"""Headers that go along to another host; all others may be secrets."""


@dataclass(frozen=True, slots=True)
class Asking:
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
    proxy: URL | None = None
    cookies: Cookies | None = None

    @property
    def user_agent(self) -> str:
        return user_agent(self.politeness.contact, self.politeness.user_agent)

    @property
    def agent(self) -> str:
        """The name to look for in robots.txt."""
        return self.user_agent.partition(" ")[0].partition("/")[0]

    def wait(self) -> timedelta:
        return timedelta(seconds=max(0.0, self.deadline - time.monotonic()))


class Hop:
    """One request, from leave to account."""

    def __init__(
        self, url: URL, asking: Asking, permit: Permit, entry: Entry, metrics: Metrics, ledger: Ledger
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
        if self._asking.cookies is not None and (told := self._asking.cookies.pairs(self._url)):
            headers.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in told.items()))
        for name, value in headers.items():
            # The client would say so too, with the value, which may be a secret.
            if any(character in value for character in "\r\n\0"):
                raise UnfetchableUrl(f"the header {name} has line ends in it, which none may have")
        return [(name.title(), value) for name, value in headers.items()]

    def _take(self, raw: Raw) -> None:
        now = time.monotonic()
        sent_at = now if self._sent_at is None else self._sent_at
        self._seconds = now - sent_at
        if self._asking.cookies is not None:
            self._asking.cookies.take(self._url, raw.headers)
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
        failure: FetchFailure
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._asking.proxy is not None:
            failure = ProxyFailure("the proxy does not take the user and password it is given: 407")
        else:
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
        unsure = self._answer is None and not isinstance(error, NetworkFailure | TimedOut)
        if unsure or isinstance(error, ProxyFailure):
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
        host = HOSTS.name(self._entry.host)
        self._metrics.of(
            HTTP_REQUESTS, source=asking.source, host=host, purpose=self._entry.purpose, outcome=outcome
        ).inc()
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


def entry_of(url: URL, asking: Asking, purpose: Purpose, decision: Decision | None = None) -> Entry:
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
    if not target.userinfo and origin_of(target) == origin_of(url):
        target = target.copy_with(userinfo=url.userinfo)
    if target == url or target in asked:
        raise RedirectLoop(f"{printable_url(url)} redirects to {printable_url(target)}, which came before")
    if len(asked) >= most:
        raise RedirectLoop(f"more than {most} redirects, the last to {printable_url(target)}")
    return target


def towards(target: URL, url: URL, asking: Asking) -> Asking:
    """What may be told to where a redirect leads."""
    if origin_of(target) == origin_of(url):
        return asking
    return replace(
        asking, headers={name: value for name, value in asking.headers.items() if name.lower() in ABOUT_THE_REQUEST}
    )


def origin_of(url: URL) -> str:
    return f"{url.scheme}://{host_of(url)}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(a status of its own)"


def _class(status: int | None) -> str:
    return "none" if status is None else "304" if status == 304 else f"{status // 100}xx"
