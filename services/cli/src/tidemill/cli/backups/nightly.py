"""Backups of one machine that are made by themselves, each in a process of its own: its work takes nobody's time."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidemill.cli.backups.errors import BackupDamaged
from tidemill.cli.backups.layout import Folder
from tidemill.common.bus.activity import to_the_second
from tidemill.common.config import Config
from tidemill.common.config.settings import BackupSettings
from tidemill.common.telemetry.logs import get_logger

LOOK_SECONDS = 20.0
AGAIN_AFTER = timedelta(minutes=15)
"""One that failed is tried again; the alert comes by its own clock."""
COMMAND = "from tidemill.cli.main import main; main()"

log = get_logger("tidemill.up")


def is_due(settings: BackupSettings, newest: datetime | None, now: datetime) -> bool:
    """Whether a slot has come since the newest backup; the first one is made at once, so that it is known to work."""
    if newest is None:
        return True
    slot = settings.schedule().next_slot(newest)
    return slot is not None and slot <= now


@dataclass
class Nightly:
    config: Config
    say: Callable[[str], None]
    _tried_at: datetime | None = None

    async def run(self) -> None:
        """Until cancelled; a backup that is being made is ended then, and leaves nothing."""
        settings = self.config.common.backup
        if settings.folder is None:
            return
        folder = Folder(self.config.folder / settings.folder)
        while True:
            now = datetime.now(UTC)
            rested = self._tried_at is None or now - self._tried_at >= AGAIN_AFTER
            if rested and is_due(settings, await asyncio.to_thread(_newest, folder), now):
                self._tried_at = now
                await self._make()
            await asyncio.sleep(to_the_second(LOOK_SECONDS))

    async def _make(self) -> None:
        given = [word for key, value in self.config.given.items() for word in ("--set", f"{key}={value}")]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "backup", "take", "--scheduled", *given),
            cwd=self.config.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        said = output.decode(errors="replace").strip().splitlines()
        if process.returncode:
            self.say("The backup is not good:\n" + "\n".join(f"  {line}" for line in said[-3:]))
            log.error("the backup is not good", said=said)
        else:
            log.info("backup", said=said)


def _newest(folder: Folder) -> datetime | None:
    names = folder.names()
    try:
        return folder.manifest().began_at if names else None
    except BackupDamaged:
        return None
