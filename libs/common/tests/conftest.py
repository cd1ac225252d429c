"""A service for the tests of the bus: a table, a schema with the bus tables, and steps that write into it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js import api
from nats.js.errors import NotFoundError
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Column, Integer, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Command, Done, Outgoing, Step, Tx
from tidemill.common.bus.tables import BusTables, bus_tables
from tidemill.common.bus.topology import durables, ensure_consumers, ensure_topology
from tidemill.common.database import open_engine, service_metadata
from tidemill.common.events import DocumentStored, RecordsStored
from tidemill.common.telemetry.tracing import Telemetry

METADATA = service_metadata("demo")
TABLES = bus_tables(METADATA)
# Nothing here is unique: what is recorded twice is seen twice.
ROWS = Table("rows", METADATA, Column("event_id", Text), Column("part", Integer), Column("attempt", Integer))


@dataclass
class Ground:
    url: str
    database_url: str
    engine: AsyncEngine
    nc: Client
    telemetry: Telemetry
    spans: InMemorySpanExporter
    tables: BusTables = field(default=TABLES)
    rows: Table = field(default=ROWS)

    def document(self, name: str, *, source: str = "demo", lane: str = "lo", run: str = "run-1") -> DocumentStored:
        return DocumentStored(
            lane=lane,
            source=source,
            sha256=name,
            size_bytes=1,
            name=name,
            run=run,
            received_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    async def publish(self, *ids: str, headers: dict[str, str] | None = None, **names: str) -> None:
        """As another service would: each event under its id."""
        js = self.nc.jetstream()
        for id in ids:
            event = self.document(id, **names)
            identity = {"Nats-Msg-Id": id, "Tidemill-Id": id}
            await js.publish(event.subject_filled(), event.to_json(), headers={**identity, **(headers or {})})

    def step(self, **changes: Any) -> Step[Any, Any]:
        async def work(delivery: Any) -> str:
            return str(delivery.event.sha256)

        if "streamed" not in changes:
            changes.setdefault("work", work)
        return Step(**{"name": "store", "event": DocumentStored, "record": self.record, **changes})

    async def record(self, tx: Tx, results: Sequence[Done[Any, Any]]) -> list[Outgoing]:
        """One row per result, and one fact."""
        await tx.execute(
            ROWS.insert(),
            [{"event_id": done.result, "part": done.part, "attempt": done.delivery.attempt} for done in results],
        )
        return [
            done.tell(RecordsStored(source="demo", sha256=done.result, run="run-1", batch=done.part), "stored")
            for done in results
        ]

    @asynccontextmanager
    async def bus(
        self,
        *steps: Step[Any, Any],
        commands: Sequence[Command] = (),
        tasks: Sequence[Any] = (),
        service: str = "demo",
        within: Any = None,
    ) -> AsyncIterator[Bus]:
        """A running bus; stopped in order at the end."""
        async with Bus.open(
            self.url,
            service=service,
            version="0.1.0",
            engine=self.engine,
            tables=self.tables,
            telemetry=self.telemetry,
        ) as bus:
            running = asyncio.create_task(bus.run(steps, commands, tasks))

            async def consuming() -> bool:
                return running.done() or (bus.control.known and await self.has_consumers(*steps))

            await self.until(consuming)
            try:
                yield bus
            finally:
                await (bus.stop(within) if within else bus.stop())
                await running

    async def topology(self, *steps: Step[Any, Any]) -> None:
        js = self.nc.jetstream()
        await ensure_topology(js)
        for step in steps:
            await ensure_consumers(js, step)

    async def start(self, server: Any) -> None:
        """Start a killed server. The kernel ends a child with the thread that made it: spawned in ours."""
        await asyncio.to_thread(server.prepare)
        server.spawn()
        await asyncio.to_thread(server.wait)

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as tx:
            found = await tx.execute(text(statement), values)
            return list(found.all()) if found.returns_rows else []

    async def recorded(self) -> list[str]:
        return [row[0] for row in await self.sql("SELECT event_id FROM demo.rows ORDER BY event_id, part")]

    async def facts(self, stream: str = "RECORDS") -> list[Any]:
        """All messages of a stream, in order."""
        js = self.nc.jetstream()
        subscription = await js.pull_subscribe("", stream=stream, config=api.ConsumerConfig(ack_policy="none"))
        found: list[Any] = []
        while True:
            try:
                found += await subscription.fetch(500, timeout=0.3)
            except TimeoutError:
                return found

    async def has_consumers(self, *steps: Step[Any, Any]) -> bool:
        js = self.nc.jetstream()
        try:
            for step in steps:
                for durable in durables(step):
                    await js.consumer_info(step.event.stream, durable)
        except NotFoundError:
            return False
        return True

    async def pending(self, durable: str = "store", stream: str = "DOCUMENTS") -> int:
        """What the consumer has not seen the end of."""
        info = await self.nc.jetstream().consumer_info(stream, durable)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def until(self, condition: Callable[[], Any], within: float = 30.0) -> None:
        """Wait until `condition`, a function or coroutine function, is true."""
        deadline = asyncio.get_running_loop().time() + within
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            assert asyncio.get_running_loop().time() < deadline, f"not within {within} s"
            await asyncio.sleep(0.02)

    async def until_recorded(self, count: int, within: float = 30.0) -> None:
        async def enough() -> bool:
            return len(await self.recorded()) >= count

        await self.until(enough, within)

    async def until_settled(self, durable: str = "store", within: float = 30.0) -> None:
        """Nothing pending, nothing unsent."""

        async def settled() -> bool:
            unsent = await self.sql("SELECT count(*) FROM demo.outbox WHERE sent_at IS NULL")
            try:
                return not unsent[0][0] and not await self.pending(durable)
            except NotFoundError:
                return False  # The bus has not made its consumer yet.

        await self.until(settled, within)


@pytest.fixture
async def ground(nats_url: str, database_url: str) -> AsyncIterator[Ground]:
    engine = open_engine(database_url)
    async with engine.begin() as tx:
        await tx.execute(text("CREATE SCHEMA demo"))
        await tx.run_sync(METADATA.create_all)
    spans = InMemorySpanExporter()
    telemetry = Telemetry.open("demo", "0.1.0", exporter=spans, export_every=timedelta(seconds=0.1))
    nc = await nats.connect(nats_url)
    await ensure_topology(nc.jetstream())
    yield Ground(nats_url, database_url, engine, nc, telemetry, spans)
    await nc.close()
    await telemetry.close()
    await engine.dispose()


@pytest.fixture(scope="session")
def certificate_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `demo.example` and `localhost` that signs itself, with its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "demo.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("demo.example"), x509.DNSName("localhost")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture(scope="session")
def tls(certificate_file: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server that has that certificate, and a client that trusts it."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate_file)
    return server_side, ssl.create_default_context(cafile=str(certificate_file))
