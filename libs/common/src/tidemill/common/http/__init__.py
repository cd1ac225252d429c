"""Requests to other people's hosts: polite, bounded, and only to the public internet."""

from tidemill.common.http.answer import Answer, Entry, Patience, Sizes, Usage
from tidemill.common.http.bandwidth import Bandwidth, Progress
from tidemill.common.http.calls import Called, Calls
from tidemill.common.http.client import PoliteClient
from tidemill.common.http.cookies import Cookies
from tidemill.common.http.download import Downloaded, NotModified, download
from tidemill.common.http.errors import (
    BadStatus,
    Blocked,
    ChecksumMismatch,
    FetchFailure,
    Held,
    NetworkFailure,
    NotWhatItShouldBe,
    PrivateAddress,
    ProxyFailure,
    RedirectLoop,
    RobotsDisallow,
    TimedOut,
    TooLarge,
    Truncated,
    UnfetchableUrl,
)
from tidemill.common.http.limits import HostLimits, open_limits
from tidemill.common.http.partfile import forget
from tidemill.common.http.resume import Validators
from tidemill.common.http.wire import AsyncClient, HTTPError, Response, host_of, open_client, user_agent

__all__ = [
    "Answer",
    "AsyncClient",
    "BadStatus",
    "Bandwidth",
    "Blocked",
    "Called",
    "Calls",
    "ChecksumMismatch",
    "Cookies",
    "Downloaded",
    "Entry",
    "FetchFailure",
    "HTTPError",
    "Held",
    "HostLimits",
    "NetworkFailure",
    "NotModified",
    "NotWhatItShouldBe",
    "Patience",
    "PoliteClient",
    "PrivateAddress",
    "Progress",
    "ProxyFailure",
    "RedirectLoop",
    "Response",
    "RobotsDisallow",
    "Sizes",
    "TimedOut",
    "TooLarge",
    "Truncated",
    "UnfetchableUrl",
    "Usage",
    "Validators",
    "download",
    "forget",
    "host_of",
    "open_client",
    "open_limits",
    "user_agent",
]
