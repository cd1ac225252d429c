"""Rules that ship, fired by what really causes them: the scheduler's own code on the same tables, or its absence."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.config import Sources
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import RunPlanned
from tidemill.scheduler.admission import Admission, RunRequest
from tidemill.scheduler.backups import report
from tidemill.scheduler.firing import Firing
from tidemill.scheduler.ledger import Verdict, end_runs, record_words
from tidemill.scheduler.schedules import apply_schedules
from tidemill.scheduler.words import word_of_plan

pytestmark = pytest.mark.servers

HOURLY = {"every": "1h", "jitter": "0s"}


class Scheduler:
    """The scheduler's code, which works when the test says so: dead in between."""

    def __init__(self, station: Any) -> None:
        self._station = station
        self._admission = Admission(
            control=station.bus.control, groups={}, data_dir=station.folder, disk_reserve=0, now=station.clock
        )

    async def apply(self, **sources: dict[str, Any]) -> None:
        station = self._station
        files = {name: SourceFile.model_validate({"source": name, **says}) for name, says in sources.items()}
        station.sources = Sources(files)
        station.replica = None
        async with station.bus.transaction() as tx:
            await station.bus.emit(tx, await apply_schedules(tx, files, 0, station.clock()))

    async def fire(self) -> None:
        station = self._station
        firing = Firing(station.bus, station.engine, self._admission, station.telemetry.metrics, now=station.clock)
        await firing.note_held()
        while await firing.fire_due():
            pass

    async def request(self, run: str, source: str = "paper") -> None:
        async with self._station.bus.transaction() as tx:
            request = RunRequest(run=run, source=source, trigger="manual", slot=None, actor="eva")
            answered = await self._admission.request(tx, [request])
            await self._station.bus.emit(tx, answered.events)

    async def plan(self, run: str, source: str = "paper") -> None:
        station = self._station
        said = RunPlanned(source=source, run=run, trigger="manual", items=("a",), planned_at=station.clock())
        async with station.bus.transaction() as tx:
            await station.bus.emit(tx, await record_words(tx, [word_of_plan(said)]))

    async def end(self, run: str, state: str) -> None:
        async with self._station.bus.transaction() as tx:
            verdict = Verdict(run, state, state, self._station.clock())
            await self._station.bus.emit(tx, await end_runs(tx, [verdict]))


@pytest.fixture
def scheduler(station: Any) -> Scheduler:
    """At ten past, so that slots of every hour are as many whenever the test runs."""
    station.clock.time = station.clock.time.replace(minute=10, second=0, microsecond=0)
    return Scheduler(station)


async def test_a_backup_that_does_not_come_is_missed_where_they_come_by_themselves(station: Any) -> None:
    async def told(hours_ago: int, *, scheduled: bool = True, problem: str = "") -> None:
        began_at = (station.clock() - timedelta(hours=hours_ago)).isoformat()
        times = {"began_at": began_at, "finished_at": began_at, "name": began_at, "folder": "/backups"}
        async with station.bus.transaction() as tx:
            await report(tx, "id", {**times, "scheduled": scheduled, "problem": problem})

    await told(100, scheduled=False)  # By hand, once: nobody promised another.
    await station.look()
    assert "backup_old" not in await station.states()
    await told(20)
    await station.look(minutes=2)
    assert "backup_old" not in await station.states()
    await told(1, problem="the disk is full")
    await station.look(hours=7)
    ((says,),) = await station.sql("SELECT description FROM alerter.alerts WHERE rule = 'backup_old'")
    assert says.startswith("the last good one is /backups/") and says.endswith("the last attempt: the disk is full")
    assert (await station.states())["backup_old"] == "firing"
    await told(0)
    await station.look(minutes=2)
    assert (await station.states())["backup_old"] == "resolved"


async def test_slots_are_missed_while_every_scheduler_is_dead(station: Any, scheduler: Scheduler) -> None:
    await scheduler.apply(paper={"schedule": HOURLY})
    station.clock.pass_by(hours=1)
    await scheduler.fire()
    await station.look()
    assert "slot_missed" not in await station.states()
    await station.look(hours=2, minutes=5)  # Nobody fires.
    assert (await station.states())["slot_missed"] == "pending"
    await station.look(minutes=1)
    ((summary, severity),) = await station.sql(
        "SELECT summary, severity FROM alerter.alerts WHERE rule = 'slot_missed' AND state = 'firing'"
    )
    assert summary == "paper has not run: 2 slots are due and nobody fired them" and severity == "critical"
    await scheduler.fire()  # It is there again.
    await station.look()
    assert (await station.states())["slot_missed"] == "resolved"


async def test_slots_of_a_source_that_no_scheduler_ever_saw_are_missed(station: Any) -> None:
    station.sources = Sources({"paper": SourceFile.model_validate({"source": "paper", "schedule": HOURLY})})
    await station.look()
    assert not await station.states()
    await station.look(hours=3)
    await station.look(minutes=1)
    assert (await station.states())["slot_missed"] == "firing"


async def test_a_paused_source_misses_nothing(station: Any, scheduler: Scheduler) -> None:
    await scheduler.apply(paper={"schedule": HOURLY})
    await station.bus.control.put("pause.source.paper", '{"reason": "a test"}')
    await station.until(lambda: "pause.source.paper" in station.bus.control.entries)
    await station.look(hours=3)
    assert "slot_missed" not in await station.states()


async def test_skipped_slots_are_told_with_their_reason(station: Any, scheduler: Scheduler) -> None:
    async with station.running():
        await scheduler.apply(paper={"schedule": {**HOURLY, "missed": "none"}})
        station.clock.pass_by(hours=1, minutes=30)
        await scheduler.fire()
        await station.until(lambda: noted(station, "SlotSkipped"))
        await station.look()
        assert (await station.states())["slot_skipped"] == "firing"


async def noted(station: Any, event: str) -> bool:
    return bool(await station.sql("SELECT 1 FROM alerter.signals WHERE event = :event", event=event))


async def test_a_run_that_nobody_takes_up_is_late(station: Any, scheduler: Scheduler) -> None:
    await scheduler.apply(paper={"download": {"url": "http://127.0.0.1:1/a.pdf"}, "run": {"start_within": "1d"}})
    await scheduler.request("paper-1")
    await station.look(minutes=5)
    assert "run_late" not in await station.states()
    await station.look(minutes=15)
    assert (await station.states())["run_late"] == "firing"


async def test_a_run_that_takes_much_longer_than_the_last_ones_is_told(station: Any, scheduler: Scheduler) -> None:
    await scheduler.apply(paper={"download": {"url": "http://127.0.0.1:1/a.pdf"}, "run": {"time_limit": "1d"}})
    for number in range(3):
        await scheduler.request(f"paper-{number}")
        await scheduler.plan(f"paper-{number}")
        station.clock.pass_by(minutes=2)
        await scheduler.end(f"paper-{number}", "complete")
    await scheduler.request("paper-9")
    await scheduler.plan("paper-9")
    await station.look(minutes=5)
    assert "run_too_long" not in await station.states()
    await station.look(minutes=5)
    assert (await station.states())["run_too_long"] == "firing"


async def test_a_queue_that_nobody_takes_from_is_told(station: Any, scheduler: Scheduler) -> None:
    """The consumer is there, and its service is not."""
    from tidemill.alerter.steps import steps
    from tidemill.common.bus.topology import ensure_consumers

    for step in steps():
        await ensure_consumers(station.nc.jetstream(), step)
    await scheduler.apply(paper={"schedule": {**HOURLY, "missed": "none"}})
    station.clock.pass_by(hours=1, minutes=30)
    await scheduler.fire()
    await station.look()
    assert (await station.states()).get("no_consumer") == "pending"
    await station.look(minutes=3)
    assert (await station.states())["no_consumer"] == "firing"
    await station.look(minutes=10)
    assert (await station.states())["queue_old"] == "firing"


async def test_a_queue_that_grows_is_told(station: Any, scheduler: Scheduler) -> None:
    from tidemill.alerter.steps import steps
    from tidemill.common.bus.topology import ensure_consumers

    station.configure("alerter: {rules: {queue_growing: {above: 3}}}")
    for step in steps():
        await ensure_consumers(station.nc.jetstream(), step)
    await scheduler.apply(paper={"schedule": {**HOURLY, "missed": "none"}})
    station.clock.pass_by(hours=4, minutes=30)
    await scheduler.fire()
    await station.look()
    assert (await station.states())["queue_growing"] == "pending"
    await station.look(minutes=11)
    assert (await station.states())["queue_growing"] == "firing"


async def test_a_channel_that_takes_nothing_is_told_through_another(station: Any, scheduler: Scheduler) -> None:
    """Nobody listens on the port of `chat`."""
    from tidemill.alerter.commands import Commands

    station.configure(
        """
channels:
  chat: {slack: {url: "http://127.0.0.1:1/${env:HOME}", allow_private: ["127.0.0.1:1"]}, give_up_after: 1s}
  boss: {slack: {url: "http://127.0.0.1:1/${env:HOME}", allow_private: ["127.0.0.1:1"]}}
alerter:
  routes: [{to: [chat, boss], group_by: [rule], group_wait: 0s}]
"""
    )
    async with station.running(Commands(station.deliveries, station.clock).commands()):
        station.sources = Sources({"paper": SourceFile.model_validate({"source": "paper", "schedule": HOURLY})})
        await station.look()
        await station.look(hours=3)
        await station.look(minutes=1)
        for _ in range(5):
            await station.deliveries.round()
            station.clock.pass_by(minutes=1)
        await station.look()
        assert (await station.states())["channel_broken"] == "firing"
        ((summary,),) = await station.sql("SELECT summary FROM alerter.alerts WHERE rule = 'channel_broken'")
        assert summary == "channel chat gave up 1 messages"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can make a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be made here: {made.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_fills_is_told_and_resolved_when_there_is_room(station: Any, small_disk: Path) -> None:
    station.configure(f"data_dir: {small_disk}\nalerter: {{}}")
    await station.look()
    assert "disk_filling" not in await station.states()
    (small_disk / "big").write_bytes(bytes(9_500_000))
    await station.look()
    await station.look(minutes=1)
    assert (await station.states())["disk_filling"] == "firing"
    (small_disk / "big").unlink()
    await station.look()
    await station.look(minutes=6)
    assert (await station.states())["disk_filling"] == "resolved"


async def test_a_replica_that_is_gone_without_leave_is_lost_until_another_one_takes_its_place(station: Any) -> None:
    from tidemill.common.config.versions import Acknowledgement, acknowledge

    async with station.engine.begin() as tx:
        for instance in ("one", "two"):
            await acknowledge(tx, Acknowledgement("converter", instance, 1, 1))
    await station.sql(
        "UPDATE config.acknowledgements SET began_at = began_at - interval '1 hour'"
    )  # They are at work for long.
    await station.look()
    assert not {"replica_lost", "service_down"} & (await station.states()).keys()
    await _silent(station, "one")
    await station.look()
    await station.look(seconds=30)
    assert (await station.states())["replica_lost"] == "firing"
    async with station.engine.begin() as tx:
        await acknowledge(tx, Acknowledgement("converter", "three", 1, 1))
    await station.look()
    assert (await station.states())["replica_lost"] == "resolved"
    for instance in ("two", "three"):
        await _silent(station, instance)
    await station.look()
    await station.look(minutes=2)
    assert (await station.states())["service_down"] == "firing"


async def _silent(station: Any, instance: str) -> None:
    """It was killed a minute ago: nothing else changes its row."""
    await station.sql(
        "UPDATE config.acknowledgements SET seen_at = seen_at - interval '1 minute' WHERE instance = :instance",
        instance=instance,
    )


async def test_nats_that_is_lost_is_told_by_postgres_alone(station: Any, nats_server: Any) -> None:
    async with station.running():
        await station.look()
        nats_server.kill()
        await station.until(lambda: not station.bus.connected)
        await station.look(seconds=31)
        assert (await station.states())["nats_down"] == "firing"
        assert len(await station.told()) == 1
        nats_server.start()
        await station.until(lambda: station.bus.connected)
        await station.look(seconds=15)
        assert (await station.states())["nats_down"] == "resolved"


async def test_events_that_cannot_be_published_are_told(station: Any, scheduler: Scheduler, nats_server: Any) -> None:
    """What the scheduler decides on while NATS is away waits in Postgres."""
    station.configure("alerter: {}")
    await scheduler.apply(paper={"schedule": HOURLY})
    nats_server.kill()
    await station.until(lambda: not station.bus.connected)
    station.clock.pass_by(hours=1)
    await scheduler.fire()
    await station.look()
    assert (await station.states())["outbox_stuck"] == "firing"
    nats_server.start()
