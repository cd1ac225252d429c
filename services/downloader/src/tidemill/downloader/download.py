"""Downloads one file: ask politely, judge, keep."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive, ArchiveUnavailable
from tidemill.common.bus.step import Delivery, Unavailable
from tidemill.common.config.downloading import Download
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import DownloadDue
from tidemill.common.http import BadStatus, FetchFailure, Held, NotWhatItShouldBe, TooLarge, Usage, forget
from tidemill.downloader import policy, store
from tidemill.downloader.fetch import Content, Fetch
from tidemill.downloader.outcomes import (
    Attempt,
    Downloaded,
    Failed,
    HeldBack,
    Outcome,
    Present,
    Refused,
    Superseded,
    Unchanged,
)
from tidemill.downloader.partial import Busy, PartialFiles
from tidemill.downloader.policy import Rejection
from tidemill.downloader.progress import ProgressTeller, Tell

SourceOf = Callable[[str, int], SourceFile | None]
"""A source by its name, as a version of the configuration says it."""

SIGN_EVERY = store.LEASE / 6
"""How often a long download says that it is still at work."""
BUSY_AGAIN = timedelta(seconds=2)
GONE = (404, 410)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloader:
    """What downloading takes."""

    source_of: SourceOf
    fetch: Fetch
    partial_files: PartialFiles
    archive: Archive
    engine: AsyncEngine
    tell: Tell
    now: Callable[[], datetime]

    async def work(self, delivery: Delivery[DownloadDue]) -> Attempt:
        due, usage, began_at = delivery.event, Usage(), self.now()
        source = self.source_of(due.source, due.config_version)
        handed = _handed(delivery.id)
        claimed = await store.claim(self.engine, due.run, due.item, handed)
        if claimed is None:
            return Attempt(Superseded(), began_at, self.now(), usage)
        if source is None or source.download is None:
            gone = Failed("config", "the source downloads nothing any more", retry=False)
            return Attempt(gone, began_at, self.now(), usage)
        async with self._signs_of_life(due, handed) as progress:
            outcome = await self._outcome(due, source, source.download, claimed, usage, progress)
        return Attempt(outcome, began_at, self.now(), usage, source.download.lane)

    async def _outcome(
        self,
        due: DownloadDue,
        source: SourceFile,
        download: Download,
        claimed: store.Claimed,
        usage: Usage,
        progress: ProgressTeller,
    ) -> Outcome:
        left = None if claimed.deadline is None else (claimed.deadline - self.now()).total_seconds()
        try:
            async with asyncio.timeout(left) as limit:
                with self.partial_files.open(due.source, due.item) as part:
                    got = await self.fetch.file(
                        source, due.url, usage, part=part, present=claimed.present, on_progress=progress
                    )
                    outcome = Unchanged() if got is None else await self._keep(got, download)
                    forget(part)
                    return outcome
        except TimeoutError:
            if not limit.expired():
                raise
            return Superseded()  # The run is timed out, and its jobs are dropped.
        except Held as held:
            return HeldBack(held.host, held.reason, held.detail, held.until)
        except Busy as busy:
            return HeldBack(policy.host_of(due.url), "busy", str(busy), self.now() + BUSY_AGAIN)
        except FetchFailure as failure:
            return _outcome_of(failure, download)
        except OSError as disk:
            raise Unavailable(f"the part cannot be kept: {disk}") from disk

    async def _keep(self, got: Content, download: Download) -> Outcome:
        rejected = policy.rejection(got.size_bytes, download)
        if rejected is not None:
            return Refused(rejected, got.size_bytes)
        try:
            stored = await self.archive.put_file(got.path)
        except ArchiveUnavailable as away:
            raise Unavailable(str(away)) from away
        present = Present(stored.sha256, stored.size_bytes, got.etag, got.last_modified)
        return Downloaded(present, got.modified_at)

    @asynccontextmanager
    async def _signs_of_life(self, due: DownloadDue, handed: int) -> AsyncIterator[ProgressTeller]:
        progress = ProgressTeller(due, self.tell)
        tasks = [
            asyncio.create_task(progress.run()),
            asyncio.create_task(self._keep_lease(due, handed)),
        ]
        try:
            yield progress
            await progress.tell()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_lease(self, due: DownloadDue, handed: int) -> None:
        while True:
            await asyncio.sleep(SIGN_EVERY.total_seconds())
            # While Postgres is away nobody else can take the job either.
            with suppress(SQLAlchemyError, OSError):
                await store.keep(self.engine, due.run, due.item, handed)


def _handed(id: str) -> int:
    """How often the job had been handed out when this was said; 0 for what we did not say."""
    number = id.rpartition("#")[2]
    return int(number) if number.isdigit() else 0


def _outcome_of(failure: FetchFailure, download: Download) -> Outcome:
    match failure:
        case BadStatus(status=status) if status in GONE and download.template is not None:
            return Failed(policy.NOT_PUBLISHED, failure.detail, retry=False)
        case TooLarge() | NotWhatItShouldBe():
            return Refused(Rejection(failure.slug, failure.detail))
        case _:
            return Failed(failure.slug, failure.detail, failure.retry, failure.after)
