"""Opens and wires the alerter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidemill.alerter.settings import AlerterSettings
from tidemill.alerter.tables import bus, metadata
from tidemill.common.service import Context, ServiceSpec, Wiring, main


@asynccontextmanager
async def open_alerter(context: Context) -> AsyncIterator[Wiring]:
    yield Wiring()


SPEC = ServiceSpec(
    name="alerter",
    version=version("tidemill-alerter"),
    title="Tells the right person once, soon, with the cause",
    settings=AlerterSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.alerter.migrations",
    open=open_alerter,
)


def run() -> None:
    main(SPEC)
