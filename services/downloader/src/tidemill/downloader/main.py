"""Opens and wires the downloader."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version

from tidemill.common.config.configured import Configured
from tidemill.common.http import PoliteClient, open_limits
from tidemill.common.http.ledger import RequestLedger, restore_limits
from tidemill.common.retention import rows_layer
from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.downloader.download import Downloader
from tidemill.downloader.fetch import PoliteFetch
from tidemill.downloader.lateness import Lateness
from tidemill.downloader.partial import PartialFiles
from tidemill.downloader.plan import Planner, record_plans
from tidemill.downloader.record import record_attempts
from tidemill.downloader.release import Release
from tidemill.downloader.settings import DownloaderSettings
from tidemill.downloader.steps import USES, fetch_step, plan_step
from tidemill.downloader.tables import bus, metadata, requests
from tidemill.downloader.tidy import Tidy

LAYERS = (rows_layer("requests", "downloader.requests", "day", example="concat_ws(' ', t.source, t.host, t.day)"),)


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_downloader(context: Context) -> AsyncIterator[Wiring]:
    settings, common, metrics = context.settings, context.config.common, context.telemetry.metrics
    assert isinstance(settings, DownloaderSettings)
    configured = Configured(context.sources)
    partial_files = PartialFiles(common.data_dir / "partial")
    ledger = RequestLedger(context.engine, requests)
    limits = open_limits(common.redis_url, metrics, common.data_dir / "limits")
    try:
        await restore_limits(context.engine, requests, limits, (now() - timedelta(days=1)).date())
        async with PoliteClient(limits, context.cache, metrics, ledger=ledger.note) as client:
            fetch = PoliteFetch(client)
            planner = Planner(source_of=configured.source, fetch=fetch, bus=context.bus, engine=context.engine, now=now)
            downloader = Downloader(
                source_of=configured.source,
                fetch=fetch,
                partial_files=partial_files,
                archive=context.archive,
                engine=context.engine,
                tell=context.bus.progress,
                now=now,
            )
            yield Wiring(
                steps=(
                    plan_step(planner.work, partial(record_plans, now=now)),
                    fetch_step(downloader.work, partial(record_attempts, metrics=metrics), slots=settings.parallel),
                ),
                tasks=(
                    Release(context.bus, configured.politeness, metrics, now).run,
                    Lateness(context.bus, lambda: configured.newest, metrics, now).run,
                    Tidy(context.engine, partial_files).run,
                    ledger.run,
                ),
                checks={"limits": limits.complaint},
                reconfigure=configured.take,
                layers=LAYERS,
            )
    finally:
        await limits.close()


SPEC = ServiceSpec(
    name="downloader",
    version=version("tidemill-downloader"),
    title="Fetches files that changed, and keeps their bytes",
    settings=DownloaderSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.downloader.migrations",
    uses=USES,
    open=open_downloader,
)


def run() -> None:
    main(SPEC)
