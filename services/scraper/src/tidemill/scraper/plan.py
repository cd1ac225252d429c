"""Begins a run: which searches it makes. What it asks for besides is decided when they have ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidemill.common.bus.step import Delivery, Done, Outgoing, Tx
from tidemill.common.config.scraping import Scrape
from tidemill.common.events import DocumentFailed, RunPlanned, RunRequested
from tidemill.extract import begin
from tidemill.scraper import policy, store
from tidemill.scraper.errors import Unplannable
from tidemill.scraper.policy import Search, Wishes
from tidemill.scraper.scrape import SourceOf


@dataclass(frozen=True, slots=True)
class Begun:
    """What a run begins with."""

    scrape: Scrape
    wishes: Wishes = field(default_factory=Wishes)
    searches: Sequence[Search] = ()
    failed: Unplannable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What beginning runs takes."""

    source_of: SourceOf

    async def work(self, delivery: Delivery[RunRequested]) -> Begun | None:
        """None where it is not for us."""
        event = delivery.event
        source = self.source_of(event.source, event.config_version)
        if source is None or source.scrape is None:
            return None
        scrape = source.scrape
        try:
            wishes = policy.read_params(event.params, scrape.search)
        except Unplannable as wrong:
            return Begun(scrape, failed=wrong)
        searches = policy.searches_of(scrape.search, wishes.values)
        if event.only_items and policy.SEARCH_ITEM not in event.only_items:
            searches = [search for search in searches if search.item in event.only_items]
        return Begun(scrape, wishes, searches)


async def record_plans(
    tx: Tx, results: Sequence[Done[RunRequested, Begun | None]], *, now: Callable[[], datetime]
) -> list[Outgoing]:
    """The runs, and a job for the first page of each search."""
    outgoing: list[Outgoing] = []
    for done in results:
        if (begun := done.result) is None:
            continue
        if begun.failed is not None:
            outgoing += _failed(done, begun.failed, now())
            continue
        positions = [(search, begin(begun.scrape.search, search.start)) for search in begun.searches]
        await store.add_run(tx, done.event, begun.wishes, positions)
        opened = RunPlanned(source=done.event.source, run=done.event.run, trigger=done.event.trigger, planned_at=now())
        outgoing.append(done.tell(opened, "planned"))
    return outgoing


def _failed(done: Done[RunRequested, Begun | None], wrong: Unplannable, now: datetime) -> list[Outgoing]:
    event = done.event
    planned = RunPlanned(
        source=event.source,
        run=event.run,
        trigger=event.trigger,
        items=(policy.SEARCH_ITEM,),
        closed=True,
        total=1,
        planned_at=now,
    )
    failed = DocumentFailed(
        source=event.source,
        run=event.run,
        item=policy.SEARCH_ITEM,
        failure=wrong.failure,
        detail=wrong.detail,
        attempts=done.delivery.attempt,
        failed_at=now,
    )
    return [done.tell(planned, "planned"), done.tell(failed, "failed")]
