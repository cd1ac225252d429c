"""What a receiver said, and what became of a message."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Verdict = Literal["taken", "later", "never"]
"""`later`: it may be taken when it is sent again; `never`: it will not be, as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back from one attempt; bounded, and without secrets."""

    verdict: Verdict
    text: str
    """What the provider said, or what happened in its place."""
    status: int | None = None
    """Of SMTP or HTTP."""
    after: timedelta | None = None
    """So long the provider wants to be left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a delivery."""

    message: str
    kind: str
    channel: str
    recipient: str
    state: Literal["delivered", "given_up"]
    reason: str
    """delivered; refused (for good), exhausted (tried long enough), held (the channel wants to be left alone for
    longer than that), unknown_channel."""
    text: str
    """What was last said."""
    attempts: int
    at: datetime
    fallback: str | None = None
    """The channel that takes over."""
