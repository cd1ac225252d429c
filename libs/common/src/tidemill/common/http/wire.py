"""The HTTP client underneath: the only module that knows which one."""

import asyncio
import base64
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

import httpcore2
from httpx2 import (
    URL,
    AsyncClient,
    Cookies,
    Headers,
    HTTPError,
    InvalidURL,
    Limits,
    Request,
    Response,
    Timeout,
    create_ssl_context,
)

from tidemill.common.config.secrets import masked, remember_secret
from tidemill.common.http.errors import FetchFailure, NetworkFailure, ProxyFailure, TimedOut, UnfetchableUrl
from tidemill.common.http.guard import Guard, Resolve, host_port, resolve

__all__ = [
    "URL",
    "AsyncClient",
    "HTTPError",
    "Headers",
    "Jar",
    "Raw",
    "Response",
    "Wire",
    "bare_url",
    "create_ssl_context",
    "host_of",
    "open_client",
    "parse_proxy",
    "parse_url",
    "printable_url",
    "user_agent",
]

PORTS = {"http": 80, "https": 443}
CONNECTIONS = 200
COOKIES = 100
"""Kept for one source; a site that sets more begins anew."""
KEEP_SECONDS = 30.0
"""An idle connection is kept so long."""
WINDOW_BYTES = 2 << 20
"""What may come before it is read: the kernel would take 32 MB, beyond a cap of bandwidth, and lost in a kill."""
SOCKET_OPTIONS = (
    [(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, WINDOW_BYTES)] if hasattr(socket, "TCP_WINDOW_CLAMP") else []
)


def user_agent(contact: str = "", name: str | None = None) -> str:
    """How we introduce ourselves. `contact` is a URL or an address where a site's owner reaches the operator."""
    return (name or f"Tidemill/{_version()}") + (f" (+{contact})" if contact else "")


@cache
def _version() -> str:
    return version("tidemill-common")


def open_client(
    *,
    contact: str = "",
    timeout: timedelta = timedelta(seconds=10),
    connect_timeout: timedelta = timedelta(seconds=5),
    connections: int = 20,
) -> AsyncClient:
    """A client for our own servers, that must be closed (`async with`); it asks nobody for leave and goes anywhere, so
    other people's hosts are for PoliteClient. It follows no redirects: each one is a decision of the caller.
    `timeout` is for every single wait, not for the whole."""
    return AsyncClient(
        headers={"User-Agent": user_agent(contact)},
        timeout=Timeout(timeout.total_seconds(), connect=connect_timeout.total_seconds()),
        limits=Limits(max_connections=connections, max_keepalive_connections=connections),
        follow_redirects=False,
    )


@lru_cache(maxsize=512)  # Of a page's address it is asked again and again.
def parse_url(text: str, base: URL | None = None) -> URL:
    """A URL that can be asked for, in its normal form and without fragment. Raises UnfetchableUrl."""
    try:
        url = URL(text.strip()) if base is None else base.join(text.strip())
        url = url.copy_with(fragment=None) if "#" in text else url
    except (InvalidURL, ValueError, TypeError) as error:
        raise UnfetchableUrl(f"{masked(text)[:200]} is not a URL: {error}") from error
    if url.scheme not in PORTS:
        raise UnfetchableUrl(f"{printable_url(url)} is neither http nor https")
    if not url.host or "%" in url.raw_host.decode("ascii") or not 0 < (url.port or 1) < 65536:
        raise UnfetchableUrl(f"{printable_url(url)} names no host that can be asked")
    return url


def parse_proxy(text: str) -> URL:
    """The address of a proxy; from now on its password is masked wherever this process prints something. Raises
    UnfetchableUrl."""
    url = parse_url(text)
    if url.password:
        remember_secret(url.password)
        remember_secret(url.userinfo.decode("ascii").partition(":")[2])
        remember_secret(base64.b64encode(f"{url.username}:{url.password}".encode()).decode())
    return url


def bare_url(url: URL) -> str:
    """Without user and password."""
    return str(url.copy_with(userinfo=b"") if url.userinfo else url)


def printable_url(url: URL) -> str:
    """For people, logs and tables: no secret of anybody."""
    return masked(bare_url(url))


def host_of(url: URL | str) -> str:
    """What limits are kept by: the host, and its port where that is not the scheme's own."""
    if isinstance(url, str):
        url = parse_url(url)
    host, colon, port = url.netloc.decode("ascii").lower().partition("]" if url.netloc.startswith(b"[") else ":")
    return host.rstrip(".") + colon + port


class Jar:
    """Cookies that answers set, for the hosts and paths that they are for. In memory."""

    def __init__(self) -> None:
        self._cookies = Cookies()

    def take(self, url: URL, headers: Headers) -> None:
        """Keep what an answer from there sets."""
        self._cookies.extract_cookies(Response(200, headers=headers, request=Request("GET", bare_url(url))))
        if len(self._cookies) > COOKIES:
            self._cookies.clear()

    def header(self, url: URL) -> str:
        """What is told to this address: `a=1; b=2`; empty where there is nothing to tell."""
        request = Request("GET", bare_url(url))
        self._cookies.set_cookie_header(request)
        return str(request.headers.get("cookie", ""))


class Raw:
    """The head of an answer, and its body as it comes."""

    def __init__(self, status: int, headers: Headers, pieces: AsyncIterator[bytes], close: Callable[[], Any]) -> None:
        self.status = status
        self.headers = headers
        self._pieces = pieces
        self.close: Callable[[], Awaitable[None]] = close

    async def next_piece(self) -> bytes | None:
        """None at the end. Raises NetworkFailure, TimedOut."""
        with translated("while its body came"):
            return await anext(self._pieces, None)


class Wire:
    """Connections that a guard lets through, kept for the next request to the same host. Through a proxy where there is
    one: then the guard judges the host before each request, and the proxy itself may be anywhere."""

    def __init__(
        self,
        guard: Guard,
        ssl_context: ssl.SSLContext,
        proxy: URL | None = None,
        *,
        resolve: Resolve = resolve,
    ) -> None:
        self._judge = guard.judge if proxy is not None else None
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            proxy=None if proxy is None else _proxy(proxy, ssl_context),
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=KEEP_SECONDS,
            network_backend=_GuardedBackend(guard) if proxy is None else _ProxyBackend(proxy, resolve),
        )

    async def get(
        self,
        url: URL,
        headers: Iterable[tuple[str, str]],
        *,
        connect_seconds: float,
        silence_seconds: float,
        before: Callable[[], Awaitable[None]],
        after: Callable[[], Awaitable[None]],
    ) -> Raw:
        """Send one GET and read the head of the answer. `before` is awaited when the connection stands and nothing is
        sent yet, `after` when it is. Raises NetworkFailure, TimedOut, PrivateAddress, and what these two raise."""

        if self._judge is not None:
            await self._judge(url.raw_host.decode("ascii"), url.port or PORTS[url.scheme], seconds=connect_seconds)
        begun = False

        async def trace(event: str, told: dict[str, Any]) -> None:
            nonlocal begun
            if event.endswith("send_request_headers.started") and told["request"].method != b"CONNECT":
                begun = True
                await before()
            elif event.endswith("send_request_headers.complete") and begun:
                await after()

        return await self._send("GET", url, headers, None, connect_seconds, silence_seconds, trace=trace)

    async def post(
        self,
        url: URL,
        headers: Iterable[tuple[str, str]],
        content: bytes,
        *,
        connect_seconds: float,
        silence_seconds: float,
    ) -> Raw:
        """Send one POST and read the head of the answer. Raises NetworkFailure, TimedOut, PrivateAddress."""
        sized = [*headers, ("Content-Length", str(len(content)))]
        return await self._send("POST", url, sized, content, connect_seconds, silence_seconds)

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Iterable[tuple[str, str]],
        content: bytes | None,
        connect_seconds: float,
        silence_seconds: float,
        **extensions: Any,
    ) -> Raw:
        timeouts = {"connect": connect_seconds, "pool": connect_seconds} | dict.fromkeys(
            ("read", "write"), silence_seconds
        )
        request = httpcore2.Request(
            method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[(b"Host", url.netloc), *((name.encode(), value.encode()) for name, value in headers)],
            content=content,
            extensions={"timeout": timeouts, **extensions},
        )
        with translated("before it answered"):
            answer = await self._pool.handle_async_request(request)
        stream: Any = answer.stream
        return Raw(answer.status, Headers(answer.headers), aiter(stream), answer.aclose)

    async def close(self) -> None:
        await self._pool.aclose()


@contextmanager
def translated(when: str) -> Iterator[None]:
    """The client's errors as ours."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise TimedOut(f"silence {when}") from error
    except httpcore2.ConnectError as error:
        raise NetworkFailure(f"no connection: {error}") from error
    except httpcore2.ProxyError as error:
        # 5xx: it could not reach the host. Everything else is between it and us.
        kind = NetworkFailure if str(error).startswith("5") else ProxyFailure
        raise kind(f"the proxy does not connect: {error}") from error
    except httpcore2.LocalProtocolError as error:
        raise UnfetchableUrl(f"this cannot be asked for: {error}") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:  # TLS breaks with errors of its own.
        raise NetworkFailure(f"the connection broke {when}: {error}") from error


class _Stream(httpcore2.AsyncNetworkStream):
    """Says cheaply whether the other side has said something: the pool asks that of every idle connection with each
    request, and the client's own streams look their socket up anew each time, its addresses included."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._socket = stream.get_extra_info("socket")
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._socket.fileno() < 0 or bool(self._poll.poll(0))
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves names itself and connects to what was judged, so that a second look-up cannot say otherwise. The name
    stays that of the request, for TLS and `Host`."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                return await self._connect(await self._guard.addresses(host, port), port)
        except TimeoutError:
            raise TimedOut(f"no connection within {timeout:g} s") from None

    async def _connect(self, addresses: Sequence[str], port: int) -> httpcore2.AsyncNetworkStream:
        """The first that answers; the last is waited for as long as there is time."""
        for address in addresses[:-1]:
            try:
                async with asyncio.timeout(3):
                    return _Stream(await self._backend.connect_tcp(address, port, socket_options=SOCKET_OPTIONS))
            except (httpcore2.ConnectError, TimeoutError):
                continue
        return _Stream(await self._backend.connect_tcp(addresses[-1], port, socket_options=SOCKET_OPTIONS))


class _ProxyBackend(_GuardedBackend):
    """Connects to a proxy, wherever the operator has it."""

    def __init__(self, proxy: URL, resolve: Resolve) -> None:
        host, port = proxy.raw_host.decode("ascii"), proxy.port or PORTS[proxy.scheme]
        super().__init__(Guard([host_port(host, port)], resolve=resolve))
        self._name = host_port(host, port)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await super().connect_tcp(host, port, timeout)
        except (httpcore2.ConnectError, FetchFailure) as error:
            raise ProxyFailure(f"the proxy {self._name} cannot be reached: {error}") from error


def _proxy(url: URL, ssl_context: ssl.SSLContext) -> httpcore2.Proxy:
    return httpcore2.Proxy(
        httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
        auth=(url.username.encode(), url.password.encode()) if url.userinfo else None,
        ssl_context=ssl_context if url.scheme == "https" else None,
    )
