"""Pure: names and order of decisions, what answers mean, when to try again, when something is gone."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from urllib.parse import unquote, urlsplit

from tidemill.common.config.scraping import Retry
from tidemill.extract import Judgement, SearchRules, Start, starts
from tidemill.scraper.errors import Unplannable

FETCHED = ("asked", "new", "reappeared", "backoff", "hint", "missing", "stale")
"""Decisions that ask for a target, the most important first; `asked` is a person's retry."""
LEFT = (*("fresh", "waiting", "given_up", "gone", "unseen", "duplicate", "robots", "over_budget", "held", "left_out"),)
"""Decisions that do not."""
SEARCH_ITEM = "search"
"""The one item of a run that found nothing to look at."""

RETRIES = (timedelta(seconds=2), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=5))
"""Pauses between the attempts of one run; after the last the item has failed."""
REPEATS = {
    "network": 4,
    "timeout": 4,
    "http": 4,
    "blocked": 4,
    "result_cap": 2,
    "layout": 2,
    "shell": 2,
    "parse": 2,
}
"""How often a run asks again, by the class of the failure; others are final."""
OF_THE_HOST = frozenset(("network", "timeout", "http", "blocked"))
"""Failures that may be the host's as a whole, not the page's."""
PAUSE_AFTER, STOP_AFTER = 8, 12
"""Such failures in a row: then the host is left alone for a while; then the run asks it no more."""
HOST_PAUSE = timedelta(seconds=30)
"""After the first PAUSE_AFTER; twice as long after each further one."""
MOST_AT_A_HOST = 512
NOT_FOUND = {404: "not_found", 410: "removed"}
STATES = {"gone": "removed", "soft_404": "not_found", "blocked": "blocked", "shell": "shell", "incomplete": "layout"}
"""What a page that is not what was asked for counts as."""
JITTER = 0.1
"""Share by which pauses between runs are longer or shorter, so that what failed together does not come together."""
SEARCHES_BEFORE = 0
_BEFORE = {"manual": 0, "retry": 0, "event": 0, "schedule": 10, "backfill": 20}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an attempt says of its host."""

    failure: str
    """Empty: it answered."""
    first: bool
    """No earlier attempt of the run at this page failed."""


@dataclass(frozen=True, slots=True)
class InRow:
    """Failures in a row. Pages that failed before are likelier to fail again, so they count only once there are so many
    that the host is suspected."""

    first: int
    every: int
    anew: bool
    """It answered before them: earlier failures do not count."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search of a run."""

    number: int
    """In the order of the source file."""
    start: Start
    item: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run was asked to do otherwise."""

    most: int | None = None
    """Targets, at most."""
    everything: bool = False
    """All are stale."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of `search.each`: these searches alone."""

    @property
    def partial(self) -> bool:
        """Whether the run does not look everywhere."""
        return self.most is not None or bool(self.values)


def read_params(params: Mapping[str, str], search: SearchRules) -> Wishes:
    """Raises Unplannable for what means nothing here."""
    takes = ("limit", "full", *search.each)
    values = {}
    for name, value in params.items():
        if name not in takes:
            raise Unplannable("params", f"unknown parameter {name}; this source takes {', '.join(takes)}")
        if name in search.each:
            if value not in (known := [*search.each[name]]):
                raise Unplannable("params", f"{name} {value!r} is not searched; valid are {', '.join(known)}")
            values[name] = value
    limit, full = params.get("limit"), params.get("full", "false").lower()
    if limit is not None and not (limit.isascii() and limit.isdigit() and 0 < len(limit) <= 9 and int(limit)):
        raise Unplannable("params", f"limit {limit!r} is not a number of pages")
    if full not in ("true", "false"):
        raise Unplannable("params", f"full is true or false, not {params['full']!r}")
    return Wishes(int(limit) if limit else None, full == "true", values)


def searches_of(rules: SearchRules, values: Mapping[str, str]) -> list[Search]:
    """All searches of the source that look for these values."""
    found = []
    for number, start in enumerate(starts(rules)):
        labels = dict(start.values)
        if all(labels.get(name, value) == value for name, value in values.items()):
            found.append(Search(number, start, search_item(start), labels))
    return found


def search_item(start: Start) -> str:
    """What plans and ledgers call a search."""
    shown = " ".join(value for _, value in start.values) or host_of(start.url)
    return f"{SEARCH_ITEM} {shown[:80]}~{hashlib.sha256(start.url.encode()).hexdigest()[:8]}"


def is_search_item(item: str) -> bool:
    return item.startswith(f"{SEARCH_ITEM} ")


def host_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def page_name(identity: str) -> str:
    """For people: the end of the address."""
    parts = urlsplit(identity)
    end = next((part for part in reversed(parts.path.split("/")) if part), "") or parts.hostname or "page"
    shown = unquote(f"{end}?{parts.query}" if parts.query else end, errors="replace")
    return "".join(char if char.isprintable() and char not in "/\\ " else "_" for char in shown)[-60:]


def item_of(identity: str) -> str:
    """What plans and ledgers call a target."""
    return f"{page_name(identity)}~{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def run_priority(trigger: str) -> int:
    """Lower goes first: what a person asked for, then schedules, then backfills; within each, searches first."""
    return _BEFORE.get(trigger, 10)


def priority(before: int, decision: str) -> int:
    return before + 1 + FETCHED.index(decision)


def failure_of(judgement: Judgement) -> str:
    """The class of a page that is not what was asked for."""
    if judgement.state == "incomplete" and judgement.why and judgement.why[0].name in ("unreadable", "empty"):
        return "parse"
    return STATES[judgement.state]


def pause_after(failure: str, attempts: int, not_before: datetime | None, now: datetime) -> timedelta | None:
    """How long to wait after so many failed attempts of a run, as the host said where it did; None: no more."""
    if attempts > REPEATS.get(failure, 0):
        return None
    pause = RETRIES[min(attempts, len(RETRIES)) - 1]
    return pause if not_before is None else max(pause, not_before - now)


def in_a_row(troubles: Sequence[Trouble]) -> InRow:
    """The failures at the end of what came of a host."""
    more = list(takewhile(lambda trouble: trouble.failure, reversed(troubles)))
    return InRow(sum(trouble.first for trouble in more), len(more), len(more) < len(troubles))


def host_pause(in_row: int) -> timedelta | None:
    """How long a host is left alone after so many failures in a row; None where it is not."""
    return HOST_PAUSE * 2 ** (in_row - PAUSE_AFTER) if PAUSE_AFTER <= in_row < STOP_AFTER else None


def next_check(retry: Retry, failures: int, item: str, now: datetime) -> datetime:
    """When a target is looked at again that so many runs in a row did not get."""
    longest = retry.longest.total_seconds()
    seconds = min(longest, retry.first.total_seconds() * 2.0 ** min(failures - 1, 100))
    chance = int.from_bytes(hashlib.sha256(f"{item}/{failures}".encode()).digest()[:4]) / 0xFFFFFFFF
    return now + timedelta(seconds=min(longest, seconds * (1 + JITTER * (2 * chance - 1))))


def gives_up(retry: Retry, failures: int) -> bool:
    return failures >= retry.give_up_after
