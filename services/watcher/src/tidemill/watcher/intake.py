"""Takes one file that has become still: keep its bytes, remember it, tell of it, put it away."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive, ChangedWhileReading
from tidemill.common.bus.bus import Bus
from tidemill.common.config.sources import SourceFile, Watch
from tidemill.common.events import RunPlanned
from tidemill.common.telemetry.metrics import FILES, WATCH_LATENCY_SECONDS
from tidemill.common.telemetry.tracing import Telemetry, traceparent
from tidemill.watcher import policy, store
from tidemill.watcher.errors import StillChanging
from tidemill.watcher.recorder import Recorder
from tidemill.watcher.settling import settle_file, write_reason
from tidemill.watcher.stillness import Look, Still
from tidemill.watcher.writers import has_writer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The way of a file of one source. Every step may be repeated: a kill anywhere is mended by the next look."""

    source: SourceFile
    watch: Watch
    archive: Archive
    bus: Bus
    engine: AsyncEngine
    recorder: Recorder
    telemetry: Telemetry
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def take(self, still: Still) -> None:
        """Raises StillChanging when it is not finished after all, and what archive and database raise."""
        await self.bus.control.wait_until_allowed(self.source.source)
        relative = PurePosixPath(still.path.relative_to(self.watch.folder))
        with self.telemetry.span("file seen", parent="") as span:
            span.set_attributes({"tidemill.source": self.source.source, "file.path": policy.printable(relative)})
            if refused := policy.refusal(relative, still.look, self.watch):
                await self._refuse(still, relative, refused)
                return
            taken = await self._keep(still, relative)
            outcome = await self.recorder.record(taken)
            self._count(outcome, still)
            if not taken.stays:
                await self._settle(still, relative, outcome)

    async def finish(self, still: Still) -> None:
        """Put away a file that was recorded before, by a process that then died."""
        relative = PurePosixPath(still.path.relative_to(self.watch.folder))
        outcome = await store.get_outcome(self.engine, self.source.source, policy.printable(relative), still.look)
        if outcome == "refused" and (refused := policy.refusal(relative, still.look, self.watch)):
            await self._put_refused_away(still, relative, refused)
        else:
            await self._settle(still, relative, outcome)

    async def _keep(self, still: Still, relative: PurePosixPath) -> store.Taken:
        _expect_finished(still)
        with self.telemetry.span("file stored") as span:
            received_at = self.now()
            try:
                stored = await self.archive.put_file(still.path)
            except ChangedWhileReading as changed:
                raise StillChanging(str(changed)) from changed
            _expect_finished(still)
            span.set_attributes({"document.sha256": stored.sha256, "file.size": stored.size_bytes})
            return store.Taken(
                source=self.source.source,
                path=policy.printable(relative),
                look=still.look,
                sha256=stored.sha256,
                received_at=received_at,
                modified_at=datetime.fromtimestamp(still.look.mtime_ns / 1e9, UTC),
                lane=self.watch.lane(policy.printable(relative)),
                tags=relative.parts[:-1],
                stays=self.watch.after == "leave",
                traceparent=traceparent(span),
            )

    async def _refuse(self, still: Still, relative: PurePosixPath, refused: policy.Refused) -> None:
        rejected = store.Rejected(
            self.source.source, policy.printable(relative), still.look, refused, self.now(), traceparent()
        )
        async with self.bus.transaction() as tx:
            events = await store.record_refused(tx, rejected)
            await self.bus.emit(tx, events)
        if events:
            (run,) = (one.event.run for one in events if isinstance(one.event, RunPlanned))
            path = policy.printable(relative)
            log.warning("file refused", source=self.source.source, run=run, path=path, reason=refused.detail)
            self._count("refused", still)
        await self._put_refused_away(still, relative, refused)

    async def _put_refused_away(self, still: Still, relative: PurePosixPath, refused: policy.Refused) -> None:
        moved = await self._settle(still, relative, "refused")
        if moved is not None and moved != still.path:
            write_reason(moved, refused, self.now())

    async def _settle(self, still: Still, relative: PurePosixPath, outcome: str) -> Path | None:
        where = await asyncio.to_thread(
            settle_file, self.watch.folder, still.path, still.look, self.watch.after, outcome
        )
        await store.settle(self.engine, self.source.source, policy.printable(relative), still.look)
        return where

    def _count(self, outcome: str, still: Still) -> None:
        metrics = self.telemetry.metrics
        metrics.of(FILES, source=self.source.source, outcome=outcome).inc()
        window = self.watch.stable_for.total_seconds()
        latency = self.now().timestamp() - (still.since + window)
        metrics.of(WATCH_LATENCY_SECONDS, source=self.source.source).observe(max(0.0, latency))


def _expect_finished(still: Still) -> None:
    """Raises StillChanging unless the file looks as it did and nobody has it open for writing."""
    if Look.of(still.path.lstat()) != still.look:
        raise StillChanging(f"{still.path} changed")
    if has_writer(still.path):
        raise StillChanging(f"{still.path} is open for writing")
