"""At a million rows, nothing that services do by themselves reads a whole table: their own statements are explained."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from sqlalchemy import Engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.system import new_folder
from tidemill.common.bus.client import open_client, request_command
from tidemill.common.config import load_config, load_sources
from tidemill.common.config.settings import RetentionSettings
from tidemill.common.database import open_engine
from tidemill.common.servers import Addresses, NatsServer, PostgresServer
from tidemill.common.service import Service, find_services, service_names
from tidemill.common.testing.cluster import begin_used
from tidemill.common.testing.fixtures import IN_A_HURRY
from tidemill.common.testing.site import Site, open_site

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.timeout(1800)]

ROWS = 1_000_000
SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix" / "sample.pdf"
KEPT_DAYS = 114
"""Rows are a moment of the last 115 days each, so that every night a hundredth of them goes."""
LAYERS = set(RetentionSettings.model_fields) - {"at", "zone"}
SETTINGS = {
    "converter": {"workers": 1},
    "alerter": {"look_every": "2s"},
    "retention": dict.fromkeys(LAYERS, f"{KEPT_DAYS}d"),
}
OFTEN_SECONDS = 40
"""Some loops look every half a minute."""
MOMENT = f"now() - {ROWS} * interval '10 s' + g * interval '10 s'"
BY_TYPE = {
    "text": "'$column-' || g",
    "timestamptz": MOMENT,
    "date": f"CAST({MOMENT} AS date)",
    "jsonb": "'{}'",
    "bytea": "'\\x00'",
    "bool": "false",
    "_text": "'{}'",
    "_int8": "ARRAY[g]",
    "_timestamptz": "'{}'",
}
"""What a column that must have a value gets, of row `g`; numbers are 1."""
SENT = "now() - interval '1 minute'"
NEXT = f"g + {ROWS}"
FILLED: dict[str, dict[str, str]] = {
    "scheduler.inbox": {"consumer": "'scheduler-planned'"},
    "scheduler.outbox": {"sent_at": SENT, "server_id": "$server"},
    "scheduler.slots": {"outcome": "'fired'", "slot": MOMENT},
    "scheduler.runs": {"state": "'complete'", "finished_at": MOMENT, "closed": "true"},
    "scheduler.run_items": {"run": "'run-' || g / 10", "outcome": "'new'", "ended_at": MOMENT},
    "scraper.targets": {"sha256": "'sha256-' || g", "checked_at": MOMENT},
    "scraper.jobs": {"run": "'run-' || g / 100", "state": "'done'", "done_at": MOMENT, "outcome": "'unchanged'"},
    "scraper.decisions": {"target": "g"},
    "scraper.pages": {"kind": "'target'", "state": "'stored'"},
    "downloader.resources": {"sha256": "'sha256-' || g", "checked_at": MOMENT},
    "downloader.jobs": {"run": "'run-' || g / 100", "state": "'done'", "done_at": MOMENT, "outcome": "'unchanged'"},
    "downloader.documents": {},
    "watcher.documents": {},
    "watcher.files": {"outcome": "'stored'", "settled_at": MOMENT},
    "converter.documents": {"state": "'finished'", "outcome": "'converted'", "finished_at": MOMENT},
    "converter.batches": {"document": "g"},
    "converter.records": {"dataset": "$dataset", "id": NEXT, "version": NEXT, "content": NEXT},
    "converter.versions": {"dataset": "$dataset", "id": NEXT, "record": NEXT, "content": NEXT, "document": "g"},
    "converter.sightings": {"dataset": "$dataset", "document": "g", "contents": f"ARRAY[{NEXT}]"},
    "reporter.measures": {},
    "reporter.sendings": {"state": "'sent'", "ended_at": MOMENT},
    "reporter.deliveries": {"state": "'delivered'", "ended_at": MOMENT},
    "alerter.signals": {},
    "alerter.samples": {},
}
"""The tables that grow, and what their columns are where history has another value than any."""
ACCEPTED = {
    "GROUP BY scraper.targets.source, scraper.targets.state": "counts all there are, once a minute, for a metric",
    "later.valid_from AS begins": "the nightly look for history that is too old, where it does not stay for ever",
}
"""What may, with the reason: a part of the statement."""
WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


async def test_no_loop_reads_a_whole_table_at_a_million_rows() -> None:
    async with open_mill() as mill:
        await mill.work(0)
        await mill.fill()
        old = await mill.find_what_is_old()
        with mill.listening():
            await mill.work(1)
            await mill.remove(old)
            await asyncio.sleep(OFTEN_SECONDS)
        await mill.stop()
        planted = Heard("nobody", "SELECT FROM scheduler.runs WHERE actor = $1", ("eva",))
        found = await mill.explain([planted, *mill.heard.values()])
    assert {each.service for each in mill.heard.values()} == set(service_names())
    assert [table for table in FILLED if not any(table in statement for statement in mill.heard)] == []
    assert found[0].heard is planted
    unasked = [str(each) for each in found[1:] if not any(says in each.heard.statement for says in ACCEPTED)]
    assert unasked == []


@dataclass(frozen=True, slots=True)
class Heard:
    """A statement as it was sent, with the values it was first sent with."""

    service: str
    statement: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    heard: Heard
    table: str

    def __str__(self) -> str:
        return f"{self.heard.service} reads all of {self.table}: {' '.join(self.heard.statement.split())}"


@dataclass
class Mill:
    """All services in this process, beside servers of their own and a site."""

    folder: Path
    addresses: Addresses
    site: Site
    engine: AsyncEngine
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: list[asyncio.Task[None]] = field(default_factory=list)
    heard: dict[str, Heard] = field(default_factory=dict)

    async def start(self) -> None:
        for name, says in self._sources().items():
            (self.folder / "sources" / f"{name}.yaml").write_text(yaml.safe_dump({"source": name, **says}))
        specs = find_services()
        config = load_config(self.folder, services={spec.name: spec.settings for spec in specs}, environ={})
        sources = load_sources(self.folder / "sources", config.common.data_dir)
        services = [Service(spec, config, sources, self.addresses) for spec in specs]
        self.running = [asyncio.create_task(each.run(self.stopping)) for each in services]
        for each in services:
            while not each.health.started or await each.health.wrong():
                await asyncio.sleep(0.1)

    def _sources(self) -> Mapping[str, Any]:
        politeness = {"rate": "500/s", "concurrency": 8, "allow_private": [self.site.host]}
        search = {
            "url": self.site.url("/homes?page={page}"),
            "items": {"css": "article"},
            "link": {"css": "a", "attribute": "href"},
            "paging": {"first": 1},
        }
        title = {"from": {"css": "h1"}, "required": True}
        listings = {"with": "listings", "options": {"portal": "test", "country": "FI", "price_kind": "sale"}}
        return {
            "paper": {
                "watch": {"folder": "inbox", "include": ["*.pdf"], "stable_for": "100ms", "after": "move"},
                "convert": {"with": "szerencsemix"},
            },
            "prices": {
                "schedule": {"every": "10s", "jitter": "0s"},
                "download": {"url": self.site.url("/prices.json"), "expect": "json"},
                "politeness": politeness,
                "convert": {"with": "json", "options": {"key": "id"}},
            },
            "homes": {
                "scrape": {"search": search},
                "extract": {"fields": {"portal_id": title, "title": title}},
                "politeness": politeness,
                "convert": listings,
            },
        }

    def publish(self, turn: int) -> None:
        """What the site has from now on."""
        entries = "".join(f'<article><a href="/homes/{n}">Home {n}</a></article>' for n in range(5 + turn))
        self.site.put("/homes?page=1", f"<!doctype html><title>Homes</title>{entries}".encode())
        for n in range(5 + turn):
            self.site.put(f"/homes/{n}", f"<!doctype html><title>Home</title><h1>Home {n}, {turn}</h1>".encode())
        self.site.put("/prices.json", json.dumps([{"id": n, "price": turn} for n in range(10)]).encode())

    async def work(self, turn: int) -> None:
        """Something for every service, until all of it has ended."""
        self.publish(turn)
        (self.folder / "data" / "inbox" / f"{turn}.pdf").write_bytes(SAMPLE.read_bytes() + b"\n%% %d\n" % turn)
        await self.ask("scheduler", "run", source="homes")
        ended = f"""
            SELECT count(*) FROM (
                SELECT source FROM scheduler.runs
                WHERE finished_at IS NOT NULL AND source IN ('paper', 'prices', 'homes')
                GROUP BY source HAVING count(*) > {turn}) s
        """
        async with asyncio.timeout(120):
            while await self.value(ended) < 3:
                await asyncio.sleep(0.5)

    async def fill(self) -> None:
        server = await self.value("SELECT server_id FROM scheduler.outbox WHERE server_id IS NOT NULL LIMIT 1")
        dataset = await self.value("SELECT id FROM converter.datasets WHERE name = 'listings.listing'")
        for table, says in FILLED.items():
            columns = await self._columns(table, says)
            values = ", ".join(columns.values()).replace("$server", f"'{server}'").replace("$dataset", str(dataset))
            async with self.engine.begin() as tx:
                await tx.execute(text("SET LOCAL session_replication_role = replica"))  # No foreign keys.
                statement = (
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM generate_series(1, {ROWS}) g"
                )
                await tx.exec_driver_sql(f"{statement} ON CONFLICT DO NOTHING")
        async with self.engine.connect() as connection:
            apart = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await apart.exec_driver_sql("VACUUM (ANALYZE)")

    async def _columns(self, table: str, says: Mapping[str, str]) -> dict[str, str]:
        """Those that have no value of their own, with one."""
        schema, name = table.split(".")
        query = """
            SELECT column_name, udt_name FROM information_schema.columns
            WHERE table_schema = :schema AND table_name = :name AND is_identity = 'NO' AND is_generated = 'NEVER'
                AND is_nullable = 'NO' AND (column_default IS NULL OR column_default LIKE '%()')
            ORDER BY ordinal_position
        """
        found = {}
        async with self.engine.connect() as connection:
            for column, kind in await connection.execute(text(query), {"schema": schema, "name": name}):
                given = "'other-' || g % 20" if column == "source" else BY_TYPE.get(kind, "1")
                found[column] = given.replace("$column", column)
        return {**found, **says}

    @contextmanager
    def listening(self) -> Iterator[None]:
        def hear(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
            service = structlog.contextvars.get_contextvars().get("service")
            if service and statement.lstrip(" (\n").upper().startswith(WORDS):
                first = tuple(values[0] if many else values) if values else ()
                self.heard.setdefault(statement, Heard(service, statement, first))

        event.listen(Engine, "before_cursor_execute", hear)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", hear)

    async def find_what_is_old(self) -> list[tuple[str, dict[str, str]]]:
        """Service and layer. This is asked by people, and reads whole tables."""
        found = []
        for service in service_names():
            told = await self.ask(service, "retention_preview")
            found += [
                (service, {"layer": name, "before": layer["before"]})
                for name, layer in told["layers"].items()
                if "before" in layer
            ]
        return found

    async def remove(self, old: list[tuple[str, dict[str, str]]]) -> None:
        """As it is done at night."""
        for service, which in old:
            await self.ask(service, "retention_remove", **which, actor="eva")

    async def explain(self, statements: Iterable[Heard]) -> list[Whole]:
        """Which of them read a big table from beginning to end."""
        query = f"""
            SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE reltuples > {ROWS // 2} AND relkind = 'r'
        """
        big = {row[0] for row in await self.rows(query)}
        assert len(big) >= len(FILLED)
        found = []
        async with self.engine.connect() as connection:
            for heard in statements:
                explained = await connection.exec_driver_sql(
                    f"EXPLAIN (VERBOSE, FORMAT JSON) {heard.statement}", heard.values
                )
                plan = explained.scalar_one()
                (top,) = json.loads(plan) if isinstance(plan, str) else plan
                found += [Whole(heard, table) for table in whole_reads(top["Plan"]) if table in big]
                await connection.rollback()
        return found

    async def ask(self, service: str, verb: str, **parameters: Any) -> dict[str, Any]:
        async with open_client(self.addresses.nats_url) as client:
            return await request_command(client, service, verb, parameters, timeout=120)

    async def rows(self, query: str) -> Any:
        async with self.engine.connect() as connection:
            return (await connection.execute(text(query))).all()

    async def value(self, query: str) -> Any:
        return (await self.rows(query))[0][0]

    async def stop(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*self.running)
        self.running = []


def whole_reads(plan: Mapping[str, Any], limited: bool = False) -> Iterator[str]:
    """Tables that are read as they lie, or all through an index. Under a LIMIT an index is read as far as needed."""
    through_index = "Index" in plan["Node Type"] and "Index Cond" not in plan and plan["Plan Rows"] > ROWS / 20
    if plan["Node Type"] == "Seq Scan" or (through_index and not limited):
        yield f"{plan['Schema']}.{plan['Relation Name']}"
    for below in plan.get("Plans", ()):
        yield from whole_reads(below, limited or plan["Node Type"] == "Limit")


@asynccontextmanager
async def open_mill() -> AsyncIterator[Mill]:
    folder = new_folder()
    await asyncio.to_thread(begin_used, folder / "postgres")
    with (
        NatsServer(folder / "nats") as nats,
        PostgresServer(folder / "postgres", settings={**IN_A_HURRY, "max_wal_size": "4GB"}) as postgres,
    ):
        place = folder / "place"
        (place / "sources").mkdir(parents=True)
        (place / "data" / "inbox").mkdir(parents=True)
        (place / "tidemill.yaml").write_text(yaml.safe_dump(SETTINGS))
        engine = open_engine(postgres.url, statement_seconds=None)
        async with open_site() as site:
            mill = Mill(place, Addresses(nats.url, postgres.url), site, engine)
            mill.publish(0)  # What a slot does not find while services still start is left alone for a while.
            try:
                await mill.start()
                yield mill
            finally:
                await mill.stop()
                await engine.dispose()
    shutil.rmtree(folder)
