"""When a message is sent again, and when it is given up: pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tidemill.common.channels.outcome import Reply

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=10)
JITTER = 0.2
"""A pause is up to a fifth longer or shorter, so that messages that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class Again:
    at: datetime


@dataclass(frozen=True, slots=True)
class End:
    state: Literal["delivered", "given_up"]
    reason: str


def pause_after(attempt: int, luck: float) -> timedelta:
    """Doubled from attempt to attempt; `luck` from 0 to 1 decides how long within the jitter."""
    pause = min(FIRST_PAUSE * (1 << min(attempt - 1, 20)), LONGEST_PAUSE)
    return pause * (1 - JITTER + 2 * JITTER * luck)


def after_reply(
    reply: Reply, *, attempt: int, stated_at: datetime, patience: timedelta, now: datetime, luck: float
) -> Again | End:
    """A message is tried once at least, for the last time when its patience ends, and never before the channel wants
    it. One that cannot be tried before that end is given up now."""
    if reply.verdict == "taken":
        return End("delivered", "delivered")
    if reply.verdict == "never":
        return End("given_up", "refused")
    deadline = stated_at + patience
    if now >= deadline:
        return End("given_up", "exhausted")
    wanted = now + reply.after if reply.after else now
    if wanted > deadline:
        return End("given_up", "held")
    return Again(min(max(now + pause_after(attempt, luck), wanted), deadline))
