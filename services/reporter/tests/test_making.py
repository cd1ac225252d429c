"""Reports that are due are made once, when their day is over and all is in, or at the deadline."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import pytest

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import CommandRefused
from tidemill.common.bus.topology import ensure_topology
from tidemill.common.config.sources import SourceFile
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.reporter.commands import build_command
from tidemill.reporter.gathering import Gathering
from tidemill.reporter.making import Making
from tidemill.reporter.report import Report
from tidemill.reporter.tables import bus as tables

from .kit import INSERT_SLOT, METRICS, MONDAY, UTC_ZONE, World, listing

pytestmark = pytest.mark.servers

MIDNIGHT = MONDAY.replace(hour=0) + timedelta(days=1)


@dataclass
class Clock:
    time: datetime = MIDNIGHT + timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.time


@dataclass
class Office:
    """Replicas of the reporter's task on one database."""

    world: World
    bus: Bus
    clock: Clock = field(default_factory=Clock)
    sources: dict[str, SourceFile] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()

    def gathering(self) -> Gathering:
        reporting = self.world.reporting
        return Gathering(UTC_ZONE, reporting.datasets, reporting.known, self.sources, self.exempt, now=self.clock)

    def making(self) -> Making:
        return Making(self.bus, self.world.engine, self.gathering, timedelta(hours=8), METRICS, now=self.clock)

    async def make_all(self) -> int:
        making, made = self.making(), 0
        while await making.make_next():
            made += 1
        return made

    async def editions(self, kind: str = "day") -> list[tuple[str, int]]:
        query = "SELECT subject, edition FROM reporter.reports WHERE kind = :kind ORDER BY 1, 2"
        return [tuple(row) for row in await self.world.sql(query, kind=kind)]

    async def newest(self, subject: str = "2026-03-02") -> Report:
        query = "SELECT content FROM reporter.reports WHERE subject = :subject ORDER BY edition DESC LIMIT 1"
        return Report.from_json(await self.world.scalar(query, subject=subject))

    async def events(self) -> list[Any]:
        rows = await self.world.sql("SELECT subject, payload FROM reporter.outbox ORDER BY id")
        return [row.subject for row in rows]


@pytest.fixture
async def office(world: World, nats_url: str) -> AsyncIterator[Office]:
    telemetry = Telemetry.open("reporter", "0.1.0")
    nc = await nats.connect(nats_url)
    await ensure_topology(nc.jetstream())
    async with Bus.open(
        nats_url, service="reporter", version="0.1.0", engine=world.engine, tables=tables, telemetry=telemetry
    ) as bus:
        yield Office(world, bus, sources={"demo": SourceFile.model_validate(scheduled("demo"))})
    await nc.close()
    await telemetry.close()


def scheduled(name: str) -> dict[str, Any]:
    return {
        "source": name,
        "download": {"url": "https://demo.example/x.json"},
        "schedule": {"cron": "0 6 * * *", "zone": "UTC"},
    }


async def test_a_day_is_reported_when_it_is_over_and_everything_is_in(office: Office) -> None:
    office.clock.time = MIDNIGHT - timedelta(minutes=1)
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    await office.make_all()
    assert await office.editions() == [] and await office.editions("run") == [("demo-20260302T060000", 1)]
    office.clock.time = MIDNIGHT
    await office.make_all()
    assert await office.editions() == [("2026-03-02", 1)]
    assert (await office.newest()).complete


async def test_what_is_missing_is_waited_for_until_the_deadline_and_then_named(office: Office) -> None:
    office.sources["lost"] = SourceFile.model_validate(scheduled("lost"))
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    assert await office.make_all() == 1  # Of the run.
    office.clock.time = MIDNIGHT + timedelta(hours=8)
    await office.make_all()
    made = await office.newest()
    assert not made.complete
    assert [(one.source, one.why) for one in made.missing] == [("lost", "slot 06:00: no scheduler decided on it")]
    assert made.trust.verdict == "untrusted" and made.trust.missing_sources == ("lost",)
    assert "not all is in of lost" in made.summary


async def test_an_exempt_source_is_not_waited_for(office: Office) -> None:
    office.sources["lost"] = SourceFile.model_validate(scheduled("lost"))
    office.exempt = frozenset({"lost"})
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    await office.make_all()
    assert (await office.newest()).complete


async def test_a_skipped_slot_and_a_failed_run_keep_nobody_waiting_and_are_told(office: Office) -> None:
    office.sources["other"] = SourceFile.model_validate(scheduled("other"))
    await office.world.sql(INSERT_SLOT, source="other", slot=MONDAY, outcome="skipped", reason="paused", run=None)
    await office.world.run("demo", MONDAY, state="failed", reason="network")
    await office.make_all()
    made = await office.newest()
    assert [(one.source, one.why) for one in made.missing] == [
        ("demo", "demo-20260302T060000 is failed: network"),
        ("other", "slot 06:00 was skipped: paused"),
    ]
    assert [(one.failure, one.count) for one in made.errors] == [("network", 1)]


async def test_an_open_run_is_waited_for(office: Office) -> None:
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    await office.world.sql(
        "INSERT INTO scheduler.runs (run, source, trigger, state, requested_at)"
        " VALUES ('r', 'demo', 'manual', 'running', :at)",
        at=MONDAY + timedelta(hours=17),
    )
    await office.make_all()
    assert await office.editions() == []
    await office.world.sql("UPDATE scheduler.runs SET state = 'complete', finished_at = now() WHERE run = 'r'")
    await office.make_all()
    assert await office.editions() == [("2026-03-02", 1)]


async def test_replicas_make_each_report_once(office: Office) -> None:
    for hour in range(6, 12):
        await office.world.run(f"demo-{hour}", MONDAY.replace(hour=hour), [listing(hour)], new=1)
    office.clock.time = MIDNIGHT + timedelta(hours=9)
    await asyncio.gather(office.make_all(), office.make_all(), office.make_all())
    assert await office.editions() == [("2026-03-02", 1)]
    assert [edition for _, edition in await office.editions("run")] == [1] * 6
    ready = [subject for subject in await office.events() if subject.startswith("tidemill.report.ready")]
    assert sorted(ready) == ["tidemill.report.ready.day"] + ["tidemill.report.ready.run"] * 6


async def test_a_corrected_run_makes_a_further_edition_and_the_same_again_none(office: Office) -> None:
    event = await office.world.run("demo", MONDAY, [listing(1)], new=1)
    await office.make_all()
    office.clock.time = MIDNIGHT + timedelta(days=3000)  # Long after: nothing is held back as a swarm.
    await office.world.tell(event)
    await office.make_all()
    assert await office.editions() == [("2026-03-02", 1)]
    await office.world.run("demo", MONDAY, new=2, corrected=True)
    await office.make_all()
    made = await office.newest()
    assert made.edition == 2
    assert ("Changes", "demo: new", 1, 2) in [(one.where, one.name, one.before, one.after) for one in made.corrections]
    day = await office.world.sql("SELECT value FROM reporter.measures WHERE kind = 'day' AND name = 'new'")
    assert [row.value for row in day] == [2.0]


async def test_a_day_whose_documents_were_converted_again_is_told_again(office: Office) -> None:
    event = await office.world.run("demo", MONDAY, [listing(1, price=1000), listing(2)], new=2)
    await office.make_all()
    office.clock.time = datetime.now(UTC)
    asked = await office.world.scalar("SELECT asked_at FROM reporter.due WHERE kind = 'day'")
    await office.world.sql("UPDATE reporter.due SET day = :day WHERE kind = 'day'", day=office.clock().date())
    await office.world.sql("UPDATE scheduler.runs SET slot = :now", now=office.clock())
    await office.world.reconvert(event.run, [listing(1, price=2000), listing(2)], datetime.now(UTC))
    await office.making().ask_for_reconverted()
    again = await office.world.scalar("SELECT asked_at FROM reporter.due WHERE kind = 'day'")
    assert again > asked
    await office.making().ask_for_reconverted()
    assert again == await office.world.scalar("SELECT asked_at FROM reporter.due WHERE kind = 'day'")


async def test_days_on_which_nothing_ran_are_due_too(office: Office) -> None:
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    await office.world.sql("UPDATE reporter.measures SET measured_at = :at", at=MONDAY)
    office.clock.time = MIDNIGHT + timedelta(days=2, hours=9)
    making = office.making()
    await making.ask_for_days()
    await making.ask_for_days()
    await office.make_all()
    assert [subject for subject, _ in await office.editions()] == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert (await office.newest("2026-03-03")).summary == "Nothing ran: 1 source did not do what was expected."


async def test_somebody_may_ask_for_a_report_before_its_day_is_over(office: Office) -> None:
    office.clock.time = MONDAY
    command = build_command(office.gathering, office.clock)

    async def ask(about: str) -> Any:
        async with office.world.engine.begin() as tx:
            return (await command.handle(tx, "id", {"about": about})).body

    assert (await ask("2026-03-02"))["kind"] == "day"
    await office.make_all()
    assert await office.editions() == [("2026-03-02", 1)]
    made = await office.newest()
    assert [(one.source, one.why) for one in made.missing] == [("demo", "slot 06:00: no scheduler decided on it")]
    assert not made.complete and "2026-03-02 is not over." in made.trust.reasons
    assert made.summary.endswith("; the day is not over, this is as of 06:00.") and made.as_of == MONDAY
    for wrong, why in (
        ("", "say what"),
        ("2026-03-09", "has not begun"),
        ("nothing", "neither a day"),
    ):
        with pytest.raises(CommandRefused, match=why):
            await ask(wrong)
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    assert (await ask("demo-20260302T060000"))["kind"] == "run"


async def test_a_report_made_early_is_made_again_when_its_day_is_over_and_corrects_nothing(office: Office) -> None:
    command = build_command(office.gathering, office.clock)
    await office.world.run("demo", MONDAY, [listing(1)], new=1)
    ages = []
    for hour in (10, 13):
        office.clock.time = MONDAY.replace(hour=hour)
        async with office.world.engine.begin() as tx:
            assert (await command.handle(tx, "id", {"about": "today"})).body["about"] == "2026-03-02"
        await office.make_all()
        (fresh,) = (await office.newest()).trust.freshness
        ages.append(fresh.age_seconds)
    assert ages == [4 * 3600, 7 * 3600]
    office.clock.time = MIDNIGHT + timedelta(days=3000)  # Long after: nothing is held back as a swarm.
    await office.make_all()
    made = await office.newest()
    assert (made.edition, made.complete, made.as_of, made.corrected) == (3, True, None, False)
    assert not made.corrections and made.trust.freshness[0].age_seconds == 18 * 3600
    office.clock.time = MIDNIGHT
    async with office.world.engine.begin() as tx:
        assert (await command.handle(tx, "id", {"about": "yesterday"})).body["about"] == "2026-03-02"
    await office.make_all()
    assert (await office.editions())[-1] == ("2026-03-02", 3)  # The same inputs are the same report.


async def test_what_cannot_be_made_is_said_and_tried_again_when_asked(office: Office) -> None:
    await office.world.sql(
        "INSERT INTO reporter.due (kind, subject, day, asked_at) VALUES ('run', 'nowhere', '2026-03-02', now())"
    )
    await office.make_all()
    assert "no run 'nowhere'" in await office.world.scalar("SELECT problem FROM reporter.due WHERE subject = 'nowhere'")
    assert await office.make_all() == 0


async def test_an_unusual_day_of_files_is_stated_once(office: Office) -> None:
    for day in range(40, -1, -1):
        await office.world.run("inbox", MONDAY - timedelta(days=day), new=100 if day else 900, trigger="file")
    office.sources.clear()
    await office.make_all()
    found = [subject for subject in await office.events() if "anomaly" in subject]
    assert found == ["tidemill.report.anomaly.inbox"] * 2  # Items, and new ones.
    made = await office.newest()
    assert {one.measure for one in made.anomalies} == {"items", "new"}
    series = next(one for one in made.series if one.name == "new")
    assert len(series.points) == 36 and series.points[-1].anomalous and series.points[-1].value == 900
    assert series.points[-1].high is not None and series.points[-1].high < 900
