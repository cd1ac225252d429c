"""Runs that people, other runs and backfills begin."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tidemill.common.bus.client import CommandFailed, request_command
from tidemill.scheduler.backfill import Backfills
from tidemill.scheduler.ledger import Verdict, end_runs
from tidemill.scheduler.timetable import Timetable
from tidemill.scheduler.triggers import Triggers

pytestmark = pytest.mark.servers


@pytest.fixture
async def open_station(station: Any) -> AsyncIterator[Any]:
    """It takes triggers and commands."""
    triggers = Triggers(station.bus.control, station.admission)
    commands = (
        *triggers.commands(),
        *Backfills(station.admission).commands(),
        *Timetable(station.admission).commands(),
    )
    async with station.running(steps=triggers.steps(), commands=commands):

        async def answering() -> bool:
            try:
                return bool(await station.nc.request("$SRV.PING.scheduler", b"", timeout=1))
            except Exception:  # noqa: BLE001 nobody yet
                return False

        await station.until(answering)
        yield station


async def ask(station: Any, verb: str, **parameters: Any) -> dict[str, Any]:
    return await request_command(station.nc, "scheduler", verb, parameters)


async def refusal(station: Any, verb: str, **parameters: Any) -> str:
    with pytest.raises(CommandFailed) as refused:
        await ask(station, verb, **parameters)
    return str(refused.value)


async def end(station: Any, run: str, state: str = "complete") -> None:
    async with station.bus.transaction() as tx:
        await station.bus.emit(tx, await end_runs(tx, [Verdict(run, state, state, station.clock())]))


async def has_runs(station: Any, *runs: str) -> bool:
    return bool(await station.runs() == list(runs))


async def test_a_message_without_anything_in_it_begins_a_run(open_station: Any) -> None:
    await open_station.apply(demo={})
    await open_station.nc.jetstream().publish("tidemill.trigger.demo", b"")

    async def begun() -> bool:
        return len(await open_station.runs()) == 1

    await open_station.until(begun)
    ((trigger, actor),) = await open_station.sql("SELECT trigger, actor FROM scheduler.runs")
    assert (trigger, actor) == ("manual", "unknown")
    (message,) = await open_station.events("tidemill.run.requested.demo")
    assert json.loads(message.data)["trigger"] == "manual"
    ((action, target, after),) = await open_station.sql("SELECT action, target, after FROM scheduler.audit")
    assert (action, target, after["state"]) == ("run.request", "demo", "requested")


@pytest.mark.parametrize(
    ("subject", "payload", "sentence"),
    [
        ("tidemill.trigger.demo", b'{"issue": "57"}', "issue"),
        ("tidemill.trigger.demo", b'{"params": {"issue": 57}}', "params.issue"),
        ("tidemill.trigger.demmo", b"", "did you mean demo?"),
    ],
)
async def test_a_trigger_that_cannot_be_is_a_dead_letter_that_says_why(
    open_station: Any, subject: str, payload: bytes, sentence: str
) -> None:
    await open_station.apply(demo={})
    await open_station.nc.jetstream().publish(subject, payload)
    errors: list[Any] = []

    async def dead() -> bool:
        errors[:] = await open_station.sql("SELECT error FROM scheduler.dead_letters")
        return bool(errors)

    await open_station.until(dead)
    assert sentence in errors[0][0]
    assert await open_station.runs() == []


async def test_the_command_run_answers_with_the_run(open_station: Any) -> None:
    await open_station.apply(demo={})
    answer = await ask(open_station, "run", source="demo", params={"issue": "57"}, actor="anna", reason="a look")
    assert answer["state"] == "requested"
    ((run, params, actor),) = await open_station.sql("SELECT run, params, actor FROM scheduler.runs")
    assert (run, params, actor) == (answer["run"], {"issue": "57"}, "anna")
    assert answer["run"].replace("-", "").isalnum()
    assert "is under way" in await refusal(open_station, "run", source="demo")


async def test_what_the_command_refuses_it_explains(open_station: Any) -> None:
    await open_station.apply(demo={})
    assert "did you mean demo?" in await refusal(open_station, "run", source="dema")
    assert "texts by name" in await refusal(open_station, "run", source="demo", params={"issue": 57})
    assert "unknown parameter sauce" in await refusal(open_station, "run", sauce="demo")
    await open_station.hold("pause.source.demo")
    assert "`tidemill resume` lets it go on" in await refusal(open_station, "run", source="demo")
    assert await open_station.runs() == []


async def test_a_complete_run_begins_those_of_sources_after_it(open_station: Any) -> None:
    await open_station.apply(first={}, second={"run": {"after": ["first"]}}, third={"run": {"after": ["second"]}})
    answer = await ask(open_station, "run", source="first")
    await end(open_station, answer["run"], "failed")
    answer = await ask(open_station, "run", source="first")
    await end(open_station, answer["run"])

    async def followed() -> bool:
        return bool(await open_station.sql("SELECT 1 FROM scheduler.runs WHERE source = 'second'"))

    await open_station.until(followed)
    rows = await open_station.sql("SELECT trigger, actor FROM scheduler.runs WHERE source <> 'first'")
    assert rows == [("event", f"run {answer['run']}")]


async def test_a_run_that_waits_begins_when_the_other_one_ends(open_station: Any) -> None:
    open_station.clock.pass_by(seconds=1)
    await open_station.apply(one={"run": {"group": "heavy"}}, two={"run": {"group": "heavy"}})
    one = await ask(open_station, "run", source="one")
    open_station.clock.pass_by(seconds=1)
    two = await ask(open_station, "run", source="two")
    assert (two["state"], two["reason"]) == ("waiting", "1 of group heavy are under way")
    await end(open_station, one["run"])
    await open_station.until(
        lambda: has_runs(open_station, f"{one['run']} complete complete", f"{two['run']} requested")
    )


DAILY = {"schedule": {"cron": "0 6 * * *", "zone": "Europe/Budapest", "blackout": ["2026-02-25"]}}


async def test_a_backfill_is_shown_first(open_station: Any) -> None:
    await open_station.apply(demo=DAILY)
    shown = await ask(
        open_station, "backfill", source="demo", **{"from": "2026-02-23", "until": "2026-02-27"}, preview=True
    )
    assert (shown["slots"], shown["to_run"]) == (4, 4)
    assert shown["shown"] == [f"2026-02-{day}T05:00:00Z" for day in (23, 24, 26, 27)]
    assert await open_station.runs() == []


async def test_a_backfill_runs_so_many_at_a_time_beside_what_is_scheduled(open_station: Any) -> None:
    await open_station.apply(demo=DAILY)
    begun = await ask(
        open_station, "backfill", source="demo", concurrency=2, **{"from": "2026-02-20", "until": "2026-02-24"}
    )
    letters = begun["backfill"].rpartition("-")[2]
    runs = [f"demo-202602{day}T050000Z-{letters}" for day in (20, 21, 22, 23, 24)]
    waiting = "waiting backfill"
    assert await has_runs(
        open_station, *(f"{run} requested" for run in runs[:2]), *(f"{run} {waiting}" for run in runs[2:])
    )
    open_station.clock.pass_by(hours=24)
    await open_station.fire()
    assert "demo-20260303T050000Z requested" in await open_station.runs()
    for run, state in ((runs[0], "complete"), (runs[1], "failed"), (runs[2], "complete"), (runs[3], "partial")):
        await end(open_station, run, state)
        await open_station.limits.look()
    (standing,) = (await ask(open_station, "backfill-status", source="demo"))["backfills"]
    assert (standing["state"], standing["slots"], standing["ended"], standing["under_way"]) == ("running", 5, 4, 1)
    told = await ask(open_station, "backfill-status", backfill=begun["backfill"])
    assert [row["run"] for row in told["failed"]] == [runs[1], runs[3]]
    again = await ask(
        open_station, "backfill", source="demo", only="failed", **{"from": "2026-02-20", "until": "2026-02-24"}
    )
    assert (again["to_run"], again["first"], again["last"]) == (2, "2026-02-21T05:00:00Z", "2026-02-23T05:00:00Z")


async def test_a_cancelled_backfill_begins_nothing_more(open_station: Any) -> None:
    await open_station.apply(demo=DAILY)
    begun = await ask(open_station, "backfill", source="demo", **{"from": "2026-02-20", "until": "2026-02-22"})
    answer = await ask(open_station, "backfill-cancel", backfill=begun["backfill"], actor="anna")
    assert answer["cancelled"] == 3
    assert {row.split(" ", 1)[1] for row in await open_station.runs()} == {"cancelled backfill_cancelled"}
    (standing,) = (await ask(open_station, "backfill-status", backfill=begun["backfill"]))["backfills"]
    assert standing["state"] == "cancelled"
    rows = await open_station.sql("SELECT actor, action FROM scheduler.audit ORDER BY seq")
    assert rows == [("unknown", "backfill.begin"), ("anna", "backfill.cancel")]


async def test_what_a_backfill_refuses_it_explains(open_station: Any) -> None:
    await open_station.apply(demo=DAILY, idle={}, busy={"schedule": {"every": "1s"}})
    span = {"from": "2026-02-20", "until": "2026-02-22"}
    assert "has no schedule" in await refusal(open_station, "backfill", source="idle", **span)
    assert "more than 10000 slots" in await refusal(open_station, "backfill", source="busy", **span)
    assert "write a day" in await refusal(open_station, "backfill", source="demo", **{**span, "from": "monday"})
    assert "from 1 to 100" in await refusal(open_station, "backfill", source="demo", concurrency=0, **span)
    assert "all, missing, failed" in await refusal(open_station, "backfill", source="demo", only="some", **span)
    future = {"from": "2026-03-05", "until": "2026-03-06"}
    assert "before now" in await refusal(open_station, "backfill", source="demo", **future)
    assert "nothing to do" in await refusal(open_station, "backfill", source="demo", only="failed", **span)
    assert "there is no backfill" in await refusal(open_station, "backfill-cancel", backfill="demo-backfill-1")
    assert "there is no backfill" in await refusal(open_station, "backfill-status", backfill="demo-backfill-1")


async def test_schedules_are_shown_with_their_next_times_and_what_waits(open_station: Any) -> None:
    await open_station.apply(
        demo={"schedule": {"cron": "0 6 * * *", "zone": "Europe/Budapest", "blackout": ["2026-03-04"]}},
        other={"schedule": {"every": "1h"}, "run": {"overlap": "buffer"}},
    )
    for _ in range(2):
        open_station.clock.pass_by(hours=1)
        await open_station.fire()
    told = await ask(open_station, "schedules")
    assert [entry["schedule"] for entry in told["schedules"]] == ["cron 0 6 * * * Europe/Budapest", "every 1h"]
    assert told["schedules"][0]["next"] == [f"2026-03-0{day}T06:00:00+01:00" for day in (3, 5, 6, 7, 8)]
    assert told["schedules"][0]["last"] is None
    assert told["schedules"][1]["last"]["outcome"] == "fired"
    assert [(row["run"], row["waits_for"]) for row in told["waiting"]] == [("other-20260302T080000Z", "overlap")]
    only = await ask(open_station, "schedules", source="demo")
    assert (len(only["schedules"]), only["waiting"]) == (1, [])
    assert "there is no source nobody" in await refusal(open_station, "schedules", source="nobody")
