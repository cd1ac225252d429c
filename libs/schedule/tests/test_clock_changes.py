"""The rule about clocks that are changed, place by place; times as the clock there shows them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schedule import Cron, Every, Schedule, instant, wall

TABLE = [
    # place, cron, from the day, to the day, what the clock shows at each slot
    ("Europe/Helsinki", "30 3 * * *", "2026-03-28", "2026-03-31", ["28 03:30+2", "29 04:30+3", "30 03:30+3"]),
    ("Europe/Helsinki", "30 3 * * *", "2026-10-24", "2026-10-27", ["24 03:30+3", "25 03:30+3", "26 03:30+2"]),
    ("Europe/Helsinki", "0 2-5 * * *", "2026-03-29", "2026-03-30", ["29 02:00+2", "29 04:00+3", "29 05:00+3"]),
    ("Europe/Helsinki", "0 3,4 * * *", "2026-10-25", "2026-10-26", ["25 03:00+3", "25 04:00+2"]),
    ("Europe/Helsinki", "0 * 29 3 *", "2026-03-29", "2026-03-29T05:30", "00+2 01+2 02+2 04+3 05+3"),
    ("Europe/Helsinki", "0 * 25 10 *", "2026-10-25", "2026-10-25T05:30", "00+3 01+3 02+3 03+3 03+2 04+2 05+2"),
    ("Europe/Helsinki", "0 0-23 25 10 *", "2026-10-25", "2026-10-25T04:30", "00+3 01+3 02+3 03+3 03+2 04+2"),
    ("Europe/Budapest", "15 2 * * *", "2026-03-28", "2026-03-31", ["28 02:15+1", "29 03:15+2", "30 02:15+2"]),
    ("Europe/Budapest", "15 2 * * *", "2026-10-24", "2026-10-27", ["24 02:15+2", "25 02:15+2", "26 02:15+1"]),
    ("Europe/Budapest", "*/20 2 * * *", "2026-10-25", "2026-10-26", ["25 02:00+2", "25 02:20+2", "25 02:40+2"]),
    ("Europe/Budapest", "*/20 2 * * *", "2026-03-29", "2026-03-30", ["29 03:00+2", "29 03:20+2", "29 03:40+2"]),
    ("Europe/Budapest", "0 30 2 * * *", "2026-03-29", "2026-03-30", ["29 03:30+2"]),
    ("Europe/Budapest", "0 30 2 * * *", "2026-10-25", "2026-10-26", ["25 02:30+2"]),
    ("America/New_York", "30 1 * * *", "2026-10-31", "2026-11-03", ["31 01:30-4", "01 01:30-4", "02 01:30-5"]),
    ("America/New_York", "30 2 * * *", "2026-03-07", "2026-03-10", ["07 02:30-5", "08 03:30-4", "09 02:30-4"]),
    # The shifted 2:45 is 3:45, after 3:00: in the order of time, and 3:45 only once.
    (
        "America/New_York", "0,45 2,3 * * *", "2026-03-08", "2026-03-09", ["08 03:00-4", "08 03:45-4"],
    ),
    # Half an hour forward: 2:00 to 2:30; and back at 2:00 to 1:30.
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03", "2026-10-06", ["03 02:15+10:30", "04 02:45+11", "05 02:15+11"]),
    ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04", "2026-04-07", ["04 01:45+11", "05 01:45+11", "06 01:45+10:30"]),
    (
        "Australia/Lord_Howe", "*/15 * 5 4 *", "2026-04-05T01:00", "2026-04-05T02:00+10:30",
        "01:00+11 01:15+11 01:30+11 01:45+11 01:30+10:30 01:45+10:30",
    ),
    # Samoa went from the 29th to the 31st of December 2011: the slots of the 30th are those of the next day.
    ("Pacific/Apia", "0 6 * * *", "2011-12-29", "2012-01-02", ["29 06:00-10", "31 06:00+14", "01 06:00+14"]),
    ("Pacific/Apia", "0 6 30 12 *", "2011-12-29", "2012-01-02", ["31 06:00+14"]),
    ("Pacific/Apia", "0 6 31 12 *", "2011-12-29", "2012-01-02", ["31 06:00+14"]),
]  # fmt: skip


def shown(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    offset = local.strftime("%z")
    hours, minutes = int(offset[:3]), offset[3:]
    return f"{local:%d %H:%M}{hours:+d}" + (f":{minutes}" if minutes != "00" else "")


def begin(text: str, zone: ZoneInfo) -> datetime:
    moment, plus, offset = text.partition("+")
    if plus:
        return datetime.fromisoformat(f"{moment}+{offset}")
    return instant(datetime.fromisoformat(moment), zone)


@pytest.mark.parametrize(("place", "cron", "first", "last", "expected"), TABLE)
def test_a_repeated_hour_runs_once_and_a_missing_hour_shifts(
    place: str, cron: str, first: str, last: str, expected: list[str] | str
) -> None:
    zone = ZoneInfo(place)
    schedule = Schedule(timing=Cron.parse(cron), zone=zone)
    slots = list(schedule.slots(begin(first, zone) - timedelta(seconds=1), begin(last, zone) - timedelta(seconds=1)))
    found = [shown(slot, zone) for slot in slots]
    if isinstance(expected, str):  # Of one day, in short.
        short = ":" in expected.split()[0].partition("+")[0]
        found = [text[3:] if short else text[3:].replace(":00", "", 1) for text in found]
        expected = expected.split()
    assert found == expected


ZONES = st.sampled_from(
    ["Europe/Helsinki", "Europe/Budapest", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut"]
)
YEAR = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31))  # noqa: DTZ001 - made aware below


@st.composite
def crons(draw: st.DrawFn) -> Cron:
    minute = draw(st.sampled_from(["0", "30", "*/15", "5,50", "0-10/5"]))
    hour = draw(st.sampled_from(["*", "*/2", "0", "1", "2", "3", "1-3", "0,2,3", "0-23"]))
    weekday = draw(st.sampled_from(["*", "0", "1-5"]))
    return Cron.parse(f"{minute} {hour} * * {weekday}")


@given(crons(), ZONES, YEAR)
def test_slots_come_in_the_order_of_time_and_each_once(cron: Cron, place: str, start: datetime) -> None:
    schedule = Schedule(timing=cron, zone=ZoneInfo(place))
    moment = start.replace(tzinfo=UTC)
    for _ in range(40):
        following = schedule.next_slot(moment)
        assert following is not None and following > moment
        moment = following


@given(crons(), ZONES, YEAR, st.timedeltas(timedelta(0), timedelta(days=2)))
def test_asking_in_between_changes_nothing(cron: Cron, place: str, start: datetime, ahead: timedelta) -> None:
    schedule = Schedule(timing=cron, zone=ZoneInfo(place))
    moment = start.replace(tzinfo=UTC)
    following = schedule.next_slot(moment)
    assert following is not None
    between = moment + min(ahead, following - moment - timedelta(microseconds=1))
    assert schedule.next_slot(between) == following


CHANGES = st.sampled_from([(3, 29), (10, 25), (3, 8), (11, 1), (4, 5), (10, 4)])


@given(st.integers(0, 23), st.sampled_from([0, 15, 30, 59]), ZONES, CHANGES)
def test_each_day_has_its_slot_whatever_the_clock_does(
    hour: int, minute: int, place: str, day: tuple[int, int]
) -> None:
    zone = ZoneInfo(place)
    schedule = Schedule(timing=Cron.parse(f"{minute} {hour} * * *"), zone=zone)
    first = datetime(2026, *day) - timedelta(days=3)  # noqa: DTZ001 - of the place
    slots = list(schedule.slots(instant(first, zone) - timedelta(seconds=1), instant(first + timedelta(days=7), zone)))
    days = [wall(slot, zone).date() for slot in slots if slot < instant(first + timedelta(days=7), zone)]
    assert days == [(first + timedelta(days=count)).date() for count in range(7)]


@given(ZONES, YEAR)
def test_an_interval_follows_time_and_not_the_clock(place: str, start: datetime) -> None:
    schedule = Schedule(timing=Every(timedelta(minutes=45)), zone=ZoneInfo(place))
    slots = list(schedule.slots(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + timedelta(days=1)))
    assert len(slots) == 32
    assert {later - earlier for earlier, later in pairwise(slots)} == {timedelta(minutes=45)}
