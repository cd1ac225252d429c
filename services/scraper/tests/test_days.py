"""What runs decide over simulated days, on a real Postgres: no network, no bus, the clock of the test."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Delivery, Done
from tidemill.common.config.scraping import Retry
from tidemill.common.database import open_engine
from tidemill.common.events import RunRequested, ScrapeDue
from tidemill.common.http import Usage
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.extract import Position, Start, Step, Stop
from tidemill.scraper import decide, policy, store
from tidemill.scraper.claims import Claims
from tidemill.scraper.decide import OpenRun
from tidemill.scraper.main import SPEC
from tidemill.scraper.outcomes import (
    Attempt,
    Content,
    Duplicate,
    Entry,
    Failed,
    Gone,
    Listed,
    Outcome,
    SearchPage,
    Unmodified,
)
from tidemill.scraper.policy import Search, Wishes
from tidemill.scraper.record import record_attempts

pytestmark = pytest.mark.servers

DAY = timedelta(days=1)
KNOWN = SearchPage("https://x/list", None, None, "text/html", "a" * 64, 10)
RETRY = Retry(first=timedelta(hours=20), longest=timedelta(days=4), give_up_after=4)


@dataclass
class Days:
    """A source that is run once a day; `answers` is what becomes of each page that is asked for."""

    engine: AsyncEngine
    now: datetime = datetime(2026, 7, 1, 5, tzinfo=UTC)
    number: int = 0
    stale_after: timedelta = timedelta(days=30)
    budget: int | None = None
    after: int = 2
    probe: bool = True
    answers: dict[str, Outcome] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """In order, of the last run."""
    told: list[Any] = field(default_factory=list)
    """Of the last run."""

    async def day(
        self, *listed: str, held: str = "", complete: bool = True, only: tuple[str, ...] = (), **wishes: Any
    ) -> dict[str, int]:
        """A run that lists these (`a` or `a=hint`); its decisions, counted."""
        self.number += 1
        self.now += DAY
        self.asked, self.told = [], []
        run = await self._searched(listed, complete=complete, only=only, wishes=Wishes(**wishes))
        async with self.engine.begin() as tx:
            await decide.decide(tx, run, self.stale_after, self.now)
            reserved = await decide.count_may_be_gone(tx, run.run, self.after)
            if self.budget is not None:
                await decide.keep_budget(tx, run.run, self.budget, reserved if self.probe else 0)
            await decide.add_jobs(tx, run, policy.FETCHED)
            await decide.planned(tx, run.run, self.now)
        await self._visit(run.run)
        async with self.engine.begin() as tx:
            if held:
                await decide.hold(tx, run.run, self.after, held)
            elif complete and not run.partial:
                left = None if self.budget is None else self.budget - await decide.count_asked(tx, run.run)
                gone = await decide.miss(tx, run, after=self.after, probe=self.probe, budget=left, now=self.now)
                self.told += [target.name for target in gone]
        await self._visit(run.run)
        async with self.engine.begin() as tx:
            await decide.close(tx, run.run, "complete", self.now)
            counts = await decide.count_decisions(tx, run.run)
            known = (await tx.execute(text("SELECT count(*) FROM scraper.targets"))).scalar_one()
        assert sum(counts.values()) == known
        return counts

    async def _searched(
        self, listed: tuple[str, ...], *, complete: bool, only: tuple[str, ...], wishes: Wishes
    ) -> OpenRun:
        event = RunRequested(
            source="homes",
            run=f"run-{self.number}",
            trigger="schedule",
            only_items=only,
            requested_at=self.now,
        )
        search = Search(0, Start("https://x/list"), "search x", {"city": "Espoo"})
        async with self.engine.begin() as tx:
            await store.add_run(tx, event, wishes, [(search, Position("https://x/list", "https://x/list"))])
        entries = [self._entry(each) for each in listed]
        stop = Stop.LAST_PAGE if complete else Stop.LIMIT
        step = Step((), Position("https://x/list", "https://x/list", 1, len(entries)), stop)
        await self._record(event.run, lambda due: Listed(step, entries, (), KNOWN, due.url))
        (run,) = await decide.find_idle_runs(self.engine)
        return run

    def _entry(self, said: str) -> Entry:
        name, _, hint = said.partition("=")
        url = f"https://x/{name}"
        return Entry(policy.item_of(url), url, url, name, "", hint, {})

    async def _visit(self, run: str) -> None:
        await self._record(run, lambda due: self.answers.get(due.url.rpartition("/")[2], content("1")))

    async def _record(self, run: str, outcome: Any) -> None:
        """Whatever is due comes to this, again and again until nothing is."""
        while True:
            async with self.engine.begin() as tx:
                await tx.execute(text("UPDATE scraper.jobs SET due_at = now()"))
                handed = await store.hand_out(tx, "homes", "x", 3)
            if not handed:
                return
            for job in handed:
                claims = Claims(self.engine)
                claimed, other = await asyncio.gather(
                    claims.claim(job.run, job.item, job.handed), claims.claim(job.run, job.item, job.handed + 1)
                )
                assert claimed is not None
                assert other is None
                delivery = Delivery(f"{job.run}/{job.item}#{job.handed}", job.due, 1)
                attempt = Attempt(outcome(job.due), self.now, self.now, Usage(1, 100), claimed, None, RETRY)
                if job.kind == "target" and job.handed == 1:
                    self.asked.append(job.url.rpartition("/")[2])
                async with self.engine.begin() as tx:
                    done: Done[ScrapeDue, Attempt] = Done(delivery, attempt)
                    told = await record_attempts(tx, [done], metrics=Metrics("scraper"))
                self.told += [out.event for out in told if out.event.subject.startswith("tidemill.document")]

    async def state(self, name: str) -> Any:
        async with self.engine.connect() as connection:
            query = text("SELECT * FROM scraper.targets WHERE name = :name")
            return (await connection.execute(query, {"name": name})).one()

    def kinds(self) -> list[tuple[str, str]]:
        return sorted((type(event).__name__.removeprefix("Document"), event.name) for event in self.told)


def content(hash: str, *, same: bool = False) -> Content:
    return Content(hash * 64, 10, hash * 64, "rules", None, None, same)


@pytest.fixture
async def days(new_database: NewDatabase) -> AsyncIterator[Days]:
    engine = open_engine(new_database(SPEC))
    yield Days(engine)
    await engine.dispose()


async def test_new_ones_are_asked_for_once_and_rest_until_they_are_stale(days: Days) -> None:
    days.stale_after = 3 * DAY
    assert await days.day("a", "b") == {"new": 2}
    days.answers = {"a": Unmodified(), "b": content("1", same=True)}
    assert await days.day("a", "b") == {"fresh": 2}
    assert await days.day("a", "b") == {"fresh": 2}
    assert await days.day("a", "b") == {"stale": 2}
    assert days.kinds() == [("Unchanged", "a"), ("Unchanged", "b")]
    assert await days.day("a", "b") == {"fresh": 2}


async def test_another_hint_is_a_reason_to_look(days: Days) -> None:
    await days.day("a=1", "b=1")
    days.answers = {"a": content("2")}
    assert await days.day("a=2", "b=1") == {"hint": 1, "fresh": 1}
    assert days.kinds() == [("Stored", "a")]
    (event,) = days.told
    assert (event.previous_sha256, event.sha256) == ("1" * 64, "2" * 64)
    assert await days.day("a=2", "b=1") == {"fresh": 2}


async def test_the_budget_goes_to_what_matters_most_and_the_stalest_first(days: Days) -> None:
    days.stale_after, days.probe = DAY / 2, False
    days.budget = 2
    assert await days.day("a", "b", "c", "d") == {"new": 2, "over_budget": 2}
    assert await days.day("a", "b", "c", "d") == {"new": 2, "over_budget": 2}
    days.answers = {name: content("1", same=True) for name in "abcdef"}
    assert await days.day("a", "b", "c", "d", "e") == {"new": 1, "stale": 1, "over_budget": 3}
    assert days.asked == ["e", "a"]
    assert await days.day("a", "b", "c", "d", "e") == {"stale": 2, "over_budget": 3}
    assert days.asked == ["b", "c"]
    assert await days.day("a=1", "b", "c", "d", "e") == {"hint": 1, "stale": 1, "over_budget": 3}
    assert days.asked == ["a", "d"]


async def test_probes_of_what_may_be_gone_go_before_what_is_stale(days: Days) -> None:
    days.after, days.stale_after, days.budget = 1, DAY / 2, 3
    await days.day("a", "b", "c")
    days.answers = {"c": Gone("not_found", "404")}
    assert await days.day("a", "b") == {"stale": 2, "missing": 1}
    days.budget = 1
    assert await days.day("a") == {"over_budget": 1, "missing": 1, "gone": 1}
    assert days.asked == ["b"]


async def test_failures_are_tried_again_later_and_later_and_given_up(days: Days) -> None:
    days.answers = {"a": Failed("shell", "nothing but scripts")}
    assert await days.day("a", "b") == {"new": 2}
    assert days.kinds() == [("Failed", "a"), ("Stored", "b")]
    seen = [await days.day("a", "b") for _ in range(16)]
    decided = [next(iter(set(counts) - {"fresh"})) for counts in seen]
    tried = [number for number, decision in enumerate(decided) if decision == "backoff"]
    # After 20 hours, 40, 80, each a tenth longer or shorter; then never again.
    assert len(tried) == 3
    assert [later - earlier for earlier, later in zip([-1, *tried], tried, strict=False)] in ([1, 2, 4], [1, 2, 3])
    assert decided[-1] == "given_up"
    assert (await days.state("a")).state == "given_up"
    days.answers = {}
    assert await days.day("a=other", "b") == {"backoff": 1, "fresh": 1}
    assert (await days.state("a")).state == "present"


async def test_what_is_given_up_comes_back_when_it_is_asked_for(days: Days) -> None:
    days.answers = {"a": Failed("not_found", "404", retry=False)}
    for _ in range(20):
        await days.day("a", "b")
    assert (await days.state("a")).given_up
    days.answers = {}
    assert await days.day(only=(policy.item_of("https://x/a"),)) == {"asked": 1, "left_out": 1}
    assert days.kinds() == [("Stored", "a")]
    assert await days.day("a", "b") == {"fresh": 2}


async def test_a_full_run_asks_for_all_that_is_listed(days: Days) -> None:
    days.answers = {"a": Failed("not_found", "404", retry=False)}
    await days.day("a", "b", "c")
    days.answers = {name: content("1", same=True) for name in "bc"}
    assert await days.day("a", "b", everything=True) == {"backoff": 1, "stale": 1, "unseen": 1}


async def test_gone_is_what_complete_runs_missed_and_whose_page_says_so(days: Days) -> None:
    await days.day("a", "b")
    days.answers = {"b": Gone("removed", "410")}
    assert await days.day("a") == {"fresh": 1, "unseen": 1}
    assert (await days.state("b")).state == "missing"
    assert await days.day("a") == {"fresh": 1, "missing": 1}
    assert days.kinds() == [("Gone", "b")]
    (gone,) = days.told
    assert (gone.reason, gone.url, gone.sha256) == ("removed", "https://x/b", "1" * 64)
    assert (await days.state("b")).state == "gone"
    assert await days.day("a") == {"fresh": 1, "gone": 1}
    days.answers = {"b": content("1", same=True)}
    assert await days.day("a", "b=1") == {"fresh": 1, "reappeared": 1}
    (event,) = days.told
    assert (event.reappeared, event.previous_sha256, event.name) == (True, "1" * 64, "b")


async def test_what_is_missing_and_still_there_stays(days: Days) -> None:
    days.after = 1
    await days.day("a")
    days.answers = {"a": Unmodified()}
    assert await days.day() == {"missing": 1}
    assert days.kinds() == [("Unchanged", "a")]
    assert ((await days.state("a")).state, (await days.state("a")).misses) == ("present", 0)


async def test_a_probe_that_fails_waits_and_is_made_again(days: Days) -> None:
    days.after = 1
    await days.day("a")
    days.answers = {"a": Failed("layout", "?")}
    assert await days.day() == {"missing": 1}
    assert days.kinds() == [("Failed", "a")]
    days.now -= DAY / 2
    assert await days.day() == {"waiting": 1}
    days.answers = {"a": Gone("not_found", "404")}
    assert await days.day() == {"missing": 1}
    assert days.kinds() == [("Gone", "a")]


async def test_without_a_probe_not_to_be_listed_is_enough(days: Days) -> None:
    days.probe = False
    await days.day("a", "b")
    await days.day("a")
    assert await days.day("a") == {"fresh": 1, "missing": 1}
    assert days.told == ["b"]
    assert days.asked == []
    assert (await days.state("b")).gone_reason == "unlisted"


@pytest.mark.parametrize("how", [{"complete": False}, {"most": 1}, {"values": {"city": "Espoo"}}, {"held": "too few"}])
async def test_runs_that_may_not_judge_miss_nothing(days: Days, how: dict[str, Any]) -> None:
    days.after, days.probe = 1, False
    await days.day("a", "b")
    counts = await days.day("a", **how)
    assert counts == {"fresh": 1, "held" if "held" in how else "left_out" if "complete" not in how else "unseen": 1}
    assert ((await days.state("b")).misses, days.told) == (0, [])
    assert await days.day("a") == {"fresh": 1, "missing": 1}


async def test_what_never_came_leaves_silently(days: Days) -> None:
    days.after = 1
    days.answers = {"a": Failed("not_found", "404", retry=False)}
    await days.day("a")
    assert await days.day() == {"gone": 1}
    assert days.told == []
    days.answers = {}
    assert await days.day("a") == {"new": 1}
    (event,) = days.told
    assert not event.reappeared


async def test_an_address_that_leads_to_another_target_is_its_duplicate(days: Days) -> None:
    await days.day("a", "b")
    days.answers = {"b": Duplicate(policy.item_of("https://x/a")), "c": Duplicate(policy.item_of("https://x/a"))}
    assert await days.day("a", "b=1", "c") == {"fresh": 1, "hint": 1, "new": 1}
    # What b had is a's now; c never had anything.
    assert days.kinds() == [("Gone", "b"), ("Unchanged", "c")]
    assert await days.day("a", "b=1", "c") == {"fresh": 1, "duplicate": 2}
    days.after, days.probe, days.answers = 1, False, {}
    assert await days.day("b=1", "c") == {"duplicate": 2, "missing": 1}
    assert await days.day("b=1", "c") == {"gone": 1, "new": 2}


async def test_a_stop_in_the_middle_and_a_second_start_change_nothing(days: Days) -> None:
    await days.day("a")
    event = RunRequested(source="homes", run="run-1", trigger="schedule", requested_at=days.now)
    async with days.engine.begin() as tx:
        await store.add_run(tx, event, Wishes(), [])
        (runs,) = (await tx.execute(text("SELECT count(*) FROM scraper.runs"))).one()
    assert runs == 1


async def test_a_host_that_only_shows_walls_is_paused_and_then_asked_no_more(days: Days) -> None:
    names = [f"p{number:02}" for number in range(30)]
    days.answers = {name: Failed("blocked", "are you human?") for name in names}
    assert await days.day(*names) == {"new": 30}
    assert policy.PAUSE_AFTER <= len(days.asked) <= policy.STOP_AFTER
    assert days.kinds() == [("Failed", name) for name in names]
    assert {event.failure for event in days.told} == {"blocked"}
    async with days.engine.connect() as connection:
        (row,) = await connection.execute(text("SELECT not_before, in_row FROM scraper.hosts"))
    assert row.not_before == days.now + timedelta(minutes=4)
    assert row.in_row >= policy.STOP_AFTER
    # Whom nobody asked for has not failed itself.
    assert (await days.state("p29")).failures == 0


async def test_walls_between_pages_are_the_pages_own_trouble(days: Days) -> None:
    names = [f"p{number:02}" for number in range(12)]
    days.answers = {name: Failed("blocked", "?", retry=number % 4 != 0) for number, name in enumerate(names)}
    for number in range(3, 12, 4):
        days.answers[names[number]] = content("1")
    await days.day(*names)
    assert len(days.asked) == 12


async def test_the_trouble_of_one_run_is_not_that_of_the_next(days: Days) -> None:
    names = [f"p{number:02}" for number in range(20)]
    days.answers = {name: Failed("network", "no connection") for name in names}
    await days.day(*names)
    days.answers = {}
    counts = await days.day(*names)
    assert counts["new"] >= 20 - policy.STOP_AFTER
    assert sum(counts.values()) == 20
    assert {kind for kind, _ in days.kinds()} == {"Stored"}
    async with days.engine.connect() as connection:
        (row,) = await connection.execute(text("SELECT in_row FROM scraper.hosts"))
    assert row.in_row == 0
