"""Pure: what a run asks for and in which order, what may be stored, when to try again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from tidemill.common.config.downloading import WEEKDAYS, Download, Template
from tidemill.common.config.units import size_text
from tidemill.downloader.errors import Unplannable

RETRIES = (timedelta(seconds=2), timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
"""Pauses between the attempts of one run; after the last the item has failed."""
BACKOFF = timedelta(minutes=10)
LONGEST_BACKOFF = timedelta(hours=12)
"""Shorter than a day: a daily run asks each time."""
MOST_AT_A_HOST = 32
NOT_PUBLISHED = "not_published"
"""A file of a template that is not there, yet or at all: an outcome that nobody needs to look after."""

_BEFORE = {"manual": 0, "retry": 0, "event": 0, "schedule": 2, "backfill": 4}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that a run might ask for."""

    url: str
    issue: int | None = None

    @property
    def name(self) -> str:
        return file_name(self.url)

    @property
    def item(self) -> str:
        return item_of(self.url)


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier runs learned of a file."""

    sha256: str | None
    checked_at: datetime | None
    next_check_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why bytes may not be stored."""

    reason: str
    """Slug that can be counted."""
    detail: str


def canonical(url: str) -> str:
    """The same address in one form: host in lower case, no fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, ""))


def host_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def file_name(url: str) -> str:
    """The last part of the address, harmless as a file name; the host where there is none."""
    parts = urlsplit(url)
    name = unquote(PurePosixPath(parts.path).name, errors="replace").replace("/", "_").replace("\\", "_")
    name = "".join(char for char in name if char.isprintable()).strip(". ")
    return name[-120:] or parts.hostname or "file"


def item_of(url: str) -> str:
    """What plans and ledgers call a file: its name for people, a digest for those that share one."""
    url = canonical(url)
    return f"{file_name(url)[-80:]}~{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def from_template(
    template: Template, moment: datetime, newest_issue: int | None, *, trigger: str, params: Mapping[str, str]
) -> list[Wanted]:
    """Files of a template, the newest first. `moment` is the run's nominal time. Raises Unplannable."""
    expect_params(params, "issue" if template.by_issue else "date")
    if template.by_issue:
        if "issue" in params:
            return [_issue(template, _number(params["issue"]))]
        next_issue = template.first if newest_issue is None else max(template.first, newest_issue + 1)
        return [_issue(template, number) for number in reversed(range(next_issue, next_issue + template.ahead))]
    if "date" in params:
        return [_dated(template, _day(params["date"]))]
    today = moment.astimezone(ZoneInfo(template.zone)).date()
    back = 0 if trigger == "backfill" else template.last.days
    days = (today - timedelta(days=number) for number in range(back + 1))
    return [_dated(template, day) for day in days if WEEKDAYS[day.weekday()] in template.days]


def expect_params(params: Mapping[str, str], *known: str) -> None:
    """Raises Unplannable when a run was asked for with a parameter that means nothing here."""
    for name in params:
        if name not in known:
            takes = f"this source takes {', '.join(known)}" if known else "this source takes none"
            raise Unplannable("params", f"unknown parameter {name}; {takes}")


def _issue(template: Template, number: int) -> Wanted:
    return Wanted(template.url.format(issue=number), number)


def _dated(template: Template, day: date) -> Wanted:
    return Wanted(template.url.format(date=day))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Unplannable("params", f"issue {text!r} is not a number")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unplannable("params", f"date {text!r} is not a day; write it as 2026-07-21") from None


def reason_to_skip(known: Known | None, download: Download, now: datetime, *, trigger: str) -> str | None:
    """Why a file is not asked about in this run; None when it is."""
    if known is None or trigger == "retry":
        return None
    rests = download.rests
    if rests and known.sha256 and known.checked_at and now < known.checked_at + rests:
        return "fresh"
    if trigger != "manual" and known.next_check_at and now < known.next_check_at:
        return "backoff"
    return None


def priority(trigger: str, *, is_new: bool) -> int:
    """Lower goes first: what a person asked for, then schedules, then backfills; new files before known ones."""
    return _BEFORE.get(trigger, 2) + (0 if is_new else 1)


def pause_after(attempts: int, not_before: datetime | None, now: datetime) -> timedelta | None:
    """How long to wait after so many failed attempts, as the host said where it did; None: give up."""
    if attempts > len(RETRIES):
        return None
    pause = RETRIES[attempts - 1]
    return pause if not_before is None else max(pause, not_before - now)


def next_check(failures: int, now: datetime) -> datetime:
    """When schedules ask again about a file that so many runs in a row did not get."""
    return now + min(LONGEST_BACKOFF, BACKOFF * int(2 ** min(failures - 1, 10)))


def rejection(size: int, download: Download) -> Rejection | None:
    """What forbids storing a file of this size; None when it may be stored. Larger ones do not get so far."""
    if size >= download.min_size:
        return None
    if size == 0:
        return Rejection("empty", "empty file (0 bytes)")
    return Rejection("too_small", f"{size} bytes; the least is {size_text(download.min_size)} (download.min_size)")
