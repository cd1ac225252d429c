"""What can come of one attempt to get a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidemill.common.config.scraping import Retry
from tidemill.common.http import Usage
from tidemill.extract import Position, Step

AS_USUAL = Retry()


@dataclass(frozen=True, slots=True)
class Present:
    """What we know of a target."""

    id: int
    item: str
    identity: str
    path: str
    name: str
    labels: Mapping[str, str]
    carried: Mapping[str, str]
    hint: str
    sha256: str | None
    size_bytes: int
    content_hash: str | None
    rules: str | None
    etag: str | None
    last_modified: str | None
    failures: int
    is_gone: bool
    content_type: str = ""

    @property
    def context(self) -> dict[str, str]:
        """What its documents are told of it: what the search looked for, and what its entry says."""
        return {**self.labels, **self.carried}


@dataclass(frozen=True, slots=True)
class SearchPage:
    """What a search page said last."""

    found_at: str
    etag: str | None
    last_modified: str | None
    content_type: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Searched:
    """How far a search is."""

    search: int
    position: Position
    known: SearchPage | None
    """What the page at this position said last."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is ours to do."""

    decision: str
    url: str
    host: str
    deadline: datetime | None
    limited: bool
    """The run wants only so many targets."""
    everything: bool = False
    """The run looks at all of them, fresh or not."""
    target: Present | None = None
    search: Searched | None = None


@dataclass(frozen=True, slots=True)
class PageRow:
    """A page that came, for the table."""

    url: str
    status: int
    state: str
    sha256: str | None = None
    size_bytes: int = 0
    detail: str = ""
    content_hash: str | None = None
    fields: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A target as a search page lists it."""

    item: str
    identity: str
    url: str
    name: str
    key: str
    hint: str
    carried: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A search page was read."""

    step: Step
    entries: Sequence[Entry]
    problems: Sequence[str]
    known: SearchPage
    """To be remembered."""
    asked: str
    """The address it was asked for by."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A search ends without another page."""

    position: Position
    stop: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Content:
    """A target's page is what it should be."""

    sha256: str
    size_bytes: int
    content_hash: str
    rules: str
    etag: str | None
    last_modified: str | None
    same: bool
    """Its fields say what they said before."""
    content_type: str = ""
    """As the site said: the letters of some pages are known by it alone."""


@dataclass(frozen=True, slots=True)
class Unmodified:
    """The site says that it is what we have."""


@dataclass(frozen=True, slots=True)
class Gone:
    """It is not there any more."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Its address leads to another target."""

    of: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be had, this time."""

    failure: str
    detail: str
    retry: bool = True
    """Whether the same request may succeed later."""
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


Outcome = Listed | Ended | Content | Unmodified | Gone | Duplicate | Failed | HeldBack | Superseded


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it, when, and what it took."""

    outcome: Outcome
    began_at: datetime
    at: datetime
    usage: Usage
    claimed: Claimed | None = None
    """What was asked for; None where nothing was."""
    page: PageRow | None = None
    retry: Retry = AS_USUAL
    """When a target is tried again in later runs, by the source file."""
