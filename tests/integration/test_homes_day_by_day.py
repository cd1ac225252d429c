"""The demo's portal over some days, through scheduler, scraper and converter: the ledger counts what the site says, and
the records are what it lists."""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system import System, running
from tidemill.common.bus.client import CommandFailed, open_client, request_command

pytestmark = [pytest.mark.servers, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "listing-site"
CITIES = ("helsinki", "vaduz", "bindlach")
OUTCOMES = ("new", "changed", "gone", "reappeared")
PATIENCE_SECONDS = 90


@pytest.fixture
def portal() -> Iterator[str]:
    """Its address; on day 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(EXAMPLE / "serve.py"), "--port", "0", "--folder", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as site:
            assert site.stdout is not None
            yield site.stdout.readline().split(" ")[0].rstrip("/")
            site.kill()


def ask(url: str, **post: Any) -> dict[str, Any]:
    body = json.dumps(post).encode() if post else None
    with urllib.request.urlopen(urllib.request.Request(url, data=body)) as told:
        return dict(json.load(told))


def source(url: str) -> dict[str, Any]:
    said = (EXAMPLE / "listings-demo.yaml").read_text().replace("127.0.0.1:8766", url.removeprefix("http://"))
    found: dict[str, Any] = yaml.safe_load(re.sub(r"rate: \S+", "rate: 200/s", said))
    del found["schedule"]
    return found


def command(system: System, verb: str, **said: Any) -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        async with open_client(system.nats.url) as client:
            return dict(await request_command(client, "scheduler", verb, said))

    return asyncio.run(asked())


def answers(system: System) -> bool:
    try:
        command(system, "status")
    except CommandFailed:
        return False
    return True


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def run(system: System) -> dict[str, Any]:
    """The row of a run, when it has ended."""
    id = command(system, "run", source="listings-demo")["run"]
    columns = ("run", "state", "reason", "corrected", "items", "skipped", "failed", "unchanged", *OUTCOMES)
    query = f"SELECT {', '.join(columns)} FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL"
    eventually(lambda: bool(system.query(query, run=id)))
    return dict(zip(columns, system.query(query, run=id)[0], strict=True))


def lists(system: System, expected: dict[str, int]) -> bool:
    """Whether the view of the records has so many of each city."""
    return {path: system.count(f"listings.listing WHERE url LIKE '%/{path}/%'") for path in CITIES} == expected


@pytest.mark.long
def test_the_ledger_counts_what_the_site_says_and_records_are_what_it_lists(portal: str) -> None:
    with running(("scheduler", "scraper", "converter"), sources=(source(portal),)) as system:
        eventually(lambda: answers(system))
        for day in range(3):
            ask(f"{portal}/_/day", day=day)
            row = run(system)
            assert (row["state"], row["reason"], row["corrected"]) == ("complete", "", False)
            said = {path: ask(f"{portal}/_/truth")["cities"][path] for path in CITIES}
            for outcome in OUTCOMES:
                assert row[outcome] == sum(len(city[outcome]) for city in said.values()), (day, outcome)
            assert row["items"] == sum(row[outcome] for outcome in (*OUTCOMES, "unchanged", "failed"))
            decided = system.count(f"scraper.decisions WHERE run = '{row['run']}'")
            assert decided == system.count("scraper.targets") == row["items"] + row["skipped"]
            # What is gone leaves the view after the run has ended, when its checks have passed.
            listed = {path: len(city["listings"]) for path, city in said.items()}
            eventually(partial(lists, system, listed))
