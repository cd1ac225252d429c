"""What a source file says about files that are asked for over HTTP."""

import re
from datetime import date, datetime, time, timedelta
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from tidemill.common.config.scheduling import Schedule
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import ByteSize, Duration

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Kind = Literal["auto", "any", "pdf", "zip", "gzip", "json", "xml", "html"]

RECHECK = timedelta(days=1)
"""Of files of an archive, where `recheck` is not set."""
SAMPLE_DAY = date(2026, 1, 2)


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url} is no address on the web; write https://host/path")
    if parts.username or parts.password:
        raise ValueError("passwords do not belong into addresses")
    return url


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone; write one like Europe/Budapest") from None
    return name


WebAddress = Annotated[str, AfterValidator(_web_address)]
ZoneName = Annotated[str, AfterValidator(_known_zone)]


class Index(Settings):
    """A page that links to the files."""

    url: WebAddress
    """Its address."""
    links: Annotated[str, StringConstraints(min_length=1)]
    """Links to take: `*` is any run of characters, `?` any one; upper and lower case are the same. A pattern with `/`
    is about the whole path of the address, one without about its last part."""
    order: str = ""
    """What tells new from old: a regular expression for the address whose named groups `year`, `month`, `day` or
    `issue` are compared as numbers, for instance `(?P<year>[0-9]{4})-(?P<issue>[0-9]+)`. Links that it does not find
    are left out. Without it all numbers of the file name are compared; of equal ones the first on the page is the
    newest."""
    newest: bool = True
    """Only the newest file; otherwise all that the page links to."""

    @field_validator("order")
    @classmethod
    def _has_groups(cls, order: str) -> str:
        if order:
            try:
                groups = re.compile(order).groupindex
            except re.error as error:
                raise ValueError(f"{order} is no regular expression: {error}") from None
            if not groups or set(groups) - {"year", "month", "day", "issue"}:
                raise ValueError("name its groups year, month, day or issue, for instance (?P<issue>[0-9]+)")
        return order


class Template(Settings):
    """Addresses that follow from a date or from the number of an issue."""

    url: WebAddress
    """Holds `{date:%Y-%m-%d}` (any form that strftime knows), or `{issue}` (`{issue:04d}` with zeros in front)."""
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS
    """Days on which it is published."""
    last: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=3660))] = timedelta(days=7)
    """How far back files that we do not have are asked for, from the day of the run."""
    zone: ZoneName = "UTC"
    """Whose days these are."""
    first: Annotated[int, Field(ge=0)] = 1
    """The issue to begin with, as long as we have none."""
    ahead: Annotated[int, Field(ge=1, le=50)] = 1
    """How many numbers after the last one we have are tried; more than one gets over an issue that never came."""

    @field_validator("url")
    @classmethod
    def _has_one_variable(cls, url: str) -> str:
        try:
            names = {name for _, name, _, _ in Formatter().parse(url) if name is not None}
        except ValueError as error:
            raise ValueError(f"{url}: {error}") from None
        if names not in ({"date"}, {"issue"}):
            raise ValueError("must hold {date:%Y-%m-%d} or {issue}, one of them, and nothing else in braces")
        try:
            filled = [url.format(date=day, issue=day.day) for day in (SAMPLE_DAY, SAMPLE_DAY + timedelta(days=400))]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{url}: {error}") from None
        if len(set(filled)) == 1:
            raise ValueError("says the same for every day; write for instance {date:%Y-%m-%d}")
        return url

    @property
    def by_issue(self) -> bool:
        return any(name == "issue" for _, name, _, _ in Formatter().parse(self.url))


class Checksum(Settings):
    """A SHA-256 that the site publishes beside the file."""

    url: Annotated[str, StringConstraints(min_length=1)] = "{url}.sha256"
    """Address of the text that holds it; `{url}` stands for the file's address, `{name}` for its name. A list of
    several sums is searched for the name."""


class Window(Settings):
    """When a new file is expected: it is asked for more often then, until it is there, and missed afterwards."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS
    """Days on which it comes."""
    from_: Annotated[time, Field(alias="from")]
    """When the window opens, for instance `06:00`."""
    until: time
    """When it closes. Then a file that has not come is late: an event says so, once."""
    every: Duration = timedelta(minutes=15)
    """How often a run is due within the window, besides the schedule: an hour, or minutes that divide one."""
    zone: ZoneName = "UTC"
    """Whose days and hours these are."""

    @field_validator("every")
    @classmethod
    def _divides_an_hour(cls, every: timedelta) -> timedelta:
        minutes = every / timedelta(minutes=1)
        if minutes < 1 or minutes % 1 or 60 % minutes:
            raise ValueError("must be an hour, or minutes that divide one: 1m, 2m, 3m, 4m, 5m, 6m, 10m, 12m, …")
        return every

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> "Window":
        if self.from_ >= self.until:
            raise ValueError(f"from {self.from_:%H:%M} must be before until {self.until:%H:%M}, on the same day")
        return self

    def schedule(self) -> Schedule:
        """The runs that are due within the window."""
        minutes = int(self.every / timedelta(minutes=1))
        days = ",".join(str((WEEKDAYS.index(day) + 1) % 7) for day in self.days)
        return Schedule(
            cron=f"{'0' if minutes == 60 else f'*/{minutes}'} * * * {days}",
            zone=self.zone,
            allowed=(f"{self.from_:%H:%M}-{self.until:%H:%M}",),
        )

    def on(self, day: date) -> tuple[datetime, datetime] | None:
        """When it opens and closes on a day; None on days on which nothing is expected."""
        if WEEKDAYS[day.weekday()] not in self.days:
            return None
        zone = ZoneInfo(self.zone)
        return datetime.combine(day, self.from_, zone), datetime.combine(day, self.until, zone)

    def around(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """The window that is open at this moment."""
        window = self.on(moment.astimezone(ZoneInfo(self.zone)).date())
        return window if window and window[0] <= moment < window[1] else None

    def closed_before(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """The last window that was over at this moment, within eight days."""
        today = moment.astimezone(ZoneInfo(self.zone)).date()
        windows = (self.on(today - timedelta(days=back)) for back in range(9))
        return next((window for window in windows if window and window[1] <= moment), None)


class Download(Settings):
    """Files that are asked for over HTTP: one of `url`, `template`, `index` says where they are."""

    url: WebAddress | None = None
    """A file whose address stays."""
    template: Template | None = None
    """In place of `url`."""
    index: Index | None = None
    """In place of `url`."""
    expect: Kind = "auto"
    """What the bytes must be, by their first ones: a page that says "not found" is no PDF, whatever it is called.
    `auto` goes by the end of the file's name; `any` takes everything."""
    checksum: Checksum | None = None
    """`{}` is enough where it lies beside the file."""
    min_size: ByteSize = 1
    """Smaller files are refused."""
    max_size: Annotated[ByteSize, Field(gt=0)] = 200_000_000
    """Larger files are refused, before they are transferred where their size is announced."""
    bandwidth: Annotated[ByteSize, Field(ge=1000)] | None = None
    """Bytes a second for one file; without it as fast as it comes."""
    recheck: Duration | None = None
    """How long a file that we have is left alone before it is asked about again. Without it: 1 day for the files of a
    template and of an index with `newest: false`; the others are asked about in every run."""
    lane: Literal["hi", "lo"] = "lo"
    """`hi` overtakes the documents of others in conversion."""
    window: Window | None = None
    """Without it nothing is ever late."""

    @model_validator(mode="after")
    def _one_place(self) -> "Download":
        if sum(place is not None for place in (self.url, self.template, self.index)) != 1:
            raise ValueError("needs one of url, template, index")
        if self.min_size > self.max_size:
            raise ValueError("min_size is more than max_size")
        return self

    @property
    def rests(self) -> timedelta:
        """`recheck`, with its default."""
        if self.recheck is not None:
            return self.recheck
        archive = self.template is not None or (self.index is not None and not self.index.newest)
        return RECHECK if archive else timedelta(0)
