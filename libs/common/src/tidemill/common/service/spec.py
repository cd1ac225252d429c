"""What a service is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.stdlib import BoundLogger

from tidemill.common.archive import Archive
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.rights import Uses
from tidemill.common.bus.step import Command, Step
from tidemill.common.bus.tables import BusTables
from tidemill.common.cache import Cache
from tidemill.common.config import Config, Sources
from tidemill.common.retention import Layer
from tidemill.common.servers import Addresses
from tidemill.common.telemetry.health import Check
from tidemill.common.telemetry.tracing import Telemetry

GROUP = "tidemill.services"
EVERY = "*"

NOTHING = Uses()

Task = Callable[[], Awaitable[None]]
"""Runs until it is cancelled; when it ends or fails it is started again, after a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service, found by the entry point `tidemill.services` of its name."""

    name: str
    version: str
    title: str
    settings: type[BaseModel]
    metadata: MetaData
    tables: BusTables
    migrations: str
    """Package whose modules are the Alembic revisions, for instance `tidemill.watcher.migrations`."""
    open: Callable[["Context"], AbstractAsyncContextManager["Wiring"]]
    uses: Uses = NOTHING
    """What it does on the bus: `tidemill nats-config` makes the permissions of its user of it."""
    reads: Sequence[str] = ()
    """Schemas of others that it reads, or EVERY: `tidemill database-roles` makes grants of it."""
    beside: Callable[[Config, Addresses], Awaitable[None]] | None = None
    """Runs from the first moment to the last, also while there is no server and the service cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a service is given to work with. `settings` is an instance of its own model."""

    config: Config
    settings: Any
    sources: Sources
    bus: Bus
    engine: AsyncEngine
    database_url: str
    """With references to secrets, for an engine of another kind."""
    archive: Archive
    cache: Cache
    telemetry: Telemetry
    log: BoundLogger


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a service does, handed to the bus."""

    steps: Sequence[Step[Any, Any]] = ()
    commands: Sequence[Command] = ()
    tasks: Sequence[Task] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    reconfigure: Callable[[Sources], Awaitable[None]] | None = None
    """Take the sources of another version of the configuration, called for each. What is at work goes on by the old
    ones; if it raises, everything does. Without it the service is drained and opened again when sources changed."""
    complaints: Callable[[], Mapping[str, str]] = dict
    """By source: what of the configuration cannot be done here. Asked often."""
    layers: Sequence[Layer] = ()
    """What goes after its time; dead letters that were dealt with are one of every service."""


class UnknownService(Exception):
    """No installed package brings a service of this name."""


def service_names() -> list[str]:
    """Of every installed service, without importing any."""
    return sorted(entry_points(group=GROUP).names)


def find_services(names: Sequence[str] = ()) -> list[ServiceSpec]:
    """The installed services; only those named, if any are."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    unknown = set(names) - set(found)
    if unknown:
        raise UnknownService(
            f"no service {', '.join(sorted(unknown))}; installed: {', '.join(sorted(found)) or 'none'}"
        )
    return [found[name].load() for name in names or sorted(found)]
