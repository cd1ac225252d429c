"""Scrapers may be killed at any time, and sites may misbehave: what is new, changed, gone and there again is what the
site itself says."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.topology import ensure_topology
from tidemill.common.database import open_engine
from tidemill.common.events import RunRequested
from tidemill.common.migrations import migrate
from tidemill.scraper.main import SPEC

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "listing-site"
CITIES = ("helsinki", "vaduz", "bindlach")


@dataclass
class Scrapers:
    """Processes of the scraper below one folder, and the demo's portal for them."""

    folder: Path
    url: str
    nc: Client
    engine: AsyncEngine
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def source(self) -> None:
        """The demo's, so fast that it does not take long although each pushback slows it down."""
        host = self.url.removeprefix("http://")
        said = (EXAMPLE / "listings-demo.yaml").read_text().replace("127.0.0.1:8766", host)
        said = re.sub(r"rate: \S+", "rate: 200/s", said).replace("concurrency: 2", "concurrency: 8")
        (self.folder / "sources").mkdir()
        (self.folder / "sources" / "listings-demo.yaml").write_text(said)

    def ask(self, path: str, **post: Any) -> dict[str, Any]:
        body = json.dumps(post).encode() if post else None
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}{path}", data=body)) as told:
            return dict(json.load(told))

    def revive(self, *names: str) -> None:
        for name in names:
            if name not in self.processes or self.processes[name].poll() is not None:
                with (self.folder / f"{name}.log").open("ab") as log:
                    self.processes[name] = subprocess.Popen(
                        [sys.executable, "-m", "tidemill.scraper"],
                        cwd=self.folder,
                        env=os.environ | self.environment,
                        stdout=log,
                        stderr=log,
                    )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        for log in sorted(self.folder.glob("*.log")):
            print(log.read_text()[-3000:])

    async def run(self, run: str) -> None:
        event = RunRequested(source="listings-demo", run=run, trigger="manual", requested_at=datetime.now(UTC))
        headers = {"Nats-Msg-Id": run, "Tidemill-Id": run}
        await self.nc.jetstream().publish(event.subject_filled(), event.to_json(), headers=headers)

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.connect() as connection:
            return list(await connection.execute(text(statement), values))

    async def outcomes(self, run: str) -> dict[str, dict[str, list[str]]]:
        """By city and outcome, the site's own keys."""
        rows = await self.sql(
            "SELECT lower(t.labels->>'city') AS city, j.outcome, t.key FROM scraper.jobs j"
            " JOIN scraper.targets t ON t.id = j.target WHERE j.run = :run ORDER BY t.key",
            run=run,
        )
        found: dict[str, dict[str, list[str]]] = {city: {} for city in CITIES}
        for row in rows:
            found[row.city].setdefault(row.outcome, []).append(row.key)
        return found

    async def stated(self, run: str) -> list[tuple[str, str]]:
        """(kind, item) of every outcome in the stream."""
        js = self.nc.jetstream()
        count = (await js.stream_info("DOCUMENTS")).state.messages
        messages = await js.subscribe("", stream="DOCUMENTS", ordered_consumer=True)
        found = []
        for _ in range(count):
            message = await messages.next_msg(timeout=10)
            said = json.loads(message.data)
            if said["run"] == run:
                found.append((message.subject.split(".")[2], said["item"]))
        return found

    async def until(self, true: Callable[[], Awaitable[bool]], within: float = 240) -> None:
        async with asyncio.timeout(within):
            while not await true():
                await asyncio.sleep(0.05)


@pytest.fixture
async def scrapers(tmp_path: Path, nats_url: str, database_url: str, redis_url: str) -> AsyncIterator[Scrapers]:
    await migrate(database_url, [SPEC])
    nc = await nats.connect(nats_url)
    await ensure_topology(nc.jetstream())
    engine = open_engine(database_url)
    environment = {"NATS_URL": nats_url, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    command = [sys.executable, str(EXAMPLE / "serve.py"), "--port", "0", "--folder", str(tmp_path / "site")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as site:
        assert site.stdout is not None
        made = Scrapers(tmp_path, site.stdout.readline().split(" ")[0].rstrip("/"), nc, engine, environment)
        try:
            yield made
        finally:
            made.end()
            site.kill()
    await nc.close()
    await engine.dispose()


@pytest.mark.long
async def test_two_scrapers_under_kills_and_faults_find_what_the_site_says(scrapers: Scrapers, long_form: bool) -> None:
    chance = random.Random(7)
    replicas = ("one", "other")
    scrapers.source()
    scrapers.ask("/_/faults", mode="harsh" if long_form else "mild", hang=2)
    seen: list[str] = []
    for day in range(6 if long_form else 2):
        run = f"day-{day}"
        scrapers.ask("/_/day", day=day)
        scrapers.revive(*replicas)
        await scrapers.run(run)
        for _ in range(8 if long_form else 2):
            await asyncio.sleep(chance.uniform(1, 4))
            scrapers.kill(chance.choice(replicas))
            scrapers.revive(*replicas)

        async def closed(run: str = run) -> bool:
            return bool(await scrapers.sql("SELECT 1 FROM scraper.runs WHERE run = :run AND phase = 'closed'", run=run))

        await scrapers.until(closed)
        truth = scrapers.ask(f"/_/truth?day={day}" + (f"&seen={','.join(seen)}" if seen else ""))
        found = await scrapers.outcomes(run)
        for city in CITIES:
            said = truth["cities"][city]
            for outcome in ("new", "changed", "gone", "reappeared"):
                assert found[city].get(outcome, []) == said[outcome], (city, day, outcome)
            assert "failed" not in found[city]
            assert set(found[city].get("unchanged", [])) <= set(said["unchanged"])
        (counts,) = await scrapers.sql(
            "SELECT (SELECT count(*) FROM scraper.decisions WHERE run = :run) AS decided,"
            " (SELECT count(*) FROM scraper.targets) AS known",
            run=run,
        )
        assert counts.decided == counts.known
        stated = await scrapers.stated(run)
        assert len(stated) == len(set(stated)), "an outcome was stated twice"
        seen.append(str(day))
    private = [path for path in asked(scrapers) if path.startswith("/private/")]
    assert private == []
    assert await scrapers.sql("SELECT consumer, reason, error FROM scraper.dead_letters") == []


def asked(scrapers: Scrapers) -> list[str]:
    """All that was asked of the site."""
    with suppress(FileNotFoundError):
        lines = (scrapers.folder / "site" / "access.jsonl").read_text().splitlines()
        return [json.loads(line)["path"] for line in lines]
    return []
