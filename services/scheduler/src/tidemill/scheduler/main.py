"""Opens and wires the scheduler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidemill.common.events import RunFinished
from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.scheduler.ledger_steps import ledger_steps
from tidemill.scheduler.settings import SchedulerSettings
from tidemill.scheduler.tables import bus, metadata


@asynccontextmanager
async def open_scheduler(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, SchedulerSettings)
    sources = context.sources

    def converts(source: str) -> bool:
        known = sources.get(source)
        return known is None or known.convert is not None

    yield Wiring(steps=ledger_steps(converts, context.telemetry.metrics), publishes=(RunFinished,))


SPEC = ServiceSpec(
    name="scheduler",
    version=version("tidemill-scheduler"),
    title="Fires each slot once, and keeps the run ledger",
    settings=SchedulerSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.scheduler.migrations",
    open=open_scheduler,
)


def run() -> None:
    main(SPEC)
