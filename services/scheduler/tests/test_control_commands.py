"""Stop, pause, resume, cancel, retry, status, why; and the mirror of the control bucket."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.micro import add_service

from tidemill.common.bus.client import CommandFailed, request_command
from tidemill.common.bus.control import Bucket
from tidemill.common.bus.step import CommandRefused, Outgoing
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import DocumentFailed, FetchHeld, RunPlanned
from tidemill.scheduler.admission import RunRequest
from tidemill.scheduler.commands import Commands, check_name, day, until
from tidemill.scheduler.control_mirror import ControlMirror, Known, differences, is_lost, said
from tidemill.scheduler.ledger import record_words
from tidemill.scheduler.words import word_of_failed, word_of_plan

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
FILES = {
    "paper": {
        "source": "paper",
        "download": {"url": "https://example.org/paper.pdf"},
        "schedule": {"cron": "0 6 * * *", "zone": "Europe/Budapest"},
    },
    "papers-old": {"source": "papers-old", "watch": {"folder": "inbox/papers-old"}},
}


@dataclass
class Desk:
    """Where commands are answered."""

    station: Any

    async def ask(self, verb: str, id: str | None = None, **parameters: Any) -> dict[str, Any]:
        return await request_command(self.station.nc, "scheduler", verb, parameters, id=id)

    async def audited(self) -> list[tuple[str, ...]]:
        rows = await self.station.sql("SELECT actor, via, action, target FROM scheduler.audit ORDER BY seq")
        return [tuple(row) for row in rows]

    async def ended_run(self, run: str = "paper-1", **failures: str) -> str:
        """A run of which these items failed."""
        bus, admission = self.station.bus, self.station.admission
        async with bus.transaction() as tx:
            await admission.request(tx, [RunRequest(run=run, source="paper", trigger="manual", params={"a": "1"})])
            items = ("fine", *failures)
            plan = RunPlanned(
                source="paper",
                run=run,
                trigger="manual",
                items=items[1:],
                closed=True,
                total=len(failures),
                planned_at=NOW,
            )
            words = [word_of_plan(plan)]
            for item, failure in failures.items():
                event = DocumentFailed(source="paper", run=run, item=item, failure=failure, failed_at=NOW)
                words.append(word_of_failed(event))
            await bus.emit(tx, await record_words(tx, words))
        return run


@pytest.fixture
async def desk(station: Any) -> AsyncIterator[Desk]:
    await station.apply(**{name: source for name, source in FILES.items() if "schedule" in source})
    async with answering(station):
        yield Desk(station)


@asynccontextmanager
async def answering(station: Any) -> AsyncIterator[None]:
    sources = {name: SourceFile.model_validate(source) for name, source in FILES.items()}
    commands = Commands(station.bus, station.admission, lambda: sources)
    mirror = ControlMirror(station.bus, station.telemetry.metrics)
    async with station.running(commands=commands.commands(), tasks=[mirror.run]):
        await station.until(lambda: answers(station))
        yield


async def answers(station: Any) -> bool:
    try:
        await request_command(station.nc, "scheduler", "status", timeout=1)
    except CommandFailed:
        return False
    return True


async def test_a_pause_holds_the_source_until_it_is_resumed(desk: Desk) -> None:
    answer = await desk.ask("pause", source="paper", reason="moving", until="2h", actor="anna", via="cli")
    assert (answer["key"], answer["reason"], answer["actor"]) == ("pause.source.paper", "moving", "anna")
    control = desk.station.bus.control
    await desk.station.until(lambda: control.paused("paper") == "pause.source.paper: moving", within=1)
    [row] = await desk.station.sql("SELECT key, actor FROM scheduler.control")
    assert tuple(row) == ("pause.source.paper", "anna")
    answer = await desk.ask("resume", source="paper", actor="ben")
    assert answer == {"resumed": ["pause.source.paper"], "still_held_by": ""}
    await desk.station.until(lambda: not control.paused("paper"), within=1)
    assert await desk.station.sql("SELECT 1 FROM scheduler.control") == []
    assert await desk.audited() == [
        ("anna", "cli", "control.pause", "pause.source.paper"),
        ("ben", "bus", "control.resume", "pause.source.paper"),
    ]


async def test_what_is_resumed_may_still_be_held_by_something_else(desk: Desk) -> None:
    await desk.ask("stop", all=True, reason="fire")
    await desk.ask("pause", source="paper")
    await desk.station.until(lambda: len(desk.station.bus.control.entries) == 2)
    answer = await desk.ask("resume", source="paper")
    assert (answer["resumed"], answer["still_held_by"]) == (["pause.source.paper"], "stop.all: fire")
    assert (await desk.ask("resume", source="paper"))["resumed"] == []
    await desk.ask("stop", source="paper")
    await desk.station.until(lambda: "stop.source.paper" in desk.station.bus.control.entries)
    answer = await desk.ask("resume", source="paper")
    assert (answer["resumed"], answer["still_held_by"]) == (["stop.source.paper"], "stop.all: fire")
    await desk.station.until(lambda: len(desk.station.bus.control.entries) == 1)
    status = await desk.ask("status")
    assert status["held"] == [{"key": "stop.all", "reason": "fire", "actor": "unknown"}]
    assert status["sources"][0]["held_by"] == "stop.all: fire"


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("pause", {"source": "papr"}, "there is no source papr; did you mean paper"),
    ("stop", {"service": "convertr"}, "there is no service convertr; did you mean converter?"),
    ("stop", {}, 'say what: {"source": "demo"}'),
    ("stop", {"source": "paper", "all": True}, "say what"),
    ("stop", {"sorce": "paper"}, "unknown parameter sorce; stop takes source"),
    ("pause", {"source": "paper", "until": "soon"}, "until is 'soon'; write 90m, 2h"),
    ("pause", {"source": "paper", "until": "2020-01-01"}, "which has passed"),
    ("pause", {"source": 5}, "source is a text, not 5"),
    ("cancel", {}, "say which run"),
    ("cancel", {"run": "paper-9"}, "there is no run paper-9; `tidemill runs list`"),
    ("status", {"source": "zeitung"}, "there are: paper, papers-old"),
    ("why", {}, "say which source"),
    ("why", {"source": "paper", "date": "tomorow"}, "date is 'tomorow'"),
    ("why", {"source": "papier"}, "there is no source papier; did you mean paper"),
]


async def test_what_cannot_be_done_is_answered_with_what_can(desk: Desk) -> None:
    for verb, parameters, sentence in REFUSED:
        with pytest.raises(CommandFailed, match=re.escape(sentence)):
            await desk.ask(verb, **parameters)
    assert await desk.audited() == []


async def test_a_cancelled_run_is_over_and_its_events_are_dropped(desk: Desk) -> None:
    async with desk.station.bus.transaction() as tx:
        answered = await desk.station.admission.request(
            tx, [RunRequest(run="paper-1", source="paper", trigger="manual")]
        )
        await desk.station.bus.emit(tx, answered.events)
    with pytest.raises(CommandFailed, match="did you mean paper-1"):
        await desk.ask("cancel", run="paper")
    assert await desk.ask("cancel", run="paper-1", reason="wrong day") == {
        "run": "paper-1",
        "state": "cancelled",
        "cancelled": True,
    }
    await desk.station.until(lambda: desk.station.bus.control.cancelled("paper-1"), within=1)
    assert (await desk.ask("cancel", run="paper-1"))["cancelled"] is False
    [finished] = await desk.station.events("tidemill.run.finished.*")
    assert json.loads(finished.data)["state"] == "cancelled"


async def test_a_run_that_is_cancelled_by_a_key_alone_is_over_too(desk: Desk) -> None:
    async with desk.station.bus.transaction() as tx:
        await desk.station.admission.request(tx, [RunRequest(run="paper-1", source="paper", trigger="manual")])
    await desk.station.bus.control.put("cancel.run.paper-1", "wrong")
    await desk.station.until(lambda: desk.station.sql("SELECT 1 FROM scheduler.runs WHERE state = 'cancelled'"))
    assert await desk.audited() == [("nats kv", "bucket", "control.set", "cancel.run.paper-1")]


async def test_a_retry_takes_what_failed(desk: Desk) -> None:
    run = await desk.ended_run(one="timeout", two="http")
    answer = await desk.ask("retry", id="again", run=run, actor="anna")
    assert (answer["state"], answer["retry_of"], answer["items"]) == ("requested", run, 2)
    assert await desk.ask("retry", id="again", run=run, actor="anna") == answer
    [event] = await desk.station.events("tidemill.run.requested.*")
    requested = json.loads(event.data)
    assert (requested["trigger"], requested["onlyItems"], requested["params"]) == ("retry", ["one", "two"], {"a": "1"})
    assert await desk.audited() == [("anna", "bus", "run.retry", run)]
    with pytest.raises(CommandFailed, match="is requested: cancel it first"):
        await desk.ask("retry", run=answer["run"])
    with pytest.raises(CommandFailed, match=r"not begun \(overlap\)"):
        await desk.ask("retry", run=run, failed_only=False)


async def test_a_retry_of_more_than_a_message_holds_is_refused(desk: Desk) -> None:
    run = await desk.ended_run(**{f"{number:04}{'x' * 900}": "http" for number in range(600)})
    with pytest.raises(CommandFailed, match="600 items of paper-1 failed, more than a message holds"):
        await desk.ask("retry", run=run)


async def test_of_a_complete_run_there_is_nothing_to_retry_but_all_of_it(desk: Desk) -> None:
    run = await desk.ended_run()
    with pytest.raises(CommandFailed, match="nothing of it failed"):
        await desk.ask("retry", run=run)
    assert (await desk.ask("retry", run=run, failed_only=False))["items"] == 0


async def test_a_file_that_came_by_itself_is_not_asked_for_again(desk: Desk) -> None:
    async with desk.station.bus.transaction() as tx:
        event = RunPlanned(source="papers-old", run="f", trigger="file", closed=True, planned_at=NOW)
        await record_words(tx, [word_of_plan(event)])
    with pytest.raises(CommandFailed, match="dead-letters replay --source papers-old"):
        await desk.ask("retry", run="f")


async def test_why_looks_at_tables_and_at_who_answers(desk: Desk) -> None:
    desk.station.clock.time = datetime.now(UTC)
    async with desk.station.bus.transaction() as tx:
        await desk.station.admission.request(tx, [RunRequest(run="paper-1", source="paper", trigger="manual")])
    answer = await desk.ask("why", source="paper")
    assert [each["why"] for each in answer["answers"]] == ["no_worker"]
    assert "no downloader is at work" in answer["answers"][0]["says"]
    await desk.ask("pause", source="paper", reason="moving")
    await desk.station.until(lambda: desk.station.bus.control.paused("paper"))
    answer = await desk.ask("why", source="paper")
    assert [each["why"] for each in answer["answers"]] == ["paused", "no_worker"]
    answer = await desk.ask("why", source="papers-old", date="yesterday")
    assert answer["answers"][0]["why"] == "no_file"
    run = await desk.ask("status", run="paper-1")
    assert run["runs"][0]["state"] == "requested"


async def test_why_knows_slots_failures_and_hosts_that_may_not_be_asked(desk: Desk) -> None:
    station = desk.station
    station.clock.time = now = datetime.now(UTC)
    await desk.ended_run("paper-1", one="http")
    await station.sql("UPDATE scheduler.run_items SET detail = '404 Not Found'")
    await station.sql(
        "INSERT INTO scheduler.slots (source, slot, schedule, outcome, reason, detail, due_at) "
        "VALUES ('paper', :now, 'cron', 'skipped', 'blackout', 'a holiday', :now)",
        now=now,
    )
    answers = (await desk.ask("why", source="paper"))["answers"]
    assert [each["why"] for each in answers] == ["failed", "skipped"]
    assert "http (404 Not Found)" in answers[0]["says"]
    assert "(blackout): a holiday" in answers[1]["says"]

    async with station.bus.transaction() as tx:
        await station.admission.request(tx, [RunRequest(run="paper-2", source="paper", trigger="manual")])
        held = FetchHeld(
            source="paper",
            run="paper-2",
            host="example.org",
            reason="breaker_open",
            detail="5 failures",
            until=now + timedelta(hours=1),
            held_at=now,
        )
        await station.bus.emit(tx, [Outgoing("held", held)])
    downloader = await add_service(station.nc, name="downloader", version="1.0.0")
    await station.until(lambda: told_held(desk))
    await downloader.stop()


async def told_held(desk: Desk) -> bool:
    (answer, *_) = (await desk.ask("why", source="paper"))["answers"]
    return answer["why"] == "held" and "example.org is not asked until" in answer["says"]


async def test_what_is_set_by_hand_is_mirrored_and_audited(desk: Desk) -> None:
    control = desk.station.bus.control
    await control.put("stop.source.paper", "too many requests")
    await desk.station.until(desk.audited)
    await control.remove("stop.source.paper")
    await desk.station.until(lambda: two(desk))
    assert await desk.audited() == [
        ("nats kv", "bucket", "control.set", "stop.source.paper"),
        ("nats kv", "bucket", "control.remove", "stop.source.paper"),
    ]


async def two(desk: Desk) -> bool:
    return len(await desk.audited()) == 2


async def test_a_stop_outlives_the_loss_of_the_bucket(desk: Desk) -> None:
    await desk.ask("stop", all=True, reason="fire", actor="anna")
    await desk.station.until(lambda: desk.station.sql("SELECT 1 FROM scheduler.control_bucket WHERE last_sequence > 0"))
    await desk.station.nc.jetstream().delete_stream("KV_tidemill-control")
    await desk.station.until(lambda: restored(desk))
    await desk.station.until(lambda: desk.station.bus.control.stopped() == "stop.all: fire")


async def test_a_bucket_that_comes_back_older_is_made_as_it_was(desk: Desk, nats_server: Any, tmp_path: Path) -> None:
    control = desk.station.bus.control
    await desk.ask("pause", source="paper")
    await desk.station.until(lambda: seen(desk, 1))
    older = await asyncio.to_thread(shutil.copytree, nats_server.store, tmp_path / "older")
    await desk.ask("resume", source="paper")
    await desk.ask("stop", all=True, reason="fire")
    await desk.station.until(lambda: seen(desk, 3))
    nats_server.kill()
    shutil.rmtree(nats_server.store)
    shutil.copytree(older, nats_server.store)
    await asyncio.to_thread(nats_server.prepare)
    nats_server.spawn()  # In this thread: the kernel ends a child with the thread that made it.
    await asyncio.to_thread(nats_server.wait)
    await desk.station.until(lambda: restored(desk))
    await desk.station.until(lambda: list(control.entries) == ["stop.all"])


async def seen(desk: Desk, sequence: int) -> bool:
    """The mirror knows the bucket up to there."""
    newest = "SELECT 1 FROM scheduler.control_bucket WHERE last_sequence >= :sequence"
    return bool(await desk.station.sql(newest, sequence=sequence))


async def restored(desk: Desk) -> bool:
    return ("scheduler", "bucket", "control.restore", "stop.all") in await desk.audited()


async def test_keys_of_runs_that_are_long_over_are_taken_away(desk: Desk) -> None:
    await desk.station.bus.control.put("cancel.run.old", "1")
    await desk.station.until(lambda: desk.station.sql("SELECT 1 FROM scheduler.control"))
    await desk.station.sql("UPDATE scheduler.control SET set_at = now() - interval '9 days'")
    await desk.station.until(lambda: not desk.station.bus.control.entries)


def bucket(created: str = "one", last: int = 5) -> Bucket:
    return Bucket({}, created, last)


def test_a_bucket_is_lost_when_it_is_another_or_younger_than_it_was() -> None:
    known = Known("one", 5)
    assert [is_lost(known, found) for found in (bucket(), bucket(last=6))] == [False, False]
    assert [is_lost(known, found) for found in (bucket("two", 9), bucket(last=4))] == [True, True]
    assert not is_lost(None, bucket())


def test_differences_name_both_sides() -> None:
    found = list(differences({"a": "1", "b": "2", "d": "5"}, {"b": "3", "c": "4", "d": "5\x00"}))
    assert [(one.key, one.mirror, one.bucket) for one in found] == [
        ("a", "1", None),
        ("b", "2", "3"),
        ("c", None, "4"),
    ]


def test_what_people_write_into_a_key_is_its_reason() -> None:
    assert [said(value) for value in ('{"reason": "x"}', "fire", "5", None)] == [
        {"reason": "x"},
        {"reason": "fire"},
        {"reason": "5"},
        {},
    ]


def test_an_end_is_a_length_of_time_or_a_moment() -> None:
    assert until({"until": "2h"}, NOW) == "2026-03-02T08:00:00+00:00"
    assert until({"until": "2026-12-24"}, NOW) == "2026-12-24T00:00:00+00:00"
    assert until({"until": "2026-12-24T18:00+01:00"}, NOW) == "2026-12-24T18:00:00+01:00"
    assert until({}, NOW) == ""


def test_days_have_words() -> None:
    assert day("", NOW) == day("today", NOW) == NOW.date()
    assert (day("yesterday", NOW), day("2026-01-02", NOW)) == (
        (NOW - timedelta(days=1)).date(),
        date(2026, 1, 2),
    )


def test_an_unknown_name_without_likeness_lists_all() -> None:
    with pytest.raises(CommandRefused, match="there are: none"):
        check_name("source", "x", [])
