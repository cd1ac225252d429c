"""A small service for tests of what runs services: it grinds whatever document is stored, and counts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Column, Table, Text, insert

from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.bus.tables import bus_tables
from tidemill.common.config import Settings
from tidemill.common.database import service_metadata
from tidemill.common.events import DocumentStored
from tidemill.common.service import Context, ServiceSpec, Wiring

metadata = service_metadata("mill")
tables = bus_tables(metadata)
ground = Table("ground", metadata, Column("sha256", Text, primary_key=True))


class MillSettings(Settings):
    """The mill."""

    broken: Path | None = None
    """While this file exists, the mill is not ready."""


async def grind(delivery: Delivery[DocumentStored]) -> str:
    return delivery.event.sha256


async def record(tx: Tx, results: Sequence[Done[DocumentStored, str]]) -> list[Outgoing]:
    await tx.execute(insert(ground), [{"sha256": done.result} for done in results])
    return []


@asynccontextmanager
async def open_mill(context: Context) -> AsyncIterator[Wiring]:
    broken: Path | None = context.settings.broken

    async def stones() -> str | None:
        return "the stones are worn" if broken and broken.exists() else None

    yield Wiring(steps=[Step(name="mill", event=DocumentStored, work=grind, record=record)], checks={"stones": stones})


SPEC = ServiceSpec(
    name="mill",
    version="1.0.0",
    title="Grinds what is stored",
    settings=MillSettings,
    metadata=metadata,
    tables=tables,
    migrations="tidemill.common.testing.mill_migrations",
    open=open_mill,
)


def install(folder: Path) -> Path:
    """Make a folder that, on PYTHONPATH, lets the mill be found as if a package had brought it."""
    brought = folder / "mill-1.dist-info"
    brought.mkdir(parents=True)
    (brought / "METADATA").write_text("Metadata-Version: 2.1\nName: mill\nVersion: 1\n")
    (brought / "entry_points.txt").write_text("[tidemill.services]\nmill = tidemill.common.testing.mill:SPEC\n")
    return folder
