"""Plans a run: which files there are, which of them are asked for now, and why the others are not."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Delivery, Done, Outgoing, Tx, Unavailable
from tidemill.common.config.downloading import Download, Index
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import DocumentFailed, RunPlanned, RunRequested
from tidemill.common.http import FetchFailure, Held, Usage, Validators
from tidemill.common.http.holding import forget_holds, note_held
from tidemill.downloader import policy, store
from tidemill.downloader.download import SourceOf
from tidemill.downloader.errors import Unplannable
from tidemill.downloader.fetch import Fetch
from tidemill.downloader.links import find_files
from tidemill.downloader.policy import Wanted
from tidemill.downloader.tables import holds

RETRIES = (timedelta(seconds=2), timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
"""Pauses between attempts to read an index page; after the last the run has failed."""
LAST_CALL = timedelta(seconds=65)
"""The pauses of what is unavailable grow up to a minute: with less time left, a run is not planned any more."""
INDEX_ITEM = "index"
"""The one item of a run whose files could not be found out."""
ITEMS_AN_EVENT = 2000

Requested = Done[RunRequested, "Plan | None"]


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Why nothing can be asked for."""

    failure: str
    detail: str
    url: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run works through."""

    wanted: Sequence[Wanted] = ()
    new: Collection[str] = ()
    """Items of those that never came."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Known files that are left out this time, by reason."""
    usage: Usage = field(default_factory=Usage)
    host: str = ""
    """That answered while it was planned."""
    began_at: datetime | None = None
    failed: Unplanned | None = None

    @property
    def items(self) -> list[str]:
        return [wanted.item for wanted in self.wanted] if self.failed is None else [INDEX_ITEM]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What planning takes."""

    source_of: SourceOf
    fetch: Fetch
    bus: Bus
    engine: AsyncEngine
    now: Callable[[], datetime]

    async def work(self, delivery: Delivery[RunRequested]) -> Plan | None:
        """None where it is not for us. Raises what a later attempt may mend, and Unavailable while a host is not to be
        asked."""
        event = delivery.event
        source = self.source_of(event.source, event.config_version)
        if source is None or source.download is None:
            return None
        usage, began_at = Usage(), self.now()
        try:
            if await self._published(source.download, event):
                return Plan(skipped={"published": 1})
            wanted = await self._find(source, source.download, event, usage)
        except Unplannable as wrong:
            return Plan(usage=usage, failed=Unplanned(wrong.failure, wrong.detail, _place(source.download)))
        except FetchFailure as failure:
            if failure.retry and delivery.attempt <= len(RETRIES):
                raise
            return Plan(usage=usage, failed=Unplanned(failure.slug, failure.detail, _place(source.download)))
        except Held as held:
            await self._tell_held(event, held)
            if event.deadline and self.now() + LAST_CALL >= event.deadline:
                return Plan(usage=usage, failed=Unplanned(held.reason, held.detail, _place(source.download)))
            raise Unavailable(f"{held.host}: {held.detail}") from held
        plan = await self._chosen(source.download, event, wanted)
        asked = bool(source.download.index and usage.requests)
        return replace(
            plan, usage=usage, began_at=began_at, host=policy.host_of(_place(source.download)) if asked else ""
        )

    async def _tell_held(self, event: RunRequested, held: Held) -> None:
        at = self.now()
        async with self.bus.transaction() as tx:
            told = await note_held(tx, holds, event.source, event.run, held, at)
            if told is not None:
                await self.bus.emit(tx, [Outgoing(f"{event.run}/held/{held.reason}/{at.isoformat()}", told)])

    async def _published(self, download: Download, event: RunRequested) -> bool:
        """Whether the file that this window is for has come already: then schedules ask no more."""
        window = download.window.around(self.now()) if download.window and event.trigger == "schedule" else None
        if window is None:
            return False
        async with self.engine.connect() as connection:
            return await store.came_since(connection, event.source, window[0])

    async def _find(self, source: SourceFile, download: Download, event: RunRequested, usage: Usage) -> list[Wanted]:
        """All files that could be asked for."""
        if event.only_items and event.only_items != (INDEX_ITEM,):
            return await store.find_items(self.engine, source.source, event.only_items)
        if download.template is not None:
            by_issue = download.template.by_issue
            newest = await store.find_newest_issue(self.engine, source.source) if by_issue else None
            moment = event.slot or self.now()
            return policy.from_template(download.template, moment, newest, trigger=event.trigger, params=event.params)
        policy.expect_params(event.params)
        if download.url is not None:
            return [Wanted(download.url)]
        assert download.index is not None
        return await self._read_index(source, download.index, usage)

    async def _read_index(self, source: SourceFile, index: Index, usage: Usage) -> list[Wanted]:
        """What the page links to; as before, where it did not change."""
        known = await store.find_index(self.engine, source.source, index.model_dump_json())
        validators = Validators(known.etag, known.last_modified) if known else None
        page = await self.fetch.page(source, index.url, usage, validators, known.size_bytes if known else 0)
        if page is None and known is not None:
            return [Wanted(url) for url in known.found]
        found = [] if page is None else await asyncio.to_thread(find_files, page.content, page.url, index)
        if page is None or not found:
            raise Unplannable("nothing_matches", f"{index.url} links to nothing like {index.links} (download.index)")
        said = store.IndexPage(page.etag, page.last_modified, len(page.content), [wanted.url for wanted in found])
        async with self.engine.begin() as tx:
            await store.save_index(tx, source.source, index.model_dump_json(), said)
        return found

    async def _chosen(self, download: Download, event: RunRequested, found: Sequence[Wanted]) -> Plan:
        """Those that are asked for now."""
        candidates = {wanted.item: wanted for wanted in found}
        trigger = "retry" if event.only_items else event.trigger
        known = await store.find_known(self.engine, event.source, list(candidates))
        skipped: Counter[str] = Counter()
        wanted_now = []
        for item, wanted in candidates.items():
            reason = policy.reason_to_skip(known.get(item), download, self.now(), trigger=trigger)
            if reason is None:
                wanted_now.append(wanted)
            else:
                skipped[reason] += 1
        new = {item for item in candidates if item not in known or known[item].sha256 is None}
        return Plan(wanted_now, new, skipped)


async def record_plans(tx: Tx, results: Sequence[Requested], *, now: Callable[[], datetime]) -> list[Outgoing]:
    """Jobs for what is asked for, and the plan for the ledger."""
    planned = [(done, done.result) for done in results if done.result is not None]
    await store.add_jobs(tx, [job for done, plan in planned for job in _jobs(done.event, plan)])
    outgoing: list[Outgoing] = []
    for done, plan in planned:
        if plan.host and plan.began_at:
            await forget_holds(tx, holds, done.event.source, plan.host, plan.began_at)
        outgoing += _told(done, plan, now())
    return outgoing


def _jobs(event: RunRequested, plan: Plan) -> list[store.Job]:
    return [
        store.Job(
            run=event.run,
            source=event.source,
            wanted=wanted,
            priority=policy.priority(event.trigger, is_new=wanted.item in plan.new),
            config_version=event.config_version,
            deadline=event.deadline,
        )
        for wanted in plan.wanted
    ]


def _told(done: Requested, plan: Plan, now: datetime) -> list[Outgoing]:
    """The plan in events of a bearable size; the last one closes it."""
    event, items = done.event, plan.items
    told = []
    for number, start in enumerate(range(0, max(1, len(items)), ITEMS_AN_EVENT)):
        closed = start + ITEMS_AN_EVENT >= len(items)
        planned = RunPlanned(
            source=event.source,
            run=event.run,
            trigger=event.trigger,
            items=tuple(items[start : start + ITEMS_AN_EVENT]),
            closed=closed,
            total=len(items) if closed else 0,
            planned_at=now,
            skipped=dict(plan.skipped) if closed else {},
            requests=plan.usage.requests if closed else 0,
            bytes_received=plan.usage.bytes_received if closed else 0,
        )
        told.append(done.tell(planned, f"planned/{number}"))
    if plan.failed is not None:
        failed = DocumentFailed(
            source=event.source,
            run=event.run,
            item=INDEX_ITEM,
            url=plan.failed.url,
            failure=plan.failed.failure,
            detail=plan.failed.detail,
            attempts=done.delivery.attempt,
            failed_at=now,
        )
        told.append(done.tell(failed, "failed"))
    return told


def _place(download: Download) -> str:
    """Where files are looked for."""
    if download.index is not None:
        return download.index.url
    return download.template.url if download.template is not None else download.url or ""
