"""What people write, and the slots it means."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schedule import (
    Cron,
    Days,
    Every,
    Hours,
    InvalidSchedule,
    Once,
    Schedule,
    expected_slots,
    find_zone,
    next_slots,
)

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
BUDAPEST = ZoneInfo("Europe/Budapest")


def cron(text: str, zone: ZoneInfo = BUDAPEST, **more: object) -> Schedule:
    return Schedule(timing=Cron.parse(text), zone=zone, **more)  # type: ignore[arg-type]


def texts(slots: list[datetime]) -> list[str]:
    return [f"{slot:%a %d %H:%M:%S}" for slot in slots]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("0 6 * * 2,5", ["Tue 03 05:00:00", "Fri 06 05:00:00", "Tue 10 05:00:00"]),
        ("*/20 7 * * MON", ["Mon 02 06:20:00", "Mon 02 06:40:00", "Mon 09 06:00:00"]),
        ("15 30 7 * * *", ["Mon 02 06:30:15", "Tue 03 06:30:15", "Wed 04 06:30:15"]),
        ("*/20 * * * * *", ["Mon 02 06:00:20", "Mon 02 06:00:40", "Mon 02 06:01:00"]),
        ("0 12 L * *", ["Tue 31 10:00:00", "Thu 30 10:00:00", "Sun 31 10:00:00"]),
        ("0 6 1 4 *", ["Wed 01 04:00:00", "Thu 01 04:00:00", "Sat 01 04:00:00"]),
    ],
)
def test_cron_has_five_fields_or_six_with_seconds_first(text: str, slots: list[str]) -> None:
    assert texts(next_slots(cron(text), MONDAY, 3)) == slots


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("61 * * * *", "61 is no minute; write 0 to 59"),
        ("0 24 * * *", "24 is no hour; write 0 to 23"),
        ("0 6 32 * *", "32 is no day of month; write 1 to 31"),
        ("0 6 * 13 *", "13 is no month; write 1 to 12"),
        ("0 6 * * FRY", "FRY is no day of week; write 0 (Sunday) to 7"),
        ("x 0 6 * * *", "x is no second; write 0 to 59"),
        ("0 6 31 2,4 *", "none of these months has such a day"),
        ("@daily", "has 1 fields; write 5"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_work(text: str, sentence: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        Cron.parse(text)
    assert raised.value.field == "cron"
    assert sentence in str(raised.value)


def test_an_interval_is_counted_from_a_monday() -> None:
    assert texts(next_slots(Schedule(timing=Every(timedelta(minutes=15)), zone=BUDAPEST), MONDAY, 2)) == [
        "Mon 02 06:15:00",
        "Mon 02 06:30:00",
    ]
    weekly = Schedule(timing=Every(timedelta(days=7)), zone=BUDAPEST)
    assert texts(next_slots(weekly, MONDAY, 2)) == ["Mon 09 00:00:00", "Mon 16 00:00:00"]
    assert weekly.name == "every 7d"


def test_once_is_a_time_of_a_place() -> None:
    once = Schedule(timing=Once.parse("2026-03-29T02:30"), zone=BUDAPEST)
    assert next_slots(once, MONDAY) == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC)]
    assert next_slots(once, datetime(2026, 3, 29, 1, 30, tzinfo=UTC)) == []
    assert once.name == "at 2026-03-29T02:30 Europe/Budapest"


def test_unknown_zones_come_with_a_near_one() -> None:
    with pytest.raises(InvalidSchedule, match="write one such as Europe/Helsinki"):
        find_zone("Europe/Helsinky")
    with pytest.raises(InvalidSchedule, match="is no IANA time zone"):
        find_zone("../../etc/passwd")


def test_hours_that_are_allowed_decide_which_slots_there_are() -> None:
    office = cron("0 */4 * * *", allowed=(Hours.parse("08:00-12:00"), Hours.parse("20:00-04:00")))
    assert texts(next_slots(office, MONDAY, 5)) == [
        "Mon 02 07:00:00",  # 8:00 in Budapest; 12:00 is no longer in the first span.
        "Mon 02 19:00:00",
        "Mon 02 23:00:00",
        "Tue 03 07:00:00",
        "Tue 03 19:00:00",
    ]
    every_second = cron("* * * * * *", allowed=(Hours.parse("06:00-06:01"),))
    assert texts(next_slots(every_second, MONDAY, 1)) == ["Tue 03 05:00:00"]


def test_a_schedule_that_can_never_run_has_no_slots() -> None:
    assert cron("0 3 * * *", allowed=(Hours.parse("06:00-22:00"),)).next_slot(MONDAY) is None


def test_slots_of_a_blackout_exist_and_are_not_expected() -> None:
    holidays = cron("0 6 * * *", blackout=(Days.parse("2026-03-03..2026-03-04"), Days.parse("2026-03-06")))
    week = MONDAY + timedelta(days=5)
    assert len(list(holidays.slots(MONDAY, week))) == 5
    assert texts(expected_slots(holidays, MONDAY, week)) == ["Thu 05 05:00:00", "Sat 07 05:00:00"]
    assert holidays.blacked_out(datetime(2026, 3, 6, 5, tzinfo=UTC)) == Days(date(2026, 3, 6), date(2026, 3, 6))


@pytest.mark.parametrize("text", ["6-22", "06:00", "24:00-06:00", "06:00-06:00", "06:61-07:00", "06:00-25:00"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidSchedule):
        Hours.parse(text)


@pytest.mark.parametrize("text", ["06:00-22:00", "22:00-06:00", "18:00-24:00", "00:00-24:00"])
def test_hours_are_shown_as_they_were_written(text: str) -> None:
    assert str(Hours.parse(text)) == text


def test_days_are_shown_as_they_were_written() -> None:
    assert str(Days.parse("2026-12-24..2026-12-26")) == "2026-12-24..2026-12-26"
    assert str(Days.parse("2026-12-24")) == "2026-12-24"


@given(st.text("abcdefgh-", min_size=1, max_size=20), st.integers(1, 3600))
def test_a_stagger_is_less_than_the_jitter_and_always_the_same(source: str, seconds: int) -> None:
    hourly = cron("0 * * * *", jitter=timedelta(seconds=seconds))
    stagger = hourly.stagger(source)
    assert timedelta(0) <= stagger < timedelta(seconds=seconds)
    assert stagger == cron("0 * * * *", jitter=timedelta(seconds=seconds)).stagger(source)


def test_staggers_of_many_sources_are_spread() -> None:
    hourly = cron("0 * * * *", jitter=timedelta(minutes=10))
    minutes = {hourly.stagger(f"source-{number}") // timedelta(minutes=1) for number in range(200)}
    assert minutes == set(range(10))
