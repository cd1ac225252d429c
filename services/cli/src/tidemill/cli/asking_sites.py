"""Asking other people's sites from the command line: as the scraper does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill.scraper.fetch import Fetch


@asynccontextmanager
async def open_fetch(data_dir: Path, redis_url: str | None) -> AsyncIterator[Fetch]:
    """With the limits that the services of this folder keep, too."""
    from tidemill.common.cache import open_cache
    from tidemill.common.http import PoliteClient, open_limits
    from tidemill.common.telemetry.metrics import Metrics
    from tidemill.scraper.fetch import PoliteFetch

    metrics = Metrics("cli")
    cache, limits = open_cache(None, metrics), open_limits(redis_url, metrics, data_dir / "limits")
    try:
        async with PoliteClient(limits, cache, metrics) as client:
            yield PoliteFetch(client)
    finally:
        await limits.close()
        await cache.close()
