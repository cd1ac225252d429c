"""Where the servers are: those configured, else those that `tidemill up` runs in the data folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

from tidemill.common.servers.child import FolderLock, FolderNotOurs

FILE = Path("run") / "servers.json"


class Configured(Protocol):
    """What of the common settings matters here."""

    @property
    def data_dir(self) -> Path: ...

    @property
    def nats_url(self) -> str | None: ...

    @property
    def database_url(self) -> str | None: ...


class NothingRuns(Exception):
    """No server is configured, and no `tidemill up` is running; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Addresses:
    nats_url: str
    database_url: str
    health_url: str = ""
    """Of the services in `tidemill up`; empty where they run elsewhere."""

    @classmethod
    def find(cls, settings: Configured) -> Self:
        """Raises NothingRuns."""
        try:
            holder = FolderLock(settings.data_dir / FILE.parent).holder()
        except FolderNotOurs as not_ours:
            if settings.nats_url and settings.database_url:
                return cls(settings.nats_url, settings.database_url)
            raise NothingRuns(str(not_ours)) from not_ours
        if holder is None:
            if settings.nats_url and settings.database_url:
                return cls(settings.nats_url, settings.database_url)
            missing = "NATS_URL and DATABASE_URL" if not settings.nats_url else "DATABASE_URL"
            raise NothingRuns(
                f"nothing runs with the data of {settings.data_dir}: start `tidemill up`, or set {missing}"
            )
        try:
            running = json.loads((settings.data_dir / FILE).read_text())
        except FileNotFoundError:
            raise NothingRuns("`tidemill up` is still starting: try again in a few seconds") from None
        return cls(
            settings.nats_url or running["nats_url"],
            settings.database_url or running["database_url"],
            running["health_url"],
        )

    def write(self, data_dir: Path) -> None:
        """For the other commands in this folder. Only who holds the lock of `run` writes."""
        (data_dir / FILE).write_text(json.dumps(asdict(self), indent=2))

    @staticmethod
    def forget(data_dir: Path) -> None:
        (data_dir / FILE).unlink(missing_ok=True)
