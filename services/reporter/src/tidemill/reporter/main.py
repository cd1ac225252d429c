"""Opens and wires the reporter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.reporter.settings import ReporterSettings
from tidemill.reporter.tables import bus, metadata


@asynccontextmanager
async def open_reporter(context: Context) -> AsyncIterator[Wiring]:
    yield Wiring()


SPEC = ServiceSpec(
    name="reporter",
    version=version("tidemill-reporter"),
    title="Says what a day brought, and how far it can be trusted",
    settings=ReporterSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.reporter.migrations",
    open=open_reporter,
)


def run() -> None:
    main(SPEC)
