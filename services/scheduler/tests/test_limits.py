"""Each limit, reached by what really reaches it."""

import asyncio
import json
from typing import Any

import pytest

from tidemill.common.config.units import size_text
from tidemill.common.events import RunPlanned
from tidemill.common.telemetry.metrics import value
from tidemill.scheduler.ledger import Verdict, end_runs, record_words
from tidemill.scheduler.triggers import Triggers
from tidemill.scheduler.words import word_of_plan

pytestmark = pytest.mark.servers

HOURLY = {"cron": "0 * * * *"}


async def slot(station: Any) -> None:
    """An hour passes, and what is due is fired."""
    station.clock.pass_by(hours=1)
    await station.fire()


async def end(station: Any, run: str, state: str = "complete") -> None:
    """As the ledger would, without what follows from it."""
    async with station.bus.transaction() as tx:
        await station.bus.emit(tx, await end_runs(tx, [Verdict(run, state, state, station.clock())]))


async def plan(station: Any, source: str, run: str) -> None:
    said = RunPlanned(source=source, run=run, trigger="schedule", items=("a",), planned_at=station.clock())
    async with station.bus.transaction() as tx:
        await station.bus.emit(tx, await record_words(tx, [word_of_plan(said)]))


FIRST, SECOND, THIRD = (f"demo-20260302T0{hour}0000Z" for hour in (7, 8, 9))


async def test_overlap_skip_leaves_the_slot_with_a_reason(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY})
    await slot(station)
    await slot(station)
    assert await station.slots() == ["07:00", "08:00 overlap"]
    ((detail,),) = await station.sql("SELECT detail FROM scheduler.slots WHERE reason = 'overlap'")
    assert detail == f"{FIRST} is under way"
    (message,) = await station.events("tidemill.slot.skipped.demo")
    assert json.loads(message.data)["reason"] == "overlap"
    await end(station, FIRST)
    await slot(station)
    assert (await station.slots())[-1] == "09:00"


async def test_overlap_buffer_lets_one_wait(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"overlap": "buffer", "start_within": "1d"}})
    for _ in range(3):
        await slot(station)
    assert await station.slots() == ["07:00", "08:00", "09:00 overlap"]
    assert await station.runs() == [f"{FIRST} requested", f"{SECOND} waiting overlap"]
    await end(station, FIRST)
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} complete complete", f"{SECOND} requested"]


async def test_overlap_cancel_ends_the_other_and_has_its_jobs_dropped(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"overlap": "cancel"}})
    await slot(station)
    await slot(station)
    assert await station.runs() == [f"{FIRST} cancelled overlap", f"{SECOND} requested"]
    await station.limits.look()
    await station.until(lambda: station.bus.control.cancelled(FIRST) is not None)


async def test_overlap_allow_runs_both(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"overlap": "allow"}})
    await slot(station)
    await slot(station)
    assert await station.runs() == [f"{FIRST} requested", f"{SECOND} requested"]


async def test_missed_slots_that_are_all_fired_run_one_after_the_other(station: Any) -> None:
    await station.apply(demo={"schedule": {**HOURLY, "missed": "all"}})
    station.clock.pass_by(hours=3)
    await station.fire()
    assert await station.runs() == [f"{FIRST} requested", f"{SECOND} waiting overlap", f"{THIRD} waiting overlap"]
    for run, follower in ((FIRST, SECOND), (SECOND, THIRD)):
        await end(station, run)
        await station.limits.look()
        assert f"{follower} requested" in await station.runs()


async def test_a_run_that_nobody_takes_up_fails(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"start_within": "10m"}})
    await slot(station)
    station.clock.pass_by(minutes=9)
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} requested"]
    station.clock.pass_by(minutes=2)
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} failed not_started"]
    (message,) = await station.events("tidemill.run.finished.demo")
    assert (json.loads(message.data)["state"], json.loads(message.data)["reason"]) == ("failed", "not_started")


async def test_a_run_that_takes_too_long_is_timed_out_and_its_jobs_are_dropped(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"start_within": "10m", "time_limit": "2h"}})
    await slot(station)
    await plan(station, "demo", FIRST)
    station.clock.pass_by(hours=1, minutes=59)
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} planned"]
    station.clock.pass_by(minutes=2)
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} timed_out time_limit"]
    await station.until(lambda: station.bus.control.cancelled(FIRST) == f"cancel.run.{FIRST}: time_limit")
    await station.limits.look()
    assert len(await station.events("tidemill.run.finished.demo")) == 1


async def test_a_stop_freezes_the_clocks_of_runs(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"time_limit": "2h"}}, other={"schedule": HOURLY})
    await slot(station)
    await plan(station, "demo", FIRST)
    await station.hold("stop.source.demo")
    await station.limits.look()
    station.clock.pass_by(hours=5)
    await station.limits.look()
    assert f"{FIRST} planned" in await station.runs()
    await station.let_go("stop.source.demo")
    await station.limits.look()
    station.clock.pass_by(hours=1, minutes=59)
    await station.limits.look()
    assert f"{FIRST} planned" in await station.runs()
    station.clock.pass_by(minutes=2)
    await station.limits.look()
    assert f"{FIRST} timed_out time_limit" in await station.runs()


async def test_a_stopped_service_freezes_the_clocks_of_runs_that_wait_for_it(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"start_within": "10m"}})
    await slot(station)
    await station.hold("pause.service.downloader")
    await station.limits.look()
    station.clock.pass_by(hours=1)
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} requested"]


async def test_a_group_has_room_for_so_many_runs(station: Any) -> None:
    station.groups = {"heavy": 2}
    names = ("one", "two", "three", "four")
    await station.apply(**{name: {"schedule": HOURLY, "run": {"group": "heavy"}} for name in names})
    await slot(station)
    states = [row.split(" ", 1)[1] for row in await station.runs()]
    assert sorted(states) == ["requested", "requested", "waiting group", "waiting group"]
    await station.limits.look()
    assert value("tidemill_runs_waiting", service="scheduler", reason="group") == 2
    first = next(row for row in await station.runs() if row.endswith(" requested")).split()[0]
    await end(station, first)
    await station.limits.look()
    assert sorted(row.split(" ", 1)[1] for row in await station.runs()) == [
        "complete complete",
        "requested",
        "requested",
        "waiting group",
    ]


async def test_replicas_together_keep_to_the_size_of_a_group(station: Any) -> None:
    names = [f"source{number}" for number in range(20)]
    station.groups = {"heavy": 3}
    await station.apply(**{name: {"schedule": HOURLY, "run": {"group": "heavy"}} for name in names})
    station.clock.pass_by(hours=1)
    await asyncio.gather(*(station.fire() for _ in range(4)))
    states = [row.split(" ", 1)[1] for row in await station.runs()]
    assert (states.count("requested"), states.count("waiting group")) == (3, 17)


async def test_a_disk_without_room_holds_runs_until_there_is_some(station: Any) -> None:
    await station.apply(demo={"schedule": HOURLY, "run": {"start_within": "10m"}})
    station.disk_reserve = 1_000_000_000_000_000
    assert size_text(station.disk_reserve) in (station.admission.disk_problem() or "")
    await slot(station)
    assert await station.runs() == [f"{FIRST} waiting disk"]
    station.disk_reserve = 1
    await station.limits.look()
    assert await station.runs() == [f"{FIRST} requested"]
    await end(station, FIRST)
    station.disk_reserve = 1_000_000_000_000_000
    await slot(station)
    station.clock.pass_by(minutes=11)
    await station.limits.look()
    assert f"{SECOND} failed waited_for_disk" in await station.runs()


async def test_a_source_that_keeps_failing_is_paused_once(station: Any) -> None:
    triggers = Triggers(station.bus.control, station.admission)
    await station.apply(demo={"schedule": HOURLY, "run": {"pause_after_failures": 3}})
    async with station.running(steps=triggers.steps()):
        for hour, state in enumerate(("failed", "failed", "complete", "timed_out", "cancelled", "failed", "blocked")):
            await slot(station)
            await end(station, f"demo-20260302T{hour + 7:02}0000Z", state)
            await station.until(lambda hour=hour: followed_up(station, hour + 1))
            if hour < 6:
                await station.limits.look()
                assert "pause.source.demo" not in station.bus.control.entries
        await station.limits.look()
    await station.until(lambda: station.bus.control.paused("demo") is not None)
    assert station.bus.control.paused("demo") == "pause.source.demo: 3 failed runs in a row"
    rows = await station.sql("SELECT actor, action, target FROM scheduler.audit")
    assert rows == [("scheduler", "control.pause", "pause.source.demo")]
    await station.let_go("pause.source.demo")
    await station.limits.look()
    assert "pause.source.demo" not in station.bus.control.entries


async def followed_up(station: Any, count: int) -> bool:
    rows = await station.sql("SELECT count(*) FROM scheduler.inbox WHERE consumer = 'scheduler-ended'")
    return bool(rows[0][0] == count)


async def test_a_run_that_nobody_asked_for_ends_when_nothing_is_heard_of_it(station: Any) -> None:
    await station.apply(demo={})
    await plan(station, "demo", "demo-file-1")
    await station.sql("UPDATE scheduler.runs SET trigger = 'file'")
    station.clock.pass_by(days=6)
    await station.limits.look()
    assert await station.runs() == ["demo-file-1 planned"]
    await station.hold("pause.source.demo")
    station.clock.pass_by(days=6)
    await station.limits.look()
    await station.let_go("pause.source.demo")
    await station.limits.look()
    assert await station.runs() == ["demo-file-1 planned"]
    station.clock.pass_by(days=8)
    await station.limits.look()
    assert await station.runs() == ["demo-file-1 timed_out no_progress"]
