"""The HTTP client: the only module that knows which one."""

from datetime import timedelta
from importlib.metadata import version

from httpx2 import AsyncClient, HTTPError, Limits, Response, Timeout

__all__ = ["AsyncClient", "HTTPError", "Response", "open_client", "user_agent"]


def user_agent(contact: str = "") -> str:
    """How we introduce ourselves. `contact` is a URL or an address where a site's owner reaches the operator."""
    return f"Tidemill/{version('tidemill-common')}" + (f" (+{contact})" if contact else "")


def open_client(
    *,
    contact: str = "",
    timeout: timedelta = timedelta(seconds=10),
    connect_timeout: timedelta = timedelta(seconds=5),
    connections: int = 20,
) -> AsyncClient:
    """A client that must be closed (`async with`). It follows no redirects: each one is a decision of the caller.
    `timeout` is for every single wait, not for the whole."""
    return AsyncClient(
        headers={"User-Agent": user_agent(contact)},
        timeout=Timeout(timeout.total_seconds(), connect=connect_timeout.total_seconds()),
        limits=Limits(max_connections=connections, max_keepalive_connections=connections),
        follow_redirects=False,
    )
