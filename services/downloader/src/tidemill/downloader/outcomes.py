"""What can come of one attempt to download a file."""

from dataclasses import dataclass
from datetime import datetime

from tidemill.common.http import Usage
from tidemill.downloader.policy import Rejection


@dataclass(frozen=True, slots=True)
class Present:
    """What we have of a file."""

    sha256: str
    size_bytes: int
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The bytes are in the archive."""

    present: Present
    modified_at: datetime | None
    """As the site said."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The site says that it is what we have."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What came may not be stored."""

    rejection: Rejection
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be had, this time."""

    failure: str
    detail: str
    retry: bool
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """It was not asked for: not now."""

    host: str
    reason: str
    detail: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Superseded:
    """Nothing is to be done: the job is over, or somebody else's by now."""


Outcome = Downloaded | Unchanged | Refused | Failed | HeldBack | Superseded


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it, when, and what it took."""

    outcome: Outcome
    began_at: datetime
    at: datetime
    usage: Usage
    lane: str = "lo"
