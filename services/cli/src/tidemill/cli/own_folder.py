"""The configuration folder of one machine: applied by itself whenever it changes, as `config apply` would."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from tidemill.cli.asking import actor
from tidemill.common.bus.activity import to_the_second
from tidemill.common.bus.client import open_client, request_command
from tidemill.common.config import Config, ConfigError
from tidemill.common.config.content import SETTINGS, SOURCES, digest, files_in, read_content
from tidemill.common.database import open_engine
from tidemill.common.servers import Addresses
from tidemill.common.telemetry.logs import get_logger

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 0.4
"""What looks the same twice is complete: editors and `git pull` write file by file."""

LAST = text("SELECT sha256 FROM config.versions WHERE via = 'file' ORDER BY version DESC LIMIT 1")

log = get_logger("tidemill.up")

Signature = tuple[tuple[str, int, int], ...]
"""Names, times and sizes of all files."""


@dataclass
class OwnFolder:
    """What changed in the folder while nobody looked counts too; a rollback stays until a file is changed."""

    config: Config
    addresses: Addresses
    say: Callable[[str], None]
    _wrong: bool = False
    """What was told last."""

    async def run(self) -> None:
        """Until cancelled."""
        before: Signature | None = None
        handled: Signature | None = None
        told = ""
        while True:
            now = await asyncio.to_thread(self._signature)
            if now == before and now != handled:
                try:
                    await self._offer(first=handled is None)
                    handled, told = now, ""
                except Exception as error:  # noqa: BLE001 - scheduler or servers are away; it is tried again
                    if str(error) != told:
                        log.warning("the folder cannot be applied yet", error=str(error))
                    told = str(error)
            still, before = now == before, now
            await asyncio.sleep(to_the_second(LOOK_SECONDS) if still else AGAIN_SECONDS)

    def _signature(self) -> Signature:
        folder, sources = self.config.folder, self.config.common.sources_dir
        files = [*files_in(folder, SETTINGS), *files_in(sources, SOURCES)]
        looks = []
        for file in files:
            try:
                stat = file.stat()
            except OSError:
                continue  # It went just now.
            looks.append((str(file), stat.st_mtime_ns, stat.st_size))
        return tuple(sorted(looks))

    async def _offer(self, *, first: bool) -> None:
        try:
            content = await asyncio.to_thread(read_content, self.config.folder, self.config.common.sources_dir)
        except ConfigError as error:
            log.error("the configuration folder cannot be read", problems=[str(problem) for problem in error.problems])
            self.say(f"The configuration stays as it is:\n{error}")
            self._wrong = True
            return
        if first and await self._last() == digest(content):
            return
        parameters = {"files": content, "actor": actor(), "via": "file"}
        async with open_client(self.addresses.nats_url) as client:
            answer = await request_command(client, "scheduler", "config_apply", parameters)
        self._tell(answer, first)

    async def _last(self) -> str | None:
        """What this folder held when it was applied last."""
        engine = open_engine(self.addresses.database_url, pool=1, application="tidemill-up")
        try:
            async with engine.connect() as connection:
                found: str | None = await connection.scalar(LAST)
                return found
        finally:
            await engine.dispose()

    def _tell(self, answer: dict[str, Any], first: bool) -> None:
        wrong, self._wrong = self._wrong, answer["state"] == "refused"
        match answer["state"]:
            case "refused":
                problems = "\n".join(f"  {problem}" for problem in answer["problems"])
                self.say(f"The configuration cannot be used; the services work on with what they have:\n{problems}")
            case "applied" if not first:
                changes = ", ".join(f"{name} {what}" for name, what in answer["changes"].items())
                self.say(f"Configuration version {answer['version']}: {changes}")
            case "unchanged" if wrong:
                self.say(f"The configuration is as it was: version {answer['version']}")
