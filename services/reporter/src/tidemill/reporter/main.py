"""Opens and wires the reporter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidemill.common.events import AnomalyFound
from tidemill.common.retention import rows_layer
from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.reporter.catalogue import catalogue
from tidemill.reporter.settings import ReporterSettings
from tidemill.reporter.statements import find_reported
from tidemill.reporter.steps import Reporting, run_step
from tidemill.reporter.tables import bus, metadata
from tidemill.schedule import find_zone

LAYERS = (
    rows_layer("measures", "reporter.measures", "day", example="concat_ws(' ', t.source, t.name, t.day)"),
    rows_layer("reports", "reporter.reports", "day", example="concat_ws(' ', t.kind, t.subject)"),
)


@asynccontextmanager
async def open_reporter(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, ReporterSettings)
    datasets = find_reported()
    reporting = Reporting(
        zone=find_zone(settings.zone),
        run_reports=settings.run_reports,
        datasets=datasets,
        known=catalogue([one.dataset for one in datasets]),
    )
    yield Wiring(steps=(run_step(context.engine, reporting),), layers=LAYERS, publishes=(AnomalyFound,))


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
