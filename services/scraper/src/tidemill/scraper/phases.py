"""Moves runs on: from searching to what is decided, from what was asked for to what is gone, to the end."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.config.scraping import Scrape
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import DocumentFailed, DocumentGone, RunPlanned
from tidemill.common.http import FetchFailure, Held, Usage
from tidemill.common.http.holding import note_held
from tidemill.common.telemetry.metrics import DECISIONS, Metrics
from tidemill.extract import Stop, all_seen
from tidemill.scraper import checks, decide, policy
from tidemill.scraper.decide import OpenRun, SearchState
from tidemill.scraper.fetch import Fetch
from tidemill.scraper.scrape import SourceOf
from tidemill.scraper.tables import holds

log = structlog.get_logger(__name__)

EVERY = 0.5
IDLE = 5.0
LEASE = timedelta(minutes=2)
"""Of planning, while robots.txt is asked; a replica that dies meanwhile is followed by another."""
AGAIN = timedelta(seconds=5)
"""When robots.txt is asked again of a host that must not be asked now."""
LAST_CALL = timedelta(seconds=40)
"""With less time left nobody waits for robots.txt: what it forbids fails when it is asked for."""


class Phases:
    """The loop of one replica; each step of a run is one transaction, and whoever comes first does it."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        source_of: SourceOf,
        fetch: Fetch,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._engine = engine
        self._source_of = source_of
        self._fetch = fetch
        self._metrics = metrics
        self._now = now
        self._planning: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                # A phase that has ended is followed by the next, which may have nothing to ask for.
                await self._bus.rest(EVERY, EVERY if await self._move_on() else IDLE)
        finally:
            for task in self._planning.values():
                task.cancel()
            await asyncio.gather(*self._planning.values(), return_exceptions=True)

    async def _move_on(self) -> bool:
        """Take the next step of runs whose phase has ended; whether there were any that nobody holds."""
        control, moved = self._bus.control, False
        if not control.known:
            return False
        for run in await decide.find_idle_runs(self._engine):
            if not (control.paused(run.source) or control.cancelled(run.run)):
                await self._step(run)
                moved = True
        return moved

    async def _step(self, run: OpenRun) -> None:
        source = self._source_of(run.source, run.config_version)
        if source is None or source.scrape is None:
            log.warning("the source scrapes nothing any more", source=run.source, run=run.run)
            await self._in_transaction(run, lambda tx, run: self._fail(tx, run, [], "config", "it scrapes no more"))
            return
        match run.phase:
            case "search":
                await self._in_transaction(run, lambda tx, run: self._searched(tx, run, source))
            case "plan":
                self._plan(run, source)
            case "fetch":
                await self._in_transaction(run, lambda tx, run: self._fetched(tx, run, source))
            case "finish":
                await self._in_transaction(run, self._finished)

    async def _in_transaction(self, run: OpenRun, step: Callable[[Tx, OpenRun], object]) -> None:
        async with self._bus.transaction() as tx:
            locked = await decide.lock_run(tx, run)
            if locked is not None:
                await step(tx, locked)  # type: ignore[misc]

    # After the searches

    async def _searched(self, tx: Tx, run: OpenRun, source: SourceFile) -> None:
        """What is decided about each target, as far as the database knows."""
        assert source.scrape is not None
        searches = await self._doubted(tx, run, source.scrape)
        if searches and not any(search.pages for search in searches):
            reason = _main_failure(searches)
            detail = next((search.detail for search in searches if search.failure == reason), "")
            await self._fail(tx, run, searches, reason, detail)
            return
        await decide.decide(tx, run, source.scrape.stale_after, self._now())
        await decide.move_on(tx, run.run, "plan")

    async def _doubted(self, tx: Tx, run: OpenRun, scrape: Scrape) -> list[SearchState]:
        """The searches; those that listed the same entries again and again have not seen all."""
        searches = await decide.find_searches(tx, run.run)
        for number, search in enumerate(searches):
            if search.complete and not all_seen(scrape.search, search.seen, search.found):
                await decide.doubt_search(tx, run.run, search.search, Stop.RESULT_CAP)
                searches[number] = replace(search, complete=False, failure=Stop.RESULT_CAP)
        return searches

    async def _fail(self, tx: Tx, run: OpenRun, searches: Sequence[SearchState], failure: str, detail: str) -> None:
        """A run that found nothing to look at."""
        failed = DocumentFailed(
            source=run.source,
            run=run.run,
            item=policy.SEARCH_ITEM,
            url=searches[0].url if searches else "",
            failure=failure,
            detail=detail,
            attempts=max((search.attempts for search in searches), default=0),
            requests=sum(search.requests for search in searches),
            bytes_received=sum(search.bytes_received for search in searches),
            failed_at=self._now(),
        )
        await self._state(tx, run, [policy.SEARCH_ITEM])
        await self._bus.emit(tx, [Outgoing(f"{run.run}/{policy.SEARCH_ITEM}/failed", failed)])
        await self._close(tx, run, "failed")

    def _plan(self, run: OpenRun, source: SourceFile) -> None:
        """Beside the loop: a host may let us wait for its robots.txt, and other runs need not wait with us."""
        if run.run not in self._planning:
            task = asyncio.create_task(self._ask_robots_and_plan(run, source))
            self._planning[run.run] = task
            task.add_done_callback(lambda _: self._planning.pop(run.run, None))

    async def _ask_robots_and_plan(self, run: OpenRun, source: SourceFile) -> None:
        if not await decide.lease_run(self._engine, run, LEASE):
            return
        usage = Usage()
        if not await self._robots(run, source, usage):
            await asyncio.sleep(AGAIN.total_seconds())
            await self._in_transaction(run, lambda tx, run: decide.move_on(tx, run.run, "plan"))
            return
        await self._in_transaction(run, lambda tx, run: self._planned(tx, run, source, usage))

    async def _robots(self, run: OpenRun, source: SourceFile, usage: Usage) -> bool:
        """Ask robots.txt about what is to be asked for; False where that is not possible now."""
        if not source.politeness.obey_robots:
            return True
        last_call = run.deadline is not None and self._now() + LAST_CALL >= run.deadline
        async for slice in decide.due_targets(self._engine, run.run):
            disallowed = []
            for target, url in slice:
                try:
                    if not await self._fetch.allowed(source, url, usage):
                        disallowed.append(target)
                except FetchFailure:
                    continue  # It will say so itself, with its class.
                except Held as held:
                    if last_call:
                        continue
                    await self._tell_held(run, held)
                    return False
            if disallowed:
                await decide.disallow(self._engine, run.run, disallowed)
            await asyncio.sleep(0)
        return True

    async def _tell_held(self, run: OpenRun, held: Held) -> None:
        at = self._now()
        async with self._bus.transaction() as tx:
            told = await note_held(tx, holds, run.source, run.run, held, at)
            if told is not None:
                await self._bus.emit(tx, [Outgoing(f"{run.run}/held/{held.reason}/{at.isoformat()}", told)])

    async def _planned(self, tx: Tx, run: OpenRun, source: SourceFile, usage: Usage) -> None:
        """Within the budget, what is decided becomes jobs; a search that is not complete is an item of its own."""
        assert source.scrape is not None
        searches = await decide.find_searches(tx, run.run)
        budget = _budget(run, source.scrape)
        if budget is not None:
            reserved = 0
            if _may_miss(run, searches) and source.scrape.gone.probe:
                reserved = min(budget, await decide.count_may_be_gone(tx, run.run, source.scrape.gone.after))
            await decide.keep_budget(tx, run.run, budget, reserved)
        await decide.add_jobs(tx, run, policy.FETCHED)
        async for slice in decide.items(tx, run.run, policy.FETCHED):
            await self._state(tx, run, slice)
        incomplete = [search for search in searches if search.failure]
        if incomplete:
            await self._state(tx, run, [search.item for search in incomplete])
            failed = [_search_failed(run, search, self._now()) for search in incomplete]
            await self._bus.emit(tx, [Outgoing(f"{run.run}/{event.item}/failed", event) for event in failed])
        taken = [search for search in searches if not search.failure]
        await self._state(
            tx,
            run,
            (),
            requests=usage.requests + sum(search.requests for search in taken),
            bytes_received=usage.bytes_received + sum(search.bytes_received for search in taken),
        )
        for decision, count in (await decide.count_decisions(tx, run.run)).items():
            self._metrics.of(DECISIONS, source=run.source, decision=decision).inc(count)
        await decide.planned(tx, run.run, self._now())

    # After the targets

    async def _fetched(self, tx: Tx, run: OpenRun, source: SourceFile) -> None:
        """What no complete run listed any more is asked about, or gone; where a check speaks against it, only what
        somebody has released."""
        assert source.scrape is not None
        gone, now = source.scrape.gone, self._now()
        complete = _may_miss(run, await decide.find_searches(tx, run.run))
        facts = await decide.find_facts(tx, run, now)
        reason = await checks.blocking(tx, source, facts, complete=complete)
        if complete:
            if reason is not None:
                log.warning("a check keeps the run from saying what is gone", run=run.run, reason=reason)
                await decide.hold(tx, run.run, gone.after, reason)
            budget = _budget(run, source.scrape)
            left = None if budget is None else max(0, budget - await decide.count_asked(tx, run.run))
            unlisted = await decide.miss(
                tx, run, after=gone.after, probe=gone.probe, budget=left, now=now, only_released=reason is not None
            )
            async for slice in decide.items(tx, run.run, ["missing"]):
                await self._state(tx, run, slice)
            for start in range(0, len(unlisted), decide.SLICE):
                told = [_gone(run, target, now) for target in unlisted[start : start + decide.SLICE]]
                await self._bus.emit(tx, [Outgoing(f"{run.run}/{event.item}/gone", event) for event in told])
        await decide.move_on(tx, run.run, "finish")

    async def _finished(self, tx: Tx, run: OpenRun) -> None:
        searches = await decide.find_searches(tx, run.run)
        await self._close(tx, run, "complete" if not any(search.failure for search in searches) else "incomplete")

    async def _close(self, tx: Tx, run: OpenRun, outcome: str) -> None:
        counts = await decide.count_decisions(tx, run.run)
        left = {decision: count for decision, count in sorted(counts.items()) if decision not in policy.FETCHED}
        await self._state(tx, run, (), closed=True, skipped=left)
        await decide.close(tx, run.run, outcome, self._now())

    async def _state(
        self,
        tx: Tx,
        run: OpenRun,
        items: Sequence[str],
        *,
        closed: bool = False,
        skipped: dict[str, int] | None = None,
        requests: int = 0,
        bytes_received: int = 0,
    ) -> None:
        """Another part of the plan."""
        number, total = await decide.count_statement(tx, run.run, len(items))
        planned = RunPlanned(
            source=run.source,
            run=run.run,
            trigger=run.trigger,
            items=tuple(items),
            closed=closed,
            total=total if closed else 0,
            planned_at=self._now(),
            skipped=skipped or {},
            requests=requests,
            bytes_received=bytes_received,
        )
        await self._bus.emit(tx, [Outgoing(f"{run.run}/planned/{number}", planned)])


def _budget(run: OpenRun, scrape: Scrape) -> int | None:
    return min((most for most in (run.most, scrape.budget) if most is not None), default=None)


def _may_miss(run: OpenRun, searches: Sequence[SearchState]) -> bool:
    """Whether what the run did not see may be gone: it looked everywhere, and saw all."""
    return not run.partial and bool(searches) and all(search.complete for search in searches)


def _main_failure(searches: Sequence[SearchState]) -> str:
    failures = [search.failure or "layout" for search in searches]
    return max(sorted(set(failures)), key=failures.count)


def _search_failed(run: OpenRun, search: SearchState, now: datetime) -> DocumentFailed:
    detail = search.detail or f"saw {search.seen} of {search.found}" if search.found else search.detail
    return DocumentFailed(
        source=run.source,
        run=run.run,
        item=search.item,
        url=search.url,
        failure=search.failure or "",
        detail=detail,
        attempts=search.attempts,
        requests=search.requests,
        bytes_received=search.bytes_received,
        failed_at=now,
    )


def _gone(run: OpenRun, target: decide.GoneTarget, now: datetime) -> DocumentGone:
    return DocumentGone(
        source=run.source,
        run=run.run,
        item=target.item,
        name=target.name,
        url=target.path,
        reason="unlisted",
        sha256=target.sha256,
        gone_at=now,
    )
