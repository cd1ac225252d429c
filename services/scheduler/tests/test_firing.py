"""Slots on real servers, with a clock that tests set."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from tidemill.common.telemetry.metrics import value

pytestmark = pytest.mark.servers


HOURLY = {"schedule": {"cron": "0 * * * *"}}


async def test_a_slot_fires_once_whoever_looks(station: Any) -> None:
    await station.apply(demo=HOURLY)
    assert await station.fire() == 0
    station.clock.pass_by(hours=1)
    await asyncio.gather(*(station.fire() for _ in range(4)))
    assert await station.slots() == ["07:00"]
    assert await station.runs() == ["demo-20260302T070000Z requested"]
    (message,) = await station.events("tidemill.run.requested.demo")
    assert message.headers["Nats-Msg-Id"] == "demo@2026-03-02T07:00:00Z"
    said = json.loads(message.data)
    assert (said["run"], said["trigger"], said["slot"]) == (
        "demo-20260302T070000Z",
        "schedule",
        "2026-03-02T07:00:00Z",
    )
    assert said["deadline"] == "2026-03-02T13:00:00Z"


async def test_downtime_leaves_one_run_and_a_row_for_each_slot_that_was_passed_over(station: Any) -> None:
    await station.apply(demo=HOURLY)
    station.clock.pass_by(hours=4, minutes=30)
    before = value("tidemill_slots_total", service="scheduler", source="demo", outcome="superseded")
    assert await station.fire() == 1
    assert await station.slots() == ["07:00 superseded", "08:00 superseded", "09:00 superseded", "10:00"]
    skipped = await station.events("tidemill.slot.skipped.demo")
    assert [json.loads(message.data)["reason"] for message in skipped] == ["superseded"] * 3
    assert value("tidemill_slots_total", service="scheduler", source="demo", outcome="superseded") == before + 3


async def test_a_pause_is_named_in_the_slots_it_cost(station: Any) -> None:
    await station.apply(demo=HOURLY, other=HOURLY)
    await station.hold("pause.source.demo")
    station.clock.pass_by(hours=2)
    assert await station.fire() == 1
    assert await station.slots() == ["07:00 superseded", "08:00"]  # Of the other one.
    await station.let_go("pause.source.demo")
    station.clock.pass_by(minutes=30)
    assert await station.fire() == 1
    (row,) = await station.sql("SELECT reason, detail FROM scheduler.slots WHERE source = 'demo' AND run IS NULL")
    assert tuple(row) == ("superseded", "pause.source.demo: a test")


async def test_an_edit_never_fires_the_past(station: Any) -> None:
    await station.apply(version=1, demo=HOURLY)
    station.clock.pass_by(hours=2)
    await station.apply(version=2, demo={"schedule": [{"cron": "*/10 * * * *", "missed": "all"}]})
    assert await station.fire() == 0
    assert await station.slots() == ["07:00 edited", "08:00 edited"]
    station.clock.pass_by(minutes=10)
    assert await station.fire() == 1
    assert (await station.slots())[2:] == ["08:10"]


async def test_other_allowed_hours_are_an_edit_and_another_policy_is_none(station: Any) -> None:
    await station.apply(version=1, demo=HOURLY)
    station.clock.pass_by(hours=2)
    await station.apply(version=2, demo={"schedule": {"cron": "0 * * * *", "missed": "all"}})
    await station.fire()
    assert await station.slots() == ["07:00", "08:00"]
    assert await station.runs() == ["demo-20260302T070000Z requested", "demo-20260302T080000Z waiting overlap"]
    station.clock.pass_by(hours=1)
    await station.apply(version=3, demo={"schedule": {"cron": "0 * * * *", "allowed": ["06:00-24:00"]}})
    assert (await station.slots())[2:] == ["09:00 edited"]


async def test_the_same_configuration_again_and_an_older_one_change_nothing(station: Any) -> None:
    await station.apply(version=2, demo=HOURLY)
    station.clock.pass_by(hours=1)
    await station.apply(version=2, demo=HOURLY)
    await station.apply(version=1, other=HOURLY)
    await station.apply(version=3, demo=HOURLY)
    await station.fire()
    assert await station.slots() == ["07:00"]
    assert await station.sql("SELECT source, config_version FROM scheduler.schedules") == [("demo", 3)]


async def test_a_source_that_is_taken_away_ends_and_begins_anew_when_it_comes_back(station: Any) -> None:
    await station.apply(version=1, demo=HOURLY)
    station.clock.pass_by(hours=1)
    await station.apply(version=2)
    assert await station.fire() == 0
    assert await station.slots() == ["07:00 edited"]
    station.clock.pass_by(hours=1)
    await station.apply(version=3, demo=HOURLY)
    assert await station.fire() == 0
    station.clock.pass_by(hours=1)
    assert await station.fire() == 1
    assert await station.slots() == ["07:00 edited", "09:00"]


async def test_what_one_schedule_skips_another_one_may_fire(station: Any) -> None:
    await station.apply(
        demo={
            "schedule": [{"every": "1h", "blackout": ["2026-03-02"]}, {"cron": "0 8 * * *"}],
            "run": {"overlap": "allow"},
        }
    )
    station.clock.pass_by(hours=2)
    while await station.fire():
        pass
    assert await station.slots() == ["07:00 blackout", "08:00"]
    assert len(await station.runs()) == 1


async def test_the_loop_sleeps_until_the_next_slot_and_wakes_for_changes(station: Any) -> None:
    firing = station.firing
    async with station.running(tasks=[firing.run]):
        await station.apply(demo={"schedule": {"every": "1s"}, "run": {"overlap": "allow"}})
        for _ in range(3):
            count = len(await station.slots())
            station.clock.pass_by(seconds=1)
            firing.wake()
            await station.until(lambda count=count: has_more(station, count))
        await station.hold("stop.all")
        await asyncio.sleep(1)  # A look that began before may still fire what is due by its clock.
        station.clock.pass_by(seconds=5)
        firing.wake()
        await asyncio.sleep(0.1)
        held = len(await station.slots())
        assert held == 3
        await station.let_go("stop.all")
        await station.until(lambda: has_more(station, held))


async def has_more(station: Any, count: int) -> bool:
    return len(await station.slots()) > count


async def test_a_stagger_delays_the_run_and_is_no_part_of_the_slot(station: Any) -> None:
    await station.apply(demo={"schedule": {"cron": "0 * * * *", "jitter": "10m"}})
    ((due,),) = await station.sql("SELECT due_at FROM scheduler.schedules")
    station.clock.time = due - timedelta(seconds=1)
    assert await station.fire() == 0
    station.clock.time = due
    assert await station.fire() == 1
    assert await station.slots() == ["07:00"]
