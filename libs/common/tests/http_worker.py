"""One replica of four that ask the same host: `python http_worker.py REDIS_URL URL RATE`."""

import asyncio
import sys
from datetime import timedelta
from urllib.parse import urlsplit

from tidemill.common.cache import open_cache
from tidemill.common.config.politeness import Politeness
from tidemill.common.http import PoliteClient, open_limits
from tidemill.common.telemetry.metrics import Metrics


async def ask(redis_url: str, url: str, rate: str) -> None:
    metrics = Metrics("http-worker")
    limits, cache = open_limits(redis_url, metrics), open_cache(None, metrics)
    politeness = Politeness(rate=rate, concurrency=8, allow_private=(urlsplit(url).netloc,))

    async def lane() -> None:
        async with client.open(url, source="s", politeness=politeness, wait=timedelta(seconds=60)) as answer:
            await answer.read()

    async with PoliteClient(limits, cache, metrics) as client:
        await asyncio.gather(lane(), lane())
    await limits.close()


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1], sys.argv[2], sys.argv[3]))
