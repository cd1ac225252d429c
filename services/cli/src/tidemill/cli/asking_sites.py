"""Asking other people's sites from the command line: as the scraper does, with the limits of this process alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill.scraper.fetch import Fetch


@asynccontextmanager
async def open_fetch() -> AsyncIterator[Fetch]:
    """For a page or two; budgets that services have used do not count here."""
    from tidemill.common.cache import open_cache
    from tidemill.common.http import PoliteClient, open_limits
    from tidemill.common.telemetry.metrics import Metrics
    from tidemill.scraper.fetch import PoliteFetch

    metrics = Metrics("cli")
    cache, limits = open_cache(None, metrics), open_limits(None, metrics)
    try:
        async with PoliteClient(limits, cache, metrics) as client:
            yield PoliteFetch(client)
    finally:
        await limits.close()
        await cache.close()
