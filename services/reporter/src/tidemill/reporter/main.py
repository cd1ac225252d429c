"""Opens and wires the reporter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version

from tidemill.common.channels import Deliveries, Senders, from_archive
from tidemill.common.config import Sources
from tidemill.common.database import open_engine
from tidemill.common.events import AnomalyFound, ReportNotDelivered, ReportReady, RunFinished
from tidemill.common.service import Context, ServiceSpec, Uses, Wiring, main
from tidemill.reporter.catalogue import catalogue
from tidemill.reporter.commands import build_command
from tidemill.reporter.days import utc_now
from tidemill.reporter.gathering import Gathering
from tidemill.reporter.making import Making
from tidemill.reporter.outcomes import Outcomes
from tidemill.reporter.retention import layers
from tidemill.reporter.send_command import send_command
from tidemill.reporter.sending import Sending
from tidemill.reporter.settings import ReporterSettings
from tidemill.reporter.statements import find_reported
from tidemill.reporter.steps import Reporting, run_step
from tidemill.reporter.tables import bus, deliveries, metadata
from tidemill.schedule import find_zone


@asynccontextmanager
async def open_reporter(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, ReporterSettings)
    datasets = find_reported()
    zone = find_zone(settings.zone)
    known = catalogue([one.dataset for one in datasets])
    reporting = Reporting(zone=zone, run_reports=settings.run_reports, datasets=datasets, known=known)
    gathering = Gathering(
        zone, datasets, known, context.sources, frozenset(settings.exempt), stale_after=settings.stale_after
    )

    async def apply(sources: Sources) -> None:
        nonlocal gathering
        gathering = replace(gathering, sources=sources)

    # A statement over millions of records takes longer than a service's statements may.
    patient = open_engine(context.database_url, pool=3, application="tidemill-reporter-facts", statement_seconds=None)
    metrics = context.telemetry.metrics
    async with open_sending(context, settings) as sending:
        making = Making(context.bus, patient, lambda: gathering, settings.deadline, metrics, announce=sending.announce)
        try:
            yield Wiring(
                steps=(run_step(patient, reporting, metrics),),
                commands=(build_command(lambda: gathering, utc_now), send_command(sending)),
                tasks=(making.run, sending.run, sending.deliveries.run),
                reconfigure=apply,
                layers=layers(context.archive),
            )
        finally:
            await patient.dispose()


@asynccontextmanager
async def open_sending(context: Context, settings: ReporterSettings) -> AsyncIterator[Sending]:
    channels = context.config.common.channels
    async with Senders(channels, load=from_archive(context.archive)) as senders:
        on_their_way = Deliveries(
            context.engine,
            deliveries,
            senders,
            context.telemetry.metrics,
            told=Outcomes(context.bus).tell,
            transaction=context.bus.transaction,
        )
        yield Sending(
            context.bus, context.engine, context.archive, on_their_way, channels, settings.send, settings.deadline
        )


SPEC = ServiceSpec(
    name="reporter",
    version=version("tidemill-reporter"),
    title="Says what a day brought, and how far it can be trusted",
    settings=ReporterSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.reporter.migrations",
    uses=Uses(consumes={"reporter": RunFinished}, publishes=(AnomalyFound, ReportReady, ReportNotDelivered)),
    reads=("scheduler", "scraper", "downloader", "converter"),
    open=open_reporter,
)


def run() -> None:
    main(SPEC)
