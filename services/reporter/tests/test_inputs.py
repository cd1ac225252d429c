"""What is expected of a day, held against what the ledger has."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.sources import SourceFile
from tidemill.reporter.days import Day, clock_of, day_of, days_between
from tidemill.reporter.gathering import open_snapshot
from tidemill.reporter.inputs import RunFact, SlotFact, due_slots, fetch_inputs, judge_inputs

from .kit import World

BUDAPEST = ZoneInfo("Europe/Budapest")
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def source(cron: str, zone: str = "UTC") -> SourceFile:
    return SourceFile.model_validate(
        {"source": "s", "download": {"url": "https://x.example/y"}, "schedule": {"cron": cron, "zone": zone}}
    )


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 2, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 3, 2), 24)])
def test_a_day_has_the_hours_that_its_clock_shows(day: date, hours: int) -> None:
    found = Day(day, BUDAPEST)
    assert found.end - found.start == timedelta(hours=hours)


@given(st.integers(1_577_836_800, 1_893_456_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_every_moment_lies_in_its_day(moment: datetime) -> None:
    day = Day(day_of(moment, BUDAPEST), BUDAPEST)
    assert day.start <= moment < day.end
    assert 0 <= clock_of(moment, BUDAPEST) < 24 * 3600


def test_days_between_are_all_of_them() -> None:
    assert list(days_between(date(2026, 2, 28), date(2026, 3, 2))) == [
        date(2026, 2, 28),
        date(2026, 3, 1),
        date(2026, 3, 2),
    ]
    assert list(days_between(date(2026, 3, 2), date(2026, 3, 1))) == []


def test_midnight_belongs_to_the_day_that_begins() -> None:
    day = Day(date(2026, 3, 2), ZoneInfo("UTC"))
    assert due_slots(source("0 0,12 * * *"), day, None, LATER) == [at(0), at(12)]


def test_slots_before_the_file_said_so_and_slots_to_come_are_not_expected() -> None:
    day = Day(date(2026, 3, 2), ZoneInfo("UTC"))
    hourly = source("0 * * * *")
    assert len(due_slots(hourly, day, None, LATER)) == 24
    assert due_slots(hourly, day, at(21, 30), LATER) == [at(22), at(23)]
    assert due_slots(hourly, day, None, at(1, 30)) == [at(0), at(1)]


def test_a_row_that_stands_for_many_slots_settles_all_of_them() -> None:
    inputs = judge_inputs(
        {"s": [at(1), at(2), at(3)]}, [SlotFact("s", at(1), "skipped", "paused", at(3))], [], BUDAPEST
    )
    assert [lack.why for lack in inputs.lacks] == ["slot 02:00 was skipped: paused"]
    assert inputs.settled


def test_what_nobody_decided_on_and_runs_that_go_on_are_waited_for() -> None:
    slots = [SlotFact("s", at(1), "fired", "")]
    unknown = judge_inputs({"s": [at(1), at(2), at(3)]}, slots, [], BUDAPEST)
    assert [lack.why for lack in unknown.lacks] == ["slot 03:00 and 1 more: no scheduler decided on it"]
    assert not unknown.settled
    runs = [RunFact("r", "s", "running", "", ended=False), RunFact("q", "s", "blocked", "robots", ended=True)]
    going_on = judge_inputs({"s": [at(1)]}, slots, runs, BUDAPEST)
    assert [lack.why for lack in going_on.lacks] == ["r has not ended: it is running", "q is blocked: robots"]
    assert not going_on.settled and going_on.open == {"s"}


@pytest.mark.servers
async def test_slots_count_since_the_source_file_says_so(world: World) -> None:
    hourly, daily = ("x: hourly", "x: daily")
    for version, hour, content in ((1, 1, hourly), (2, 9, daily), (3, 20, daily)):
        await world.sql(
            "INSERT INTO config.versions (version, created_at, author, via, sha256, content)"
            " VALUES (:version, :at, 'a', 'cli', '', CAST(:content AS jsonb))",
            version=version,
            at=at(hour, 30),
            content=json.dumps({"sources/s.yaml": content, "tidemill.yaml": str(version)}),
        )
    async with open_snapshot(world.engine) as connection:
        day = Day(date(2026, 3, 2), ZoneInfo("UTC"))
        inputs = await fetch_inputs(connection, day, {"s": source("0 * * * *")}, (), LATER)
    assert inputs.expected == {"s": 14}  # From 10:00 on.
