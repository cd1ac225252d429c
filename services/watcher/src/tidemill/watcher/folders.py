"""The watched folders of all sources: one loop each, begun and ended as the configuration says."""

import asyncio
from collections.abc import Callable

from tidemill.common.bus.supervise import Supervisor
from tidemill.common.config import Sources
from tidemill.common.config.sources import SourceFile
from tidemill.watcher.folder import Folder

FINISH_SECONDS = 10.0
"""For files in hand, when their source changes; what is not done then is taken by the new configuration."""


class Folders:
    def __init__(self, sources: Sources, open_folder: Callable[[SourceFile], Folder]) -> None:
        self._open = open_folder
        self._supervisor = Supervisor()
        self._watched = {name: open_folder(source) for name, source in watched(sources).items()}
        self._running = False

    async def run(self) -> None:
        """Until cancelled."""
        self._running = True
        for name, folder in self._watched.items():
            self._supervisor.start(name, folder.run)
        try:
            await asyncio.Event().wait()
        finally:
            self._running = False
            await self._supervisor.stop_all()

    async def change(self, sources: Sources) -> None:
        """Begin again with the sources that are not as they were. Files in hand are finished by the old ones."""
        wanted = watched(sources)
        ended = [name for name, folder in self._watched.items() if folder.intake.source != wanted.get(name)]
        fresh = {name for name in wanted if name in ended or name not in self._watched}
        opened = {name: self._open(wanted[name]) for name in fresh}
        await asyncio.gather(*(self._end(name) for name in ended))
        for name, folder in opened.items():
            self._watched[name] = folder
            if self._running:
                self._supervisor.start(name, folder.run)

    async def complaint(self) -> str | None:
        return "; ".join(f"{name}: {why}" for name, why in sorted(self._supervisor.failures.items())) or None

    async def _end(self, name: str) -> None:
        await self._watched[name].finish(FINISH_SECONDS)
        await self._supervisor.stop(name)
        self._supervisor.failures.pop(name, None)
        del self._watched[name]


def watched(sources: Sources) -> dict[str, SourceFile]:
    return {name: source for name, source in sources.items() if source.watch is not None}
