"""What becomes of slots whose time has passed."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tidemill.schedule import Cron, Days, Every, Missed, Schedule, Skip, Verdict, decide, newest_slots

SIX = datetime(2026, 3, 2, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
UTC_ZONE = ZoneInfo("UTC")
Policy = Literal["none", "latest", "all"]


def hourly(policy: Policy, *, within: timedelta = 24 * HOUR, most: int = 10, **more: object) -> Schedule:
    missed = Missed(policy=policy, within=within, most=most)
    return Schedule(timing=Cron.parse("0 * * * *"), zone=UTC_ZONE, missed=missed, **more)  # type: ignore[arg-type]


def told(verdicts: list[Verdict]) -> list[str]:
    return [f"{verdict.slot:%H} {verdict.skip or 'fires'}" for verdict in verdicts]


def test_a_slot_that_is_on_time_fires_whatever_the_policy() -> None:
    for policy in ("none", "latest", "all"):
        assert told(decide(hourly(policy), SIX, SIX + HOUR + timedelta(seconds=59))) == ["07 fires"]
    assert told(decide(hourly("none"), SIX, SIX + HOUR + timedelta(seconds=61))) == ["07 missed"]


def test_the_latest_of_the_missed_ones_fires() -> None:
    assert told(decide(hourly("latest"), SIX, SIX + 3.5 * HOUR)) == ["07 superseded", "08 superseded", "09 fires"]


def test_one_that_is_on_time_takes_the_place_of_those_that_were_missed() -> None:
    assert told(decide(hourly("latest"), SIX, SIX + 2 * HOUR)) == ["07 superseded", "08 fires"]
    assert told(decide(hourly("none"), SIX, SIX + 2 * HOUR)) == ["07 missed", "08 fires"]


def test_all_fires_the_newest_up_to_the_maximum() -> None:
    assert told(decide(hourly("all", most=2), SIX, SIX + 4.5 * HOUR)) == [
        "07 over_maximum",
        "08 over_maximum",
        "09 fires",
        "10 fires",
    ]


def test_what_is_older_than_the_window_is_not_caught_up_with() -> None:
    verdicts = decide(hourly("all", within=2 * HOUR), SIX, SIX + 4.5 * HOUR)
    assert told(verdicts) == ["07 too_old", "08 too_old", "09 fires", "10 fires"]
    assert told(decide(hourly("latest", within=HOUR / 4), SIX, SIX + 1.5 * HOUR)) == ["07 too_old"]


def test_a_blackout_is_skipped_in_time_and_late() -> None:
    schedule = hourly("all", blackout=(Days.parse("2026-03-02"),))
    assert told(decide(schedule, SIX, SIX + HOUR)) == ["07 blackout"]
    (first, _) = decide(schedule, SIX, SIX + 2.5 * HOUR)
    assert (first.skip, first.detail) == (Skip.BLACKOUT, "2026-03-02")


def test_an_edit_never_fires_the_past() -> None:
    assert told(decide(hourly("all"), SIX, SIX + 2 * HOUR, edited=True)) == ["07 edited", "08 edited"]


def test_a_slot_is_due_with_its_stagger() -> None:
    minutes = timedelta(minutes=10)
    assert decide(hourly("latest"), SIX, SIX + HOUR + timedelta(minutes=9), stagger=minutes) == []
    assert told(decide(hourly("none"), SIX, SIX + HOUR + minutes, stagger=minutes)) == ["07 fires"]


def test_of_very_many_the_old_ones_are_told_as_one_span() -> None:
    schedule = Schedule(timing=Every(timedelta(seconds=1)), zone=UTC_ZONE)
    span, *others = decide(schedule, SIX, SIX + 24 * HOUR)
    assert len(others) == 1000
    assert (span.slot, span.until) == (SIX + timedelta(seconds=1), others[0].slot - timedelta(seconds=1))
    assert span.skip is Skip.SUPERSEDED
    assert others[-1].skip is None
    assert decide(schedule, SIX, SIX + 24 * HOUR, edited=True)[0].skip is Skip.EDITED


@given(
    st.sampled_from(["none", "latest", "all"]),
    st.integers(1, 5),
    st.timedeltas(timedelta(0), timedelta(hours=40)),
    st.timedeltas(timedelta(minutes=1), timedelta(hours=30)),
    st.lists(st.integers(1, 40), max_size=4),
)
def test_each_slot_is_decided_once_in_order_however_often_one_looks(
    policy: Policy, most: int, late: timedelta, within: timedelta, looks: list[int]
) -> None:
    schedule = hourly(policy, within=within, most=most)
    end = SIX + late
    until, slots = SIX, []
    for moment in [*sorted(SIX + HOUR * hours for hours in looks if SIX + HOUR * hours < end), end]:
        verdicts = decide(schedule, until, moment)
        slots += [verdict.slot for verdict in verdicts]
        until = slots[-1] if slots else until
    assert slots == list(schedule.slots(SIX, end))


@given(st.sampled_from(["none", "latest", "all"]), st.integers(1, 5), st.timedeltas(timedelta(0), timedelta(hours=40)))
def test_no_more_fire_than_the_policy_says(policy: Policy, most: int, late: timedelta) -> None:
    fired = [verdict.slot for verdict in decide(hourly(policy, most=most), SIX, SIX + late) if verdict.skip is None]
    assert len(fired) <= {"none": 1, "latest": 1, "all": most + 1}[policy]
    assert all(SIX + late - slot <= 24 * HOUR for slot in fired)


@given(st.integers(1, 50), st.timedeltas(timedelta(0), timedelta(hours=100)))
def test_the_newest_slots_are_the_end_of_all_of_them(count: int, span: timedelta) -> None:
    schedule = hourly("latest")
    assert newest_slots(schedule, SIX, SIX + span, count) == list(schedule.slots(SIX, SIX + span))[-count:]
