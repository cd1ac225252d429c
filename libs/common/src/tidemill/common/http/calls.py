"""One call of an address that the operator named: guarded, bounded, and never sent on elsewhere."""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from tidemill.common.http.errors import FetchFailure, TimedOut, UnfetchableUrl
from tidemill.common.http.guard import Guard, Resolve, resolve
from tidemill.common.http.headers import parse_retry_after
from tidemill.common.http.wire import URL, Raw, Wire, create_ssl_context, parse_url, user_agent

ANSWER_BYTES = 4096
SILENCE = timedelta(seconds=10)
BODY = timedelta(seconds=1)
"""Of the time limit, what is kept for reading what the answer says beside its status."""


@dataclass(frozen=True, slots=True)
class Called:
    status: int
    content: bytes
    """As much as is of interest to people."""
    retry_after: timedelta | None
    location: str = ""
    """Where the answer would send us on to."""


class Calls:
    """To be closed. Connections are kept for the next call of the same host."""

    def __init__(self, *, resolve: Resolve = resolve, setting: str = "allow_private") -> None:
        self._resolve = resolve
        self._setting = setting
        self._wires: dict[tuple[tuple[str, ...], Path | None], Wire] = {}

    async def close(self) -> None:
        for wire in self._wires.values():
            await wire.close()
        self._wires.clear()

    async def call(
        self,
        url: str,
        *,
        method: Literal["GET", "POST"] = "POST",
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        time_limit: timedelta = timedelta(seconds=30),
        allow_private: tuple[str, ...] = (),
        ca_file: Path | None = None,
    ) -> Called:
        """Whatever the status is. `time_limit` is for all of it; no redirect is followed. Raises FetchFailure."""
        parsed = parse_url(url)
        told = list(_headers(parsed, headers or {}))
        wire = await self._wire(tuple(sorted(allow_private)), ca_file)
        for_body = min(BODY, time_limit / 2)
        try:
            async with asyncio.timeout((time_limit - for_body).total_seconds()):
                raw = await _ask(wire, parsed, method, told, content, min(SILENCE, time_limit).total_seconds())
        except TimeoutError:
            raise TimedOut(f"no answer within {time_limit.total_seconds():g} s") from None
        try:
            date = raw.headers.get("date")
            retry_after = parse_retry_after(raw.headers.get("retry-after"), now=datetime.now(UTC), date=date)
            return Called(raw.status, await _some(raw, for_body), retry_after, raw.headers.get("location", ""))
        finally:
            await raw.close()

    async def _wire(self, allow_private: tuple[str, ...], ca_file: Path | None) -> Wire:
        known = self._wires.get((allow_private, ca_file))
        if known is not None:
            return known
        context = await asyncio.to_thread(_ssl_context, ca_file)  # 40 ms of CPU.
        guard = Guard(allow_private, resolve=self._resolve, setting=self._setting)
        return self._wires.setdefault((allow_private, ca_file), Wire(guard, context))


def _ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UnfetchableUrl(f"{ca_file} holds no certificates that can be read: {error}") from None


def _headers(url: URL, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    told = {"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "identity", **headers}
    if url.userinfo:
        login = f"{url.username}:{url.password}".encode()
        told["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    for name, value in told.items():
        if any(character in value for character in "\r\n\0"):
            raise UnfetchableUrl(f"the header {name} has line ends in it, which none may have")
    return list(told.items())


async def _ask(
    wire: Wire, url: URL, method: Literal["GET", "POST"], headers: list[tuple[str, str]], content: bytes, silence: float
) -> Raw:
    if method == "POST":
        return await wire.post(url, headers, content, connect_seconds=silence, silence_seconds=silence)
    return await wire.get(
        url, headers, connect_seconds=silence, silence_seconds=silence, before=_nothing, after=_nothing
    )


async def _some(raw: Raw, within: timedelta) -> bytes:
    """The beginning of the body; when it breaks off, or does not come, the status has been said all the same."""
    content = b""
    with suppress(FetchFailure, TimeoutError):
        async with asyncio.timeout(within.total_seconds()):
            while len(content) < ANSWER_BYTES and (piece := await raw.next_piece()) is not None:
                content += piece
    return content[:ANSWER_BYTES]


async def _nothing() -> None:
    return None
