"""A service for the chaos tests, in a process of its own: it may kill itself at points that matter.

    python bus_worker.py NATS_URL DATABASE_URL

KILL_AT=point:n   dies at the n-th time it comes to a point
KILL_CHANCE=0.001 dies at any point with this probability
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Column, Integer, Table, Text

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.connection import NatsClient
from tidemill.common.bus.consume import Consumer
from tidemill.common.bus.inbox import Inbox
from tidemill.common.bus.message import Fetched
from tidemill.common.bus.outbox import Outbox
from tidemill.common.bus.retry import Retries
from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.bus.tables import bus_tables
from tidemill.common.database import open_engine, service_metadata
from tidemill.common.events import DocumentStored, RecordsStored, RunPlanned
from tidemill.common.telemetry.tracing import Telemetry

POINTS = {
    "after fetch": (Consumer, "_begin", "before"),
    "after look-up": (Inbox, "look_up", "after"),
    "after inbox insert": (Inbox, "claim", "after"),
    "before commit": (Outbox, "insert", "after"),
    "after commit": (Outbox, "publish", "before"),
    "mid publish": (NatsClient, "publish", "after"),
    "after publish": (Outbox, "publish", "after"),
    "before mark": (Outbox, "mark", "before"),
    "after mark": (Outbox, "mark", "after"),
    "before ack": (Fetched, "ack", "before"),
    "mid ack": (Fetched, "ack", "after"),
    "after retry saved": (Retries, "save", "after"),
    "after retry due": (Retries, "take_due", "after"),
}

METADATA = service_metadata("demo")
TABLES = bus_tables(METADATA)
ROWS = Table("rows", METADATA, Column("event_id", Text), Column("part", Integer), Column("attempt", Integer))
PARTS = 5

hits: Counter[str] = Counter()
at, _, nth = os.environ.get("KILL_AT", "").partition(":")
chance = float(os.environ.get("KILL_CHANCE", "0"))


def point(name: str) -> None:
    hits[name] += 1
    if (name == at and hits[name] == int(nth)) or (chance and random.random() < chance):
        os.write(1, f"dies {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def instrument(name: str, owner: Any, method: str, when: str) -> None:
    original = getattr(owner, method)

    async def instrumented(*args: Any, **named: Any) -> Any:
        if when == "before":
            point(name)
        result = await original(*args, **named)
        if when == "after":
            point(name)
        return result

    setattr(owner, method, instrumented)


failed_once: set[str] = set()


async def work(delivery: Delivery[DocumentStored]) -> str:
    """Now and then the first attempt in a process fails."""
    name = delivery.event.sha256
    if name.endswith("7") and delivery.attempt == 1:
        raise RuntimeError("the first time")
    return name


async def streamed(delivery: Delivery[RunPlanned]) -> AsyncIterator[str]:
    for _ in range(delivery.parts_done, PARTS):
        await asyncio.sleep(0.01)
        yield delivery.event.run


async def record(tx: Tx, results: Sequence[Done[Any, str]]) -> list[Outgoing]:
    await tx.execute(
        ROWS.insert(), [{"event_id": d.result, "part": d.part, "attempt": d.delivery.attempt} for d in results]
    )
    return [d.tell(RecordsStored(source="demo", sha256=d.result, run="r", batch=d.part), "stored") for d in results]


async def main(nats_url: str, database_url: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for name, (owner, method, when) in POINTS.items():
        instrument(name, owner, method, when)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ack_wait = timedelta(seconds=2)
    # The second pause is spent in the table.
    retry = (timedelta(seconds=0.1), timedelta(seconds=61), timedelta(seconds=0.1), timedelta(seconds=0.1))
    steps = [
        Step(name="store", event=DocumentStored, work=work, record=record, slots=64, ack_wait=ack_wait, retry=retry),
        Step(name="parts", event=RunPlanned, streamed=streamed, record=record, slots=8, ack_wait=ack_wait),
    ]
    engine = open_engine(database_url)
    async with (
        Telemetry.open("demo", "0.1.0") as telemetry,
        Bus.open(nats_url, service="demo", version="0.1.0", engine=engine, tables=TABLES, telemetry=telemetry) as bus,
    ):
        running = asyncio.create_task(bus.run(steps))
        await stop.wait()
        await bus.stop(timedelta(seconds=5))
        await running
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
