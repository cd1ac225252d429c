"""`tidemill dead-letters`: browsed in Postgres, replayed and dropped by commands on the bus."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner, Result

from tidemill.cli import dead_letters
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.client import CommandFailed
from tidemill.common.bus.step import Done, Outgoing, Poison, Step, Tx
from tidemill.common.database import open_engine
from tidemill.common.events import DocumentStored
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing import mill

pytestmark = pytest.mark.servers


@dataclass
class Shop:
    """A mill whose stones are broken, and the command that looks at it."""

    bus: Bus
    engine: Any
    environment: dict[str, str]
    broken: bool = True

    async def run(self, *words: str, **environment: str) -> Result:
        app = typer.Typer()
        dead_letters.register(app)
        app.command()(lambda: None)
        return await asyncio.to_thread(
            CliRunner(env=self.environment | {"COLUMNS": "200"} | environment).invoke, app, ["dead-letters", *words]
        )

    async def json(self, *words: str) -> Any:
        result = await self.run(*words, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def bring(self, *names: str, source: str = "field") -> None:
        async with self.bus.transaction() as tx:
            await self.bus.emit(tx, [Outgoing(name, document(name, source)) for name in names])

    async def until(self, statement: str, value: object) -> None:
        for _ in range(500):
            async with self.engine.connect() as connection:
                if await connection.scalar(text(statement)) == value:
                    return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{statement} never gave {value}")


def document(name: str, source: str) -> DocumentStored:
    return DocumentStored(source=source, sha256=name, size_bytes=1, name=name, run="r", received_at=datetime.now(UTC))


@asynccontextmanager
async def opened(nats_url: str, database_url: str) -> AsyncIterator[Shop]:
    engine = open_engine(database_url)
    async with engine.begin() as tx:
        await tx.execute(text("CREATE SCHEMA mill"))
        await tx.run_sync(mill.metadata.create_all)
    async with (
        Telemetry.open("mill", "1.0.0") as telemetry,
        Bus.open(
            nats_url, service="mill", version="1.0.0", engine=engine, tables=mill.tables, telemetry=telemetry
        ) as bus,
    ):
        shop = Shop(bus, engine, {"NATS_URL": nats_url, "DATABASE_URL": database_url})

        async def work(delivery: Any) -> str:
            if shop.broken:
                raise Poison("the stones are broken")
            return str(delivery.event.sha256)

        async def record(tx: Tx, results: Sequence[Done[DocumentStored, str]]) -> list[Outgoing]:
            return await mill.record(tx, results)

        step = Step(name="mill", event=DocumentStored, work=work, record=record)
        running = asyncio.create_task(bus.run([step]))
        await until_listening(bus)
        yield shop
        await bus.stop()
        await running
    await engine.dispose()


async def until_listening(bus: Bus) -> None:
    for _ in range(500):
        try:
            await bus.request("tidemill.ctl.mill.dead_letters_drop", {"ids": []})
            return
        except CommandFailed:
            await asyncio.sleep(0.02)
    raise AssertionError("nobody listens")


@pytest.fixture
async def shop(
    nats_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    monkeypatch.chdir(tmp_path)
    async with opened(nats_url, database_url) as made:
        yield made


DEAD = "SELECT count(*) FROM mill.dead_letters WHERE handled_at IS NULL"
GROUND = "SELECT count(*) FROM mill.ground"


async def test_what_waits_is_listed_and_shown(shop: Shop) -> None:
    assert "no dead letters" in (await shop.run("list")).stdout
    await shop.bring("a", "b")
    await shop.until(DEAD, 2)
    listed = await shop.run("list")
    assert "mill:1" in listed.stdout
    assert "Poison: the stones are broken" in listed.stdout
    letters = await shop.json("list", "--reason", "poison", "--service", "mill")
    assert {letter["event_id"] for letter in letters} == {"a", "b"}
    assert await shop.json("list", "--source", "elsewhere") == []
    assert len(await shop.json("list", "--limit", "1")) == 1
    one = await shop.json("show", "mill:1")
    assert one["payload"]["sha256"] in ("a", "b")
    assert one["headers"]["Tidemill-Id"] == one["event_id"]
    shown = await shop.run("show", "mill:1")
    assert "tidemill.document.stored.lo.field" in shown.stdout


async def test_one_is_replayed_and_the_rest_by_filter(shop: Shop) -> None:
    await shop.bring("a", "b")
    await shop.bring("c", source="meadow")
    await shop.until(DEAD, 3)
    shop.broken = False
    letters = {letter["event_id"]: letter["letter"] for letter in await shop.json("list")}
    assert (await shop.run("replay", letters["a"])).stdout == "1 replayed\n"
    await shop.until(GROUND, 1)
    again = await shop.run("replay", letters["a"])
    assert (again.exit_code, again.stdout) == (0, f"0 replayed; handled before: {letters['a']}\n")
    nothing = await shop.run("drop", "--reason", "exhausted", "--source", "field")
    assert nothing.exit_code == 0
    assert nothing.stdout == "no dead letter waits with source field, reason exhausted: nothing to do\n"
    assert (await shop.run("replay", "--source", "meadow")).stdout == "1 replayed\n"
    await shop.until(GROUND, 2)
    assert (await shop.run("drop", "--all")).stdout == "1 dropped\n"
    handled = {letter["event_id"]: letter["handled_as"] for letter in await shop.json("list", "--handled")}
    assert handled == {"a": "replayed", "b": "dropped", "c": "replayed"}
    assert await shop.json("list") == []


async def test_a_letter_is_edited_on_its_way(shop: Shop, tmp_path: Path) -> None:
    await shop.bring("a")
    await shop.until(DEAD, 1)
    shop.broken = False
    better = tmp_path / "better.json"
    better.write_text(document("repaired", "field").to_json().decode())
    assert (await shop.run("replay", "mill:1", "--payload", str(better))).exit_code == 0
    await shop.until("SELECT sha256 FROM mill.ground", "repaired")
    better.write_text("{")
    refused = await shop.run("replay", "mill:1", "--payload", str(better))
    assert refused.exit_code == 1
    assert "is not JSON" in refused.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "17"], "named like converter:17"),
        (["show", "mill:99"], "no dead letter mill:99"),
        (["list", "--service", "bakery"], "no service bakery has tables here; there are mill"),
        (["replay"], "name the letters"),
        (["drop", "mill:1", "--all"], "name the letters"),
        (["replay", "mill:99"], "has no dead letter 99"),
        (["replay", "--reason", "bogus"], "no reason 'bogus'; there are invalid, poison, exhausted, deliveries"),
        (["list", "--reason", "bogus"], "no reason 'bogus'"),
        (["drop", "bakery:1"], "nobody listens"),
    ],
)
async def test_a_mistake_is_told(shop: Shop, words: list[str], says: str) -> None:
    result = await shop.run(*words)
    assert result.exit_code == 1
    assert says in result.stderr


async def test_a_payload_is_shown_as_what_it_is(shop: Shop) -> None:
    assert dead_letters._payload(b'{"a": 1}') == {"a": 1}
    assert dead_letters._payload(b"plain") == "plain"
    assert dead_letters._payload(b"\xff") == {"base64": "/w=="}


async def test_a_payload_nested_without_an_end_is_shown_as_text(shop: Shop) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    async with shop.engine.begin() as tx:
        await tx.execute(
            mill.tables.dead_letters.insert().values(
                consumer="mill",
                event_id="deep",
                origin_id="deep",
                source="field",
                subject="s",
                payload=deep.encode(),
                headers={},
                reason="invalid",
                error="too deep",
                attempts=0,
            )
        )
    (letter,) = await shop.json("list")
    assert letter["payload"] == deep
    assert deep in (await shop.run("show", letter["letter"])).stdout


async def test_at_80_columns_ids_are_whole_and_the_error_is_below(shop: Shop) -> None:
    await shop.bring("a" * 60)
    await shop.until(DEAD, 1)
    head, line, error = (await shop.run("list", COLUMNS="80")).stdout.splitlines()
    assert (head.split()[0], line.split()[0]) == ("letter", "mill:1")
    assert error == "  Poison: the stones are broken"
    assert max(map(len, (head, line, error))) <= 80
    shown = await shop.run("show", line.split()[0])
    assert "a" * 60 in shown.stdout
