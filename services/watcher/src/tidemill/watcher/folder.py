"""Watches one folder for ever: notices files, waits until each is still, hands it to the intake, looks again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path, PurePosixPath

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tidemill.watcher import store
from tidemill.watcher.errors import FolderAway, StillChanging, UnreadableName
from tidemill.watcher.intake import Intake
from tidemill.watcher.notice import Method, choose_method, find_files, native_changes
from tidemill.watcher.policy import printable, wanted
from tidemill.watcher.stillness import Look, Still, Stillness

log = structlog.get_logger()

AWAY_SECONDS = 1.0
"""How often a missing folder is asked for, and a watched one whether it is still the same."""
BUSY_SECONDS = 0.25
"""How soon a file that somebody writes to is looked at again."""
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses while disk, archive or database are away. The file waits; it has not failed."""


class Folder:
    """The watched folder of one source."""

    def __init__(self, intake: Intake, *, parallel: int = 4, clock: Callable[[], float] = time.time) -> None:
        self.intake = intake
        self.watch = intake.watch
        self.root = intake.watch.folder
        self.away: str | None = None
        """Why the folder cannot be watched now; None while it is."""
        self.method: Method | None = None
        self._clock = clock
        self._stillness = Stillness(self.watch.stable_for.total_seconds())
        self._slots = asyncio.Semaphore(parallel)
        self._in_hand: dict[Path, asyncio.Task[None]] = {}
        self._finishing = False
        self._finished: dict[Path, Look] = {}
        """Files that stay where they are and need no further look-up while they look the same."""
        self._log = log.bind(source=intake.source.source, folder=str(self.root))

    async def run(self) -> None:
        """Until cancelled. A folder that is away is waited for."""
        try:
            while True:
                try:
                    await self._watch_while_there()
                except FolderAway as reason:
                    if self.away is None:
                        self._log.warning("folder is away, waiting for it", reason=str(reason))
                    self.away = str(reason)
                    await asyncio.sleep(AWAY_SECONDS)
        finally:
            for task in self._in_hand.values():
                task.cancel()
            await asyncio.gather(*self._in_hand.values(), return_exceptions=True)

    async def finish(self, seconds: float) -> None:
        """Take nothing new, and let what is in hand come to its end."""
        self._finishing = True
        if self._in_hand:
            await asyncio.wait(self._in_hand.values(), timeout=seconds)

    async def _watch_while_there(self) -> None:
        identity = _identity(self.root)
        if self.watch.method == "auto":
            self.method, reason = await choose_method(self.root)
        else:
            self.method, reason = self.watch.method, "configured"
        self.away = None
        self._log.info("watching", method=self.method, reason=reason)
        changed: asyncio.Queue[set[Path]] = asyncio.Queue()
        noticing = asyncio.create_task(self._notice(changed)) if self.method == "native" else None
        # The watch must be in place before the first scan, or a file that comes between them is missed until the next
        # one. Its task sets it up in its first step, before it waits for anything.
        await asyncio.sleep(0)
        try:
            await self._look_for_ever(changed, identity, noticing)
        finally:
            if noticing is not None:
                noticing.cancel()
                await asyncio.gather(noticing, return_exceptions=True)

    async def _notice(self, changed: "asyncio.Queue[set[Path]]") -> None:
        """Paths that something happened to; none when it may have happened to any."""
        while True:
            try:
                async with aclosing(native_changes(self.root, recursive=self.watch.recursive)) as changes:
                    async for paths in changes:
                        changed.put_nowait(paths)
            except UnreadableName:
                await asyncio.sleep(BUSY_SECONDS)
                changed.put_nowait(set())  # It is read when we wait next: when the new watch is in place.

    async def _look_for_ever(
        self,
        changed: "asyncio.Queue[set[Path]]",
        identity: tuple[int, int],
        noticing: asyncio.Task[None] | None,
    ) -> None:
        pause = self.watch.poll_every if noticing is None else self.watch.rescan_every
        next_scan = self._clock()
        while True:
            if self._clock() >= next_scan:
                await self._scan()
                next_scan = self._clock() + pause.total_seconds()
            self._hand_over()
            due = self._stillness.next_due()
            wake = min(next_scan, self._clock() + AWAY_SECONDS, *(() if due is None else (due,)))
            try:
                paths = await asyncio.wait_for(changed.get(), max(0.005, wake - self._clock()))
            except TimeoutError:
                if _identity(self.root) != identity:
                    raise FolderAway(f"{self.root}: another folder is mounted there now") from None
            else:
                if paths:
                    await self._look_at(paths)
                else:
                    next_scan = self._clock()
            if noticing is not None and noticing.done():
                # The platform ran out of watches, or the watching thread died: looking still works.
                self._log.warning("events stopped, polling instead", reason=repr(noticing.exception()))
                noticing, pause, self.method = None, self.watch.poll_every, "polling"
                next_scan = self._clock()

    async def _scan(self) -> None:
        """Look at every file; those that are known as they are need nothing more."""
        found = dict(await asyncio.to_thread(lambda: list(find_files(self.root, self.watch))))
        self._finished = {path: look for path, look in self._finished.items() if found.get(path) == look}
        await self._see((path, look) for path, look in found.items())

    async def _look_at(self, paths: set[Path]) -> None:
        looks: dict[Path, Look] = {}
        for path in paths:
            try:
                if path.is_dir() and not path.is_symlink():
                    # A whole folder was moved in; its files make no events of their own.
                    if path != self.root:
                        looks |= {
                            file: look for file, look in find_files(self.root, self.watch) if path in file.parents
                        }
                elif path.is_file() and not path.is_symlink() and self._wanted(path):
                    looks[path] = Look.of(path.lstat())
            except OSError:
                continue
        await self._see(looks.items())

    def _wanted(self, path: Path) -> bool:
        return path.is_relative_to(self.root) and wanted(PurePosixPath(path.relative_to(self.root)), self.watch)

    async def _see(self, looks: Iterable[tuple[Path, Look]]) -> None:
        fresh = {path: look for path, look in looks if path not in self._in_hand and self._finished.get(path) != look}
        if not fresh:
            return
        try:
            known = await store.find_known(
                self.intake.engine,
                self.intake.source.source,
                [(printable(path.relative_to(self.root)), look) for path, look in fresh.items()],
            )
        except (SQLAlchemyError, OSError):
            # Without the database nothing can be taken anyway; what is known is found again when it is back.
            known = {}
        for path, look in fresh.items():
            settled = known.get(printable(path.relative_to(self.root)))
            if settled:
                self._finished[path] = look
            elif settled is False and look.changed_at <= self._clock():
                self._start(self.intake.finish, Still(path, look, look.changed_at))
            else:
                self._stillness.see(path, look, self._clock(), trust_times=self.method == "native")

    def _hand_over(self) -> None:
        """Look once more at the files whose window is over, and take those that are finished."""
        now = self._clock()
        for still in self._stillness.due(now):
            try:
                look = Look.of(still.path.lstat())
            except OSError:
                self._stillness.forget(still.path)
                continue
            if look != still.look:
                self._stillness.see(still.path, look, now, trust_times=False)
            else:
                self._stillness.forget(still.path)
                self._start(self.intake.take, still)

    def _start(self, what: Callable[[Still], Awaitable[None]], still: Still) -> None:
        if self._finishing or still.path in self._in_hand:
            return
        task = asyncio.create_task(self._carry_out(what, still))
        self._in_hand[still.path] = task
        task.add_done_callback(lambda _: self._in_hand.pop(still.path, None))

    async def _carry_out(self, what: Callable[[Still], Awaitable[None]], still: Still) -> None:
        failures = 0
        while not await self._succeeds(what, still, failures):
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _succeeds(self, what: Callable[[Still], Awaitable[None]], still: Still, failures: int) -> bool:
        """Whether the file needs no further attempt: it was taken, is gone, or has to become still again."""
        async with self._slots:
            try:
                await what(still)
            except StillChanging:
                self._look_again(still.path, self._clock() + BUSY_SECONDS)
            except FileNotFoundError:
                pass
            except Exception as error:  # noqa: BLE001 disk full, archive or database away, a mount that hangs
                reason = f"{type(error).__name__}: {error}"
                self._log.warning("file waits", path=printable(still.path), failures=failures + 1, reason=reason)
                return False
            else:
                self._finished[still.path] = still.look
                self._look_again(still.path)
        return True

    def _look_again(self, path: Path, not_before: float = 0.0) -> None:
        """Notice what happened to a file while it was in hand, when events about it were passed over."""
        try:
            look = Look.of(path.lstat())
        except OSError:
            return
        if self._finished.get(path) != look and self._wanted(path):
            self._stillness.see(path, look, self._clock(), trust_times=self.method == "native")
            self._stillness.postpone(path, not_before)


def _identity(folder: Path) -> tuple[int, int]:
    """Which folder this is, however it is named. Raises FolderAway when there is none."""
    try:
        stat = folder.stat()
    except OSError as error:
        raise FolderAway(f"{folder}: {error.strerror}") from error
    return stat.st_dev, stat.st_ino
