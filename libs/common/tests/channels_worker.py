"""A process that sends what waits, until it is killed: `channels_worker.py DATABASE_URL CHANNELS SPEED BEGAN`.

Its clock runs SPEED times as fast since BEGAN, so that a lease that a kill leaves runs out soon.
"""

import asyncio
import json
import sys
import time
from datetime import datetime, timedelta

from tidemill.common.channels import Deliveries, Senders
from tidemill.common.database import open_engine
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.telling import START, TABLES, channels


async def work(url: str, named: str, speed: float, began: float) -> None:
    def now() -> datetime:
        return START + timedelta(seconds=(time.time() - began) * speed)

    async with Senders(channels(**json.loads(named))) as senders:
        print("ready", flush=True)
        await Deliveries(open_engine(url), TABLES, senders, Metrics("telling"), now=now).run()


asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
