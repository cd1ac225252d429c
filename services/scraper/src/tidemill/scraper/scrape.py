"""Gets one page, of a search or of a target: ask politely, keep, judge."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.step import Delivery
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import ScrapeDue
from tidemill.common.http import FetchFailure, Held, Usage
from tidemill.extract import PageRules, version
from tidemill.scraper import store
from tidemill.scraper.claims import Claims
from tidemill.scraper.fetch import Fetch
from tidemill.scraper.outcomes import Attempt, Claimed, Failed, HeldBack, Outcome, PageRow, Superseded
from tidemill.scraper.search import Search
from tidemill.scraper.visit import Visit

SourceOf = Callable[[str, int], SourceFile | None]
"""A source by its name, as a version of the configuration says it."""


class Versions:
    """Of rules, worked out once for each."""

    MOST = 100

    def __init__(self) -> None:
        self._known: dict[int, tuple[PageRules, str]] = {}

    def of(self, rules: PageRules) -> str:
        if id(rules) not in self._known:
            if len(self._known) >= self.MOST:
                self._known.clear()
            # The rules are kept with it, so that no others get their id.
            self._known[id(rules)] = (rules, version(rules))
        return self._known[id(rules)][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraper:
    """What getting pages takes."""

    source_of: SourceOf
    fetch: Fetch
    archive: Archive
    engine: AsyncEngine
    claims: Claims
    now: Callable[[], datetime]
    versions: Versions = field(default_factory=Versions)

    async def work(self, delivery: Delivery[ScrapeDue]) -> Attempt:
        due, usage, began_at = delivery.event, Usage(), self.now()
        source = self.source_of(due.source, due.config_version)
        handed = _handed(delivery.id)
        claimed = await self.claims.claim(due.run, due.item, handed)
        if claimed is None:
            return Attempt(Superseded(), began_at, self.now(), usage)
        if source is None or source.scrape is None or source.extract is None:
            gone = Failed("config", "the source scrapes nothing any more", retry=False)
            return Attempt(gone, began_at, self.now(), usage, claimed)
        with self.claims.held(due.run, due.item, handed):
            outcome, page = await self._outcome(source, claimed, usage)
        return Attempt(outcome, began_at, self.now(), usage, claimed, page, source.scrape.retry)

    async def _outcome(self, source: SourceFile, claimed: Claimed, usage: Usage) -> tuple[Outcome, PageRow | None]:
        left = None if claimed.deadline is None else (claimed.deadline - self.now()).total_seconds()
        try:
            async with asyncio.timeout(left) as limit:
                return await self._page(source, claimed, usage)
        except TimeoutError:
            if not limit.expired():
                raise
            return Superseded(), None  # The run is timed out, and its jobs are dropped.
        except Held as held:
            return HeldBack(held.host, held.reason, held.detail, held.until), None
        except FetchFailure as failure:
            return Failed(failure.slug, failure.detail, failure.retry, failure.after), None

    async def _page(self, source: SourceFile, claimed: Claimed, usage: Usage) -> tuple[Outcome, PageRow | None]:
        assert source.scrape is not None
        assert source.extract is not None
        if claimed.search is not None:
            search = Search(
                source=source, scrape=source.scrape, rules=source.extract, fetch=self.fetch, archive=self.archive
            )
            return await search.work(claimed.search, usage)
        assert claimed.target is not None
        visit = Visit(
            source=source,
            scrape=source.scrape,
            rules=source.extract,
            rules_version=self.versions.of(source.extract),
            fetch=self.fetch,
            archive=self.archive,
            is_target=self._is_target,
        )
        return await visit.work(claimed, claimed.target, usage)

    async def _is_target(self, source: str, item: str) -> bool:
        return await store.is_target(self.engine, source, item)


def _handed(id: str) -> int:
    """How often the job had been handed out when this was said; 0 for what we did not say."""
    number = id.rpartition("#")[2]
    return int(number) if number.isdigit() else 0
