"""Requests to other people's hosts: polite, bounded, and only to the public internet."""

from tidemill.common.http.errors import (
    BadStatus,
    Blocked,
    ChecksumMismatch,
    FetchFailure,
    Held,
    NetworkFailure,
    NotWhatItShouldBe,
    PrivateAddress,
    RedirectLoop,
    RobotsDisallow,
    TimedOut,
    TooLarge,
    Truncated,
    UnfetchableUrl,
)
from tidemill.common.http.wire import AsyncClient, HTTPError, Response, open_client, user_agent

__all__ = [
    "AsyncClient",
    "BadStatus",
    "Blocked",
    "ChecksumMismatch",
    "FetchFailure",
    "HTTPError",
    "Held",
    "NetworkFailure",
    "NotWhatItShouldBe",
    "PrivateAddress",
    "RedirectLoop",
    "Response",
    "RobotsDisallow",
    "TimedOut",
    "TooLarge",
    "Truncated",
    "UnfetchableUrl",
    "open_client",
    "user_agent",
]
