"""When a host may be asked next: the state of one host, and what changes it. No clock, no I/O.

Moments are seconds since 1970 by the clock of whoever keeps the state; it is handed in with each call.
"""

import math
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

import orjson

from tidemill.common.config.politeness import Politeness

Reason = Literal["budget_spent", "breaker_open", "not_before", "rate", "busy"]

LEASE_SECONDS = 60.0
"""A place that its holder does not renew is free again after this: whoever holds it has crashed."""
BUSY_SECONDS = 0.25
"""When to look again for a free place; nobody knows when one is given back."""
CRAWL_DELAY_SECONDS = 120.0
"""The longest `Crawl-delay` that is obeyed to the letter; a longer one counts as this."""
HOLD_SECONDS = 24 * 3600.0
"""The longest Retry-After that is believed."""
EXACT_SECONDS = 0.2
"""From this interval on nobody begins before it is known when the one before has left: replicas that a busy machine
keeps waiting on the last step would leave together."""
LEAVING_SECONDS = 2.0
"""Who has not said by then that its request left has crashed."""
STRICT_SECONDS = 600.0
"""So long after its last request a slow source slows down the others on its host."""

SLOWEST_SECONDS = 300.0
"""Being slowed down ends here, unless the configured pace is slower still."""
SLOWNESS = 64.0
LATENCY_SLOWNESS = 8.0
"""For answers that merely take long, less than for an outright "too many"."""

FAILURES = 5
"""In a row, until the breaker opens."""
COOLDOWN_SECONDS = (30.0, 900.0)
"""How long it stays open: the first time, and at most; doubled each time a probe fails."""

AHEAD = timedelta(seconds=2)
"""What a host may start within so long is handed out by whoever keeps a queue for it."""


def room_at_host(politeness: Politeness, most: int) -> int:
    """How many things may be handed out at a time that ask a host: what it may start soon, and at most so many."""
    return min(most, politeness.concurrency + math.ceil(AHEAD / politeness.interval))


@dataclass(frozen=True, slots=True)
class Terms:
    """What one source demands of itself towards a host."""

    source: str
    interval: float
    concurrency: int = 1
    budget: int | None = None
    zone: str = "UTC"

    @property
    def exact(self) -> bool:
        return self.interval >= EXACT_SECONDS


def terms_of(source: str, politeness: Politeness, crawl_delay: float | None = None) -> Terms:
    """A host's Crawl-delay holds where it is longer than the configured interval."""
    interval = max(politeness.interval.total_seconds(), min(crawl_delay or 0.0, CRAWL_DELAY_SECONDS))
    return Terms(source, interval, politeness.concurrency, politeness.daily_budget, politeness.zone)


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why a request must wait, and until when at least."""

    reason: Reason
    until: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request went, as far as the host's well-being is concerned."""

    kind: Literal["well", "pushback", "failure", "unknown"]
    """`pushback` is 429 or 503; `unknown` when it was given up before an answer, by us."""
    seconds: float | None = None
    """From the request to the head of the answer."""
    retry_after: float | None = None
    """Seconds from now, as the host said."""


@dataclass(slots=True)
class Host:
    """Everything that must be known of one host to be polite to it, shared by all replicas."""

    last_at: float = 0.0
    last_lease: str = ""
    """When the last request began, and whose it was."""
    leaving_until: float = 0.0
    """Until then the others wait for the word of the last one that its request has left."""
    strictest: float = 0.0
    strict_until: float = 0.0
    """The longest interval that a source asked for lately."""
    not_before: float = 0.0
    slowness: float = 1.0
    """The interval is multiplied by this."""
    usual_seconds: float = 0.0
    recent_seconds: float = 0.0
    """Means of how long answers take: a slow and a quick one."""
    failures: int = 0
    open_until: float = 0.0
    """Above 0 the breaker is open, and half-open from this moment on."""
    cooldown: float = 0.0
    probe: str = ""
    leases: dict[str, float] = field(default_factory=dict)
    """Requests under way, and when their places expire."""
    spent: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By source: the day, and its requests so far."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Fields of another version are left out: replicas may be upgraded one by one."""
        known: dict[str, Any] = orjson.loads(text) if text else {}
        return cls(**{each.name: known[each.name] for each in fields(cls) if each.name in known})

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    def admit(self, terms: Terms, lease: str, now: float) -> NotNow | None:
        """Begin a request now, or say why not."""
        self._tidy(now)
        wait = self._budget_wait(terms, now) or self._wait(terms, lease, now)
        if wait is None and len(self.leases) >= terms.concurrency:
            wait = NotNow("busy", now + BUSY_SECONDS)
        if wait is not None:
            return wait
        day, spent = self._spent(terms, now)
        self.spent[terms.source] = (day, spent + 1)
        self._begin(terms, lease, now)
        return None

    def begin_again(self, terms: Terms, lease: str, now: float) -> NotNow | None:
        """For a request that was admitted and is about to leave: begin now instead, or say why not."""
        self._tidy(now)
        wait = self._wait(terms, lease, now)
        if wait is None:
            self._begin(terms, lease, now)
            if terms.exact:
                self.leaving_until = now + LEAVING_SECONDS
        return wait

    def left(self, lease: str, seconds: float, now: float) -> None:
        """A request left, so many seconds after it asked for leave; the next keeps its distance to that."""
        self._tidy(now)
        if self.last_lease == lease:
            self.leaving_until = 0.0
            self.last_at = min(self.last_at + seconds, now)
        else:
            self.last_at = now

    def finish(self, lease: str, outcome: Outcome, now: float) -> None:
        """Give the place back, and learn from how it went."""
        self._tidy(now)
        probing = self.probe == lease
        self.leases.pop(lease, None)
        if self.last_lease == lease:
            self.leaving_until = 0.0
        if probing:
            self.probe = ""
        if outcome.retry_after is not None:
            self.not_before = max(self.not_before, now + min(outcome.retry_after, HOLD_SECONDS))
        match outcome.kind:
            case "well":
                self._went_well(outcome.seconds)
                if probing or not self.open_until:
                    self.failures, self.open_until, self.cooldown = 0, 0.0, 0.0
            case "pushback" | "failure":
                if outcome.kind == "pushback":
                    self.slowness = min(self.slowness * 2, SLOWNESS)
                self.failures += 1
                if probing or (not self.open_until and self.failures >= FAILURES):
                    first, longest = COOLDOWN_SECONDS
                    self.cooldown = min(self.cooldown * 2 or first, longest)
                    self.open_until = now + self.cooldown
            case "unknown":
                pass

    def renew(self, lease: str, now: float) -> None:
        """Its holder is alive."""
        if lease in self.leases:
            self.leases[lease] = now + LEASE_SECONDS

    def restore(self, source: str, day: str, spent: int, not_before: float) -> None:
        """What a ledger remembers, for a state that may have been lost; the stricter of both holds."""
        known_day, known = self.spent.get(source, ("", 0))
        if day >= known_day:
            self.spent[source] = (day, max(spent, known if day == known_day else 0))
        self.not_before = max(self.not_before, not_before)

    def startable(self, terms: Terms, now: float, within: float) -> int:
        """How many requests could begin from now until `within` seconds later, as things stand."""
        self._tidy(now)
        wait = self._budget_wait(terms, now) or self._wait(terms, "", now)
        if wait and wait.until > now + within:
            return 0
        if self.open_until:
            return int(not self.probe)
        free = terms.concurrency - len(self.leases)
        if terms.budget is not None:
            free = min(free, terms.budget - self._spent(terms, now)[1])
        first = wait.until if wait else now
        return max(0, min(free, 1 + int((now + within - first) / self.interval(terms))))

    def interval(self, terms: Terms) -> float:
        """Seconds from one request to the next, with everything that makes it longer."""
        interval = max(terms.interval, self.strictest)
        return max(interval, min(interval * self.slowness, SLOWEST_SECONDS))

    def _wait(self, terms: Terms, lease: str, now: float) -> NotNow | None:
        if self.open_until and self.probe != (lease or None):
            if now < self.open_until:
                return NotNow("breaker_open", self.open_until)
            if self.probe:
                return NotNow("breaker_open", self.leases[self.probe])
        if now < self.not_before:
            return NotNow("not_before", self.not_before)
        if lease == self.last_lease:  # A request that is only late moves its own beginning.
            return None
        due = self.last_at + self.interval(terms)
        if now < self.leaving_until:
            due = max(due, min(now + EXACT_SECONDS / 4, self.leaving_until))
        return NotNow("rate", due) if now < due else None

    def _begin(self, terms: Terms, lease: str, now: float) -> None:
        if terms.interval >= self.strictest:
            self.strictest = terms.interval
            self.strict_until = now + max(STRICT_SECONDS, 2 * terms.interval)
        if self.open_until:
            self.probe = lease
        self.last_at, self.last_lease = now, lease
        self.leases[lease] = now + LEASE_SECONDS

    def _budget_wait(self, terms: Terms, now: float) -> NotNow | None:
        if terms.budget is None or self._spent(terms, now)[1] < terms.budget:
            return None
        tomorrow = datetime.fromtimestamp(now, ZoneInfo(terms.zone)).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=ZoneInfo(terms.zone))
        return NotNow("budget_spent", midnight.timestamp())

    def _spent(self, terms: Terms, now: float) -> tuple[str, int]:
        today = datetime.fromtimestamp(now, ZoneInfo(terms.zone)).date().isoformat()
        day, spent = self.spent.get(terms.source, (today, 0))
        return today, spent if day == today else 0

    def _went_well(self, seconds: float | None) -> None:
        strained = False
        if seconds is not None:
            if not self.usual_seconds:
                self.usual_seconds = self.recent_seconds = seconds
            self.usual_seconds += (seconds - self.usual_seconds) * 0.05
            self.recent_seconds += (seconds - self.recent_seconds) * 0.3
            strained = self.recent_seconds > max(3 * self.usual_seconds, self.usual_seconds + 0.5)
        if strained and self.slowness < LATENCY_SLOWNESS:
            self.slowness = min(self.slowness * 1.3, LATENCY_SLOWNESS)
        elif not strained:
            self.slowness = max(1.0, self.slowness * 0.9)

    def _tidy(self, now: float) -> None:
        """Drop the leases of the crashed, and moments that only a clock that was set back can explain."""
        self.leases = {lease: min(until, now + LEASE_SECONDS) for lease, until in self.leases.items() if until > now}
        if self.probe not in self.leases:
            self.probe = ""
        if now >= self.strict_until:
            self.strictest = 0.0
        self.last_at = min(self.last_at, now)
        self.leaving_until = min(self.leaving_until, now + LEAVING_SECONDS)
        self.not_before = min(self.not_before, now + HOLD_SECONDS)
        self.open_until = min(self.open_until, now + COOLDOWN_SECONDS[1])
