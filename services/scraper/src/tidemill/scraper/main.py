"""Opens and wires the scraper."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version

from tidemill.common.config.configured import Configured
from tidemill.common.http import PoliteClient, open_limits
from tidemill.common.http.ledger import RequestLedger, restore_limits
from tidemill.common.retention import rows_layer
from tidemill.common.service import Context, ServiceSpec, Wiring, main
from tidemill.common.surroundings import shows_window, surroundings
from tidemill.scraper.browser import Browser
from tidemill.scraper.checks import release_command
from tidemill.scraper.claims import Claims
from tidemill.scraper.fetch import PoliteFetch
from tidemill.scraper.phases import Phases
from tidemill.scraper.plan import Planner, record_plans
from tidemill.scraper.record import record_attempts
from tidemill.scraper.release import Release
from tidemill.scraper.scrape import Scraper
from tidemill.scraper.settings import ScraperSettings
from tidemill.scraper.steps import USES, fetch_step, plan_step
from tidemill.scraper.tables import bus, metadata, requests
from tidemill.scraper.tidy import Census, Tidy

LAYERS = (
    rows_layer("requests", "scraper.requests", "day", example="concat_ws(' ', t.source, t.host, t.day)"),
    rows_layer("decisions", "scraper.decisions", "decided_at", example="concat_ws(' ', t.run, t.decision)"),
    rows_layer("checks", "scraper.check_results", "judged_at", example="concat_ws(' ', t.run, t.name)"),
    rows_layer("pages", "scraper.pages", "fetched_at", example="t.url"),
)


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_scraper(context: Context) -> AsyncIterator[Wiring]:
    settings, common, metrics = context.settings, context.config.common, context.telemetry.metrics
    assert isinstance(settings, ScraperSettings)
    configured = Configured(context.sources)
    ledger = RequestLedger(context.engine, requests)
    window = shows_window(not settings.headless, surroundings(common)).value
    limits = open_limits(common.redis_url, metrics, common.data_dir / "limits")
    try:
        await restore_limits(context.engine, requests, limits, (now() - timedelta(days=1)).date())
        async with (
            PoliteClient(limits, context.cache, metrics, ledger=ledger.note) as client,
            AsyncExitStack() as closing,
        ):
            fetch = PoliteFetch(client, Browser(window=window))
            claims = Claims(context.engine)
            closing.push_async_callback(fetch.close)
            scraper = Scraper(
                source_of=configured.source,
                fetch=fetch,
                archive=context.archive,
                engine=context.engine,
                claims=claims,
                now=now,
            )
            yield Wiring(
                steps=(
                    plan_step(Planner(source_of=configured.source).work, partial(record_plans, now=now)),
                    fetch_step(scraper.work, partial(record_attempts, metrics=metrics), slots=settings.parallel),
                ),
                commands=(release_command(),),
                tasks=(
                    Release(context.bus, context.engine, configured.politeness, metrics, now).run,
                    Phases(context.bus, context.engine, configured.source, fetch, metrics, now).run,
                    Census(context.engine, metrics).run,
                    Tidy(context.engine).run,
                    claims.keep,
                    ledger.run,
                ),
                checks={"limits": limits.complaint},
                reconfigure=configured.take,
                layers=LAYERS,
            )
    finally:
        await limits.close()


SPEC = ServiceSpec(
    name="scraper",
    version=version("tidemill-scraper"),
    title="Follows pages that are found by searching",
    settings=ScraperSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.scraper.migrations",
    uses=USES,
    open=open_scraper,
)


def run() -> None:
    main(SPEC)
