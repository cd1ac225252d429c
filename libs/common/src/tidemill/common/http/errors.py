"""The ways a request fails, each with its slug, and whether and when trying again helps."""

from datetime import datetime
from typing import ClassVar


class FetchFailure(Exception):
    """A request that brought nothing. Its text names no secret of the URL."""

    slug: ClassVar[str]
    """What events, ledger and reports count it as."""
    retry: bool = False
    """Whether the same request may succeed later."""

    def __init__(self, detail: str, *, after: datetime | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.after = after
        """Not to be tried again before, as the host said; None when it said nothing."""


class NetworkFailure(FetchFailure):
    """No connection, a broken one, or an answer that is not HTTP."""

    slug = "network"
    retry = True


class Truncated(NetworkFailure):
    """The connection ended before the body did."""


class ProxyFailure(NetworkFailure):
    """The proxy of the source cannot be reached, or does not want us. Says nothing about the host."""

    slug = "proxy"


class TimedOut(FetchFailure):
    """Too slow: to connect, to answer, to send, or all together."""

    slug = "timeout"
    retry = True


class BadStatus(FetchFailure):
    """An answer that says no: 404, 410, 500 …"""

    slug = "http"

    def __init__(self, status: int, detail: str, *, after: datetime | None = None) -> None:
        super().__init__(detail, after=after)
        self.status = status
        self.retry = status in (408, 425) or status >= 500


class Blocked(BadStatus):
    """The host does not want us, or not now: 401, 403, 407, 429, 451."""

    slug = "blocked"

    def __init__(self, status: int, detail: str, *, after: datetime | None = None) -> None:
        super().__init__(status, detail, after=after)
        self.retry = status in (403, 429)


class RobotsDisallow(FetchFailure):
    """robots.txt does not allow it."""

    slug = "robots"


class RedirectLoop(FetchFailure):
    """Redirects that come back to where they were, or do not end."""

    slug = "redirect_loop"


class TooLarge(FetchFailure):
    """More bytes than allowed: declared, received or after decoding."""

    slug = "too_large"


class NotWhatItShouldBe(FetchFailure):
    """The content is not of the kind that was asked for: HTML as PDF, an encoding that cannot be read."""

    slug = "not_what_it_should_be"


class ChecksumMismatch(FetchFailure):
    """The whole content came, and is not what its publisher's checksum says."""

    slug = "checksum"
    retry = True


class PrivateAddress(FetchFailure):
    """The host is not on the public internet, and not allowed by name."""

    slug = "private_address"


class UnfetchableUrl(FetchFailure):
    """Not a URL that can be asked for: no http or https, no host."""

    slug = "url"


class Held(Exception):
    """Not asked, and no failure: the host must not be asked now. Costs no attempt."""

    def __init__(self, host: str, reason: str, detail: str, *, until: datetime | None = None) -> None:
        super().__init__(detail)
        self.host = host
        self.reason = reason
        """`limiter_unavailable`, `breaker_open`, `budget_spent`, `robots_unreachable`, `not_before` (Retry-After); and
        when nothing is wrong but the wait was too short: `rate`, `busy`."""
        self.detail = detail
        self.until = until
        """When it is worth asking again; None when nobody knows."""
