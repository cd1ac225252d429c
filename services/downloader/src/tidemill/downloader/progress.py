"""Tells whoever listens how far a download is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tidemill.common.events import DownloadDue
from tidemill.common.http import Progress

LOOK_EVERY = 0.25

Tell = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Of the bus: source, state."""


class ProgressTeller:
    """Of one file; takes what the client says, which is twice a second."""

    def __init__(self, due: DownloadDue, tell: Tell) -> None:
        self._due = due
        self._tell = tell
        self._latest: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self._latest = progress

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.tell()

    async def tell(self) -> None:
        """What is new, if anything is."""
        latest, self._latest = self._latest, None
        if latest is not None:
            await self._tell(self._due.source, state(self._due, latest))


def state(due: DownloadDue, progress: Progress) -> dict[str, Any]:
    """What is told."""
    return {
        "run": due.run,
        "item": due.item,
        "name": due.name,
        "bytes": progress.received,
        "total": progress.total,
        "bytes_per_second": round(progress.bytes_per_second),
        "eta_seconds": None if progress.eta is None else round(progress.eta.total_seconds(), 1),
    }
