"""A planted secret works, and is seen nowhere: not in logs, traces, events, tables, archive, exports, dead letters."""

import asyncio
import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import nats
import pyrage
import pytest

from tidemill.common.migrations import migrate
from tidemill.common.servers import NatsServer, PostgresServer
from tidemill.common.service import find_services
from tidemill.common.testing import new_environment
from tidemill.common.testing.otlp import OtlpReceiver

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SERVICES = ("scheduler", "watcher", "converter")
READINGS = '{"readings": [{"station": "a", "level": 1}, {"station": "b", "level": 2}]}'
DEMO = """
source: demo
watch: {folder: inbox/demo, stable_for: 100ms}
convert: {with: json, options: {items: readings.item, key: [station], fields: {station: station, level: level}}}
"""
STRANGE = "source: strange\nwatch: {folder: inbox/strange, stable_for: 100ms}\nconvert: {with: no-such-converter}\n"


@dataclass
class Mine:
    """Services in processes of their own, each with secrets that it has to fetch."""

    folder: Path
    nats_server: NatsServer
    canaries: dict[str, str]
    environment: dict[str, str]
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)
    printed: str = ""

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"tidemill.{name}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.services.append(process)

    def stop(self) -> None:
        for process in self.services:
            process.send_signal(signal.SIGTERM)
        for process in self.services:
            process.wait(30)

    def run(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [Path(sys.executable).parent / "tidemill", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.printed += done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    def log(self) -> str:
        return "".join(file.read_text() for file in self.folder.glob("*.log"))

    def spilled(self, where: str, content: bytes | str) -> list[str]:
        text = content.encode() if isinstance(content, str) else content
        return [f"{name} in {where}" for name, value in self.canaries.items() if value.encode() in text]


def until(true: Callable[[], object], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.1)


def ask(url: str, statement: str) -> list[Any]:
    async def work() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(work())


@contextmanager
def with_role(postgres: PostgresServer, url: str, password: str) -> Iterator[str]:
    """A user of the database whose password is a canary; its URL without it."""
    role = f"canary_{secrets.token_hex(4)}"
    ask(url, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
    port = re.search(r"@([^/]+)/", postgres.tcp_url)
    database = re.search(r"/(test_\w+)", url)
    assert port and database
    yield f"postgresql://{role}:${{file:secrets/database}}@{port[1]}/{database[1]}"
    ask(url, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
    ask(url, f"DROP ROLE {role}")


@pytest.mark.long
def test_a_planted_secret_works_and_is_seen_nowhere(
    open_folder: Path, postgres_server: PostgresServer, nats_server: NatsServer, database_url: str
) -> None:
    identity = pyrage.x25519.Identity.generate()
    canaries = {
        name: f"canary-{name}-{secrets.token_hex(8)}" for name in ("database", "collector", "redis", "plain", "wrong")
    }
    (open_folder / "secrets").mkdir()
    (open_folder / "secrets/database").write_text(f"{canaries['database']}\n")
    (open_folder / "secrets/key.txt").write_text(f"{identity}\n")
    (open_folder / "secrets/collector.age").write_bytes(
        pyrage.encrypt(canaries["collector"].encode(), [identity.to_public()])
    )
    asyncio.run(migrate(database_url, find_services()))
    with OtlpReceiver() as collector, with_role(postgres_server, database_url, canaries["database"]) as url:
        mine = Mine(
            open_folder,
            nats_server,
            canaries | {"key": str(identity)},
            new_environment()
            | {
                "NATS_URL": nats_server.url,
                "DATABASE_URL": url,
                "REDIS_CANARY": canaries["redis"],
                "TIDEMILL_AGE_IDENTITY": "secrets/key.txt",
                "COLUMNS": "300",
            },
        )
        (open_folder / "sources").mkdir()
        (open_folder / "tidemill.yaml").write_text(
            f"telemetry:\n  otlp_endpoint: {collector.url}\n"
            "  otlp_headers: {Authorization: 'Bearer ${age:secrets/collector.age}'}\n"
            "redis_url: 'redis://:${env:REDIS_CANARY}@127.0.0.1:1/0'\n"
        )
        (open_folder / "sources/demo.yaml").write_text(DEMO)
        (open_folder / "sources/strange.yaml").write_text(STRANGE)
        for name in SERVICES:
            mine.start(name)
        try:
            live_through(mine, database_url)
        finally:
            mine.stop()
        sent = {name.lower(): value for name, value in collector.headers.items()}
        assert sent["authorization"] == f"Bearer {canaries['collector']}"
        found = [
            *mine.spilled("the logs", mine.log()),
            *mine.spilled("what commands print", mine.printed),
            *mine.spilled("traces", repr(collector.spans)),
            *(spill for table, text in tables(database_url) for spill in mine.spilled(table, text)),
            *(
                spill
                for folder in (open_folder / "data", nats_server.store)
                for file in folder.rglob("*")
                if file.is_file()
                for spill in mine.spilled(str(file), file.read_bytes())
            ),
        ]
    assert found == []


def live_through(mine: Mine, database_url: str) -> None:
    """What services and people do in a day, some of it wrong."""
    until(lambda: "tidemill.ctl.scheduler.config_apply" not in mine.run("config", "apply")[1])
    assert ask(database_url, "SELECT max(version) FROM config.versions") == [(1,)], mine.printed
    for source in ("demo", "strange"):
        inbox = mine.folder / "data/inbox" / source
        until(inbox.exists)
        (inbox / "readings.json").write_text(READINGS)
    until(lambda: ask(database_url, "SELECT count(*) FROM converter.dead_letters") == [(1,)])
    until(lambda: ask(database_url, "SELECT count(*) FROM converter.documents WHERE state = 'finished'") == [(1,)])
    offer_in_plain_text(mine)
    asyncio.run(ask_nonsense(mine.nats_server.url))
    (mine.folder / "secrets/database").write_text(mine.canaries["wrong"])
    mine.start("watcher")
    until(lambda: "password authentication failed" in mine.log())
    mine.run("config", "history")
    (mine.folder / "secrets/database").unlink()
    assert "secrets/database}: cannot be read" in mine.run("config", "history")[1]
    (mine.folder / "secrets/database").write_text(mine.canaries["database"])
    for words in (
        ("status",),
        ("config", "show"),
        ("config", "show", "--version", "0"),
        ("audit", "list", "-o", "json"),
        ("dead-letters", "show", "converter:1"),
        ("doctor",),
        ("export", "json.item", "--out", "data/items.csv"),
    ):
        mine.run(*words)


def offer_in_plain_text(mine: Mine) -> None:
    wrong = mine.folder / "wrong"
    wrong.mkdir()
    (wrong / "tidemill.yaml").write_text(f"redis_url: redis://:{mine.canaries['plain']}@host\n")
    code, output = mine.run("config", "apply", "wrong")
    assert code == 1
    assert "holds a secret in plain text" in output


async def ask_nonsense(url: str) -> None:
    client = await nats.connect(url)
    for payload in (b"{", b'{"files": {"tidemill.yaml": "x: ["}}', b'{"version": "x"}'):
        for verb in ("config_apply", "config_rollback"):
            await client.request(f"tidemill.ctl.scheduler.{verb}", payload, timeout=10)
    await client.publish("tidemill.document.stored.lo.demo", b"not json")
    await client.close()


def tables(url: str) -> Iterator[tuple[str, str]]:
    """Every table with all its rows; bytes as text."""
    for schema, table in ask(url, "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT LIKE 'pg_%'"):
        columns = ask(
            url,
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_schema = '{schema}' AND table_name = '{table}'",
        )
        for column, kind in columns:
            cell = f"encode(\"{column}\", 'escape')" if kind == "bytea" else f'"{column}"::text'
            rows = ask(url, f'SELECT {cell} FROM "{schema}"."{table}"')
            yield f"{schema}.{table}.{column}", json.dumps(rows, ensure_ascii=False)
