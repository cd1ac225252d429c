"""When a source runs, and how its runs are limited: the sections `schedule` and `run` of a source file."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, field_validator, model_validator

from tidemill.common.config.settings import Settings
from tidemill.common.config.units import Duration
from tidemill.schedule import Cron, Days, Every, Hours, InvalidSchedule, Missed, Once, find_zone
from tidemill.schedule import Schedule as Plan

SOURCE_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Schedule(Settings):
    """When the source is due: `cron`, `every` or `at`. One entry, or a list of several."""

    cron: str | None = None
    """Five fields (minute hour day month weekday), or six with the second first, on the clock of `zone`:
    `"0 6 * * 2,5"`. Named hours run once when the clock shows them twice, and later by what the clock leaves out."""
    every: Duration | None = None
    """Elapsed time, whatever clocks do, counted from a Monday at midnight UTC: `15m`."""
    at: str | None = None
    """Once, on the clock of `zone`: `2026-12-01T06:00`."""
    zone: str = "UTC"
    """IANA time zone, for instance `Europe/Budapest`."""
    jitter: Duration = timedelta(0)
    """Runs begin up to that much later, each schedule always by the same share of it."""
    missed: Literal["none", "latest", "all"] = "latest"
    """Slots that nobody could fire in time (downtime, a pause): skip them, fire the latest, or all."""
    missed_within: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=24)
    """Missed slots that are older are skipped."""
    missed_max: Annotated[int, Field(ge=1, le=1000)] = 10
    """The most that `all` fires, the newest ones."""
    allowed: tuple[str, ...] = ()
    """Hours of the day outside which there are no slots: `06:00-22:00`, over midnight `22:00-06:00`."""
    blackout: tuple[str, ...] = ()
    """Days whose slots are skipped: `2026-12-24`, `2026-12-24..2026-12-26`."""

    @field_validator("cron")
    @classmethod
    def _cron_is_readable(cls, cron: str | None) -> str | None:
        if cron is not None:
            Cron.parse(cron)
        return cron

    @field_validator("every")
    @classmethod
    def _interval_is_possible(cls, every: timedelta | None) -> timedelta | None:
        if every is not None:
            Every(every)
        return every

    @field_validator("at")
    @classmethod
    def _moment_is_readable(cls, at: str | None) -> str | None:
        if at is not None:
            Once.parse(at)
        return at

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        find_zone(zone)
        return zone

    @field_validator("allowed")
    @classmethod
    def _hours_are_readable(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for text in allowed:
            Hours.parse(text)
        return allowed

    @field_validator("blackout")
    @classmethod
    def _days_are_readable(cls, blackout: tuple[str, ...]) -> tuple[str, ...]:
        for text in blackout:
            Days.parse(text)
        return blackout

    @model_validator(mode="after")
    def _has_one_timing(self) -> "Schedule":
        given = [name for name in ("cron", "every", "at") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'no timing'}; write one of cron, every, at")
        if self.at is None and self.plan().next_slot(ANY_DAY) is None:
            raise InvalidSchedule("allowed", "never runs: no slot lies within the allowed hours; change one of the two")
        return self

    def plan(self) -> Plan:
        """What slots are computed from."""
        return Plan(
            timing=self._timing(),
            zone=find_zone(self.zone),
            jitter=self.jitter,
            allowed=tuple(map(Hours.parse, self.allowed)),
            blackout=tuple(map(Days.parse, self.blackout)),
            missed=Missed(policy=self.missed, within=self.missed_within, most=self.missed_max),
        )

    def _timing(self) -> Cron | Every | Once:
        if self.cron is not None:
            return Cron.parse(self.cron)
        if self.every is not None:
            return Every(self.every)
        return Once.parse(self.at or "")


def _how_many(value: Any) -> str:
    return "several" if isinstance(value, (list, tuple)) else "one"


def _each_once(given: Schedule | tuple[Schedule, ...]) -> tuple[Schedule, ...]:
    schedules = given if isinstance(given, tuple) else (given,)
    names = [schedule.plan().name for schedule in schedules]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ValueError(f"has {twice[0]} twice; keep one of them")
    return schedules


def _any_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = schema.pop("oneOf")


if TYPE_CHECKING:
    Schedules = tuple[Schedule, ...]
else:
    # Written as one entry or a list of them, read as a tuple.
    Schedules = Annotated[
        Annotated[Schedule, Tag("one")] | Annotated[tuple[Schedule, ...], Tag("several")],
        Discriminator(_how_many),
        AfterValidator(_each_once),
        Field(json_schema_extra=_any_of),
    ]


class Run(Settings):
    """How runs of the source are limited, and what else begins one."""

    overlap: Literal["skip", "buffer", "cancel", "allow"] = "skip"
    """When a run is due while another one is under way: skip it, let one wait, cancel the other one, run both."""
    start_within: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=1)
    """A run that has not begun to work by then fails: nobody took it, or what it waited for did not come."""
    time_limit: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=6)
    """A run that takes longer ends as timed out; what it still had to do is dropped."""
    group: Annotated[str, StringConstraints(pattern=SOURCE_NAME, max_length=64)] | None = None
    """Concurrency group: `scheduler.groups` says how many runs of it may be under way, 1 where it does not."""
    pause_after_failures: Annotated[int, Field(ge=1)] | None = None
    """The source is paused after so many failed runs in a row; `tidemill resume` goes on."""
    after: tuple[str, ...] = ()
    """Sources: each complete run of one of them begins a run of this one."""
