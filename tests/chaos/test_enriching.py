"""Converters are killed while all places are made anew: each is made in the end, with the last data."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system import System, running

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(600)]

DATA = Path(__file__).parents[2] / "examples" / "listing-site" / "osm"
HOMES = 4000
SOURCE = {
    "source": "homes",
    "watch": {"folder": "inbox", "include": ["*.json"], "stable_for": "100ms", "after": "move"},
    "convert": {"with": "json", "options": {"dataset": "listings.listing", "key": ["portal", "portal_id"]}},
}
STATES = """
    SELECT count(*), count(*) FILTER (WHERE e.version <> '' AND e.reference = n.reference), n.reference
    FROM converter.enrichers n LEFT JOIN converter.enriched e ON e.enricher = n.name GROUP BY n.reference
"""


def home(number: int) -> dict[str, Any]:
    point = {"latitude": 60.16 + number * 1e-6, "longitude": 24.94} if number % 2 else {}
    address = f"Aleksanterinkatu {number % 50 + 1}, 00100 Helsinki"
    return {
        "portal": "p",
        "portal_id": f"{number}",
        "url": "https://p.example",
        "price_kind": "sale",
        "address": address,
        **point,
    }


def bring(system: System, file: str) -> None:
    """As a person does, in a process of its own; asked again while no converter answers."""
    geo = [sys.executable, "-c", "from tidemill.cli.main import main; main()", "geo", "import", str(DATA / file)]
    settings = os.environ | {"NATS_URL": system.nats.url, "DATABASE_URL": system.postgres.url}
    for _ in range(10):
        done = subprocess.run(
            [*geo, "--name", "osm"],
            cwd=system.folder,
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 0:
            return
        time.sleep(1)
    raise AssertionError(done.stdout + done.stderr)


def wait_until_made(system: System, before: str, *, killing: bool) -> tuple[str, int]:
    """Which reference data all are made with, other than before, and how many converters were killed on the way."""
    kills, deadline = 0, time.monotonic() + 240
    while True:
        rows, made, reference = system.query(STATES)[0]
        if rows == made == HOMES and reference != before:
            return reference, kills
        if killing and kills < 3 and 0 < made < HOMES:
            victim = f"converter-{kills % 2 + 1}"
            system.services[victim].kill()
            system.services[victim].wait()
            kills += 1
        system.revive()
        assert time.monotonic() < deadline, f"{made} of {rows} are made; logs in {system.folder / 'log'}"
        time.sleep(0.2)


def wait_until_open(system: System) -> str:
    """Which reference data the enricher is open with: none yet."""
    deadline = time.monotonic() + 60
    while not (found := system.query("SELECT reference FROM converter.enrichers WHERE reference <> ''")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return str(found[0][0])


@pytest.mark.long
def test_kills_while_all_is_made_anew_leave_nothing_stale_and_nothing_twice() -> None:
    with running(("watcher", "converter-1", "converter-2"), (SOURCE,)) as system:
        nothing = wait_until_open(system)
        bring(system, "addresses.csv")
        (system.inbox / "homes.part").write_text(json.dumps([home(number) for number in range(HOMES)]))
        (system.inbox / "homes.part").rename(system.inbox / "homes.json")
        system.wait_until_quiet(1, within=120)
        addresses, _ = wait_until_made(system, nothing, killing=False)
        versions = system.query("SELECT count(*), max(recorded_from) FROM converter.versions")
        assert system.count("listings.listing WHERE building IS NOT NULL") == 0
        bring(system, "buildings.parquet")
        _, kills = wait_until_made(system, addresses, killing=True)
        assert kills > 0
        assert system.query("SELECT count(*), max(recorded_from) FROM converter.versions") == versions
        assert system.count("listings.listing") == system.count("converter.enriched") == HOMES
        assert system.count("listings.listing WHERE point_from = 'portal' AND footprint IS NULL") == 0
        assert system.count("converter.enriched WHERE reason <> ''") == 0
