"""From the slot to the outcome under kills: each slot is one run, each outcome counts once, no run stays open."""

import asyncio
import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import nats
import pytest

from tests.system import System, running
from tidemill.common.testing.site import Site, site_in_a_thread

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(900)]

REPLICAS = ("scheduler-1", "scheduler-2", "downloader-1", "downloader-2")
VICTIMS = (*REPLICAS, *REPLICAS, "nats", "postgres")
SOURCES = 8
SECOND = timedelta(seconds=1)
STANDS_STILL_SECONDS = 60


def source(site: Site, number: int) -> Mapping[str, Any]:
    return {
        "source": f"bulletin-{number}",
        "schedule": {"every": "1s", "missed": "all", "missed_max": 1000},
        "run": {"overlap": "allow"},
        "download": {"url": site.url(f"/bulletin-{number}.pdf")},
        "politeness": {"rate": "500/s", "concurrency": 8, "allow_private": [site.host]},
    }


def ask(system: System, query: str, otherwise: int = -1) -> int:
    """A number; `otherwise` while Postgres starts."""
    try:
        return system.count(query)
    except Exception:  # noqa: BLE001
        return otherwise


async def fire_no_more(system: System) -> None:
    connection = await nats.connect(system.nats.url)
    try:
        await connection.jetstream().publish("$KV.tidemill-control.pause.service.scheduler", b"the test is over")
    finally:
        await connection.close()


async def documents(system: System) -> list[tuple[str, str, str]]:
    """(kind, run, item) of every outcome that was stated."""
    connection = await nats.connect(system.nats.url)
    try:
        js = connection.jetstream()
        messages = await js.subscribe("", stream="DOCUMENTS", ordered_consumer=True)
        stated = []
        for _ in range((await js.stream_info("DOCUMENTS")).state.messages):
            message = await messages.next_msg(timeout=10)
            said = json.loads(message.data)
            stated.append((message.subject.split(".")[2], said["run"], said["item"]))
        return stated
    finally:
        await connection.close()


@pytest.mark.long
def test_each_slot_is_one_run_and_each_outcome_counts_once(request: pytest.FixtureRequest, long_form: bool) -> None:
    seed = request.config.getoption("--seed") or random.randrange(1_000_000)
    print(f"--seed {seed}")
    chance = random.Random(seed)
    kills, slots = (60, 1000) if long_form else (5, 200)
    with site_in_a_thread() as site:
        for number in range(SOURCES):
            site.put(f"/bulletin-{number}.pdf", b"%PDF-1.7 " + chance.randbytes(20_000))
        with running(REPLICAS, sources=[source(site, number) for number in range(SOURCES)]) as system:
            deadline = time.monotonic() + 500
            while system.kills.total() < kills or ask(system, "scheduler.slots") < slots:
                assert time.monotonic() < deadline
                time.sleep(chance.uniform(0.3, 2))
                if system.kills.total() < kills and ask(system, "scheduler.slots") > 0:
                    kill(system, chance.choice(VICTIMS))
                system.revive()
            asyncio.run(fire_no_more(system))
            wait_until_nothing_is_open(system, within=180)
            print(f"killed {dict(system.kills)}; {system.count('scheduler.slots')} slots")
            assert_each_counts_once(system)


def kill(system: System, victim: str) -> None:
    if victim in REPLICAS:
        system.services[victim].kill()
        system.services[victim].wait()
    else:
        (system.nats if victim == "nats" else system.postgres).kill()
    system.kills[victim] += 1


def wait_until_nothing_is_open(system: System, within: float) -> None:
    """`within` seconds, or as long as runs end: a machine that does much else is slow, not wrong."""
    deadline = time.monotonic() + within
    still, fewest = 0, math.inf
    while still < 3:
        system.revive()
        open_runs = ask(system, "scheduler.runs WHERE finished_at IS NULL AND state <> 'waiting'")
        if 0 <= open_runs < fewest:
            fewest, deadline = open_runs, max(deadline, time.monotonic() + STANDS_STILL_SECONDS)
        unsent = [ask(system, f"{schema}.outbox WHERE sent_at IS NULL") for schema in ("scheduler", "downloader")]
        still = still + 1 if (open_runs, unsent) == (0, [0, 0]) else 0
        assert time.monotonic() < deadline, f"{open_runs} runs open, unsent {unsent}; logs in {system.folder / 'log'}"
        time.sleep(1)


def assert_each_counts_once(system: System) -> None:
    fired = system.query("SELECT source, slot, outcome, run FROM scheduler.slots ORDER BY source, slot")
    assert {outcome for _, _, outcome, _ in fired} == {"fired"}
    for number in range(SOURCES):
        times = [slot for name, slot, _, _ in fired if name == f"bulletin-{number}"]
        assert times == [times[0] + place * SECOND for place in range(len(times))], f"bulletin-{number} forgot a slot"
    # Slots that fire while the pause comes in are runs that wait for its end.
    held = dict(system.query("SELECT run, reason FROM scheduler.runs WHERE state = 'waiting'"))
    assert set(held.values()) <= {"held"}
    runs = {run for _, _, _, run in fired} - held.keys()
    assert {run for (run,) in system.query("SELECT run FROM scheduler.runs")} - held.keys() == runs

    stated = asyncio.run(documents(system))
    assert Counter(run for _, run, _ in stated) == Counter(runs), "one outcome for the one item of each run"
    kinds = Counter(kind for kind, _, _ in stated)
    assert set(kinds) == {"stored", "unchanged"}
    assert kinds["stored"] == SOURCES
    states = system.query("SELECT DISTINCT state, items FROM scheduler.runs WHERE state <> 'waiting'")
    assert states == [("complete", 1)]
    (sums,) = system.query("SELECT sum(new), sum(changed), sum(unchanged), sum(failed) FROM scheduler.runs")
    assert sums == (SOURCES, 0, len(runs) - SOURCES, 0)

    told = Counter(kind for kind, _ in set(system.messages("RUNS")))
    assert (told["requested"], told["finished"]) == (len(runs), len(runs))
    assert system.count("scheduler.runs WHERE corrected") == 0
    for schema in ("scheduler", "downloader"):
        letters = system.query(f"SELECT consumer, reason, error FROM {schema}.dead_letters")
        assert letters == []
