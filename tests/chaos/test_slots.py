"""Schedulers and servers may be killed at any time: each slot is fired exactly once, and none is forgotten."""

import asyncio
import random
import time
from collections import Counter
from datetime import timedelta

import nats
import pytest
import yaml

from tests.system import System, running

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(600)]

SOURCES = [f"clock-{number}" for number in range(20)]
REPLICAS = ("scheduler-1", "scheduler-2")
VICTIMS = ("scheduler-1", "scheduler-2", "scheduler-1", "scheduler-2", "nats", "postgres")
SECOND = timedelta(seconds=1)


def begin(system: System) -> None:
    for source in SOURCES:
        said = {
            "source": source,
            "schedule": {"every": "1s", "missed": "all", "missed_max": 1000},
            "run": {"overlap": "allow"},
        }
        (system.folder / "sources" / f"{source}.yaml").write_text(yaml.safe_dump(said))
    system.replicas = REPLICAS
    system.revive()


def kill(system: System, victim: str) -> None:
    if victim in REPLICAS:
        system.services[victim].kill()
        system.services[victim].wait()
    else:
        (system.nats if victim == "nats" else system.postgres).kill()
    system.kills[victim] += 1


async def pause(system: System) -> None:
    connection = await nats.connect(system.nats.url)
    try:
        await connection.jetstream().publish("$KV.tidemill-control.pause.all", b"the test is over")
    finally:
        await connection.close()


def count(system: System, what: str) -> int:
    """-1 while Postgres starts."""
    try:
        return system.count(what)
    except Exception:  # noqa: BLE001
        return -1


def wait_until_told(system: System, within: float) -> None:
    """Until nothing is fired any more and every event is published."""
    deadline = time.monotonic() + within
    before = -1
    while True:
        system.revive()
        fired, unsent = count(system, "scheduler.slots"), count(system, "scheduler.outbox WHERE sent_at IS NULL")
        if fired == before and unsent == 0:
            return
        before = fired
        assert time.monotonic() < deadline, f"{fired} slots, {unsent} events unsent; logs in {system.folder / 'log'}"
        time.sleep(1.5)


def test_each_slot_fires_exactly_once_whoever_is_killed(request: pytest.FixtureRequest, long_form: bool) -> None:
    seed = request.config.getoption("--seed") or random.randrange(1_000_000)
    chance = random.Random(seed)
    kills, slots = (60, 2000) if long_form else (6, 200)
    with running(()) as system:
        begin(system)
        deadline = time.monotonic() + 500
        while system.kills.total() < kills or count(system, "scheduler.slots") < slots:
            assert time.monotonic() < deadline
            time.sleep(chance.uniform(0.2, 1.2))
            if system.kills.total() < kills and count(system, "scheduler.slots") > 0:
                kill(system, chance.choice(VICTIMS))
            system.revive()
        asyncio.run(pause(system))
        wait_until_told(system, within=60)
        print(f"seed {seed}: killed {dict(system.kills)}; {system.count('scheduler.slots')} slots")
        assert_each_fired_once(system)


def assert_each_fired_once(system: System) -> None:
    rows = system.query("SELECT source, slot, outcome, run FROM scheduler.slots ORDER BY source, slot")
    assert {row[2] for row in rows} == {"fired"}
    for source in SOURCES:
        fired = [slot for name, slot, _, _ in rows if name == source]
        assert fired == [fired[0] + number * SECOND for number in range(len(fired))], f"{source} forgot a slot"
    runs = system.query("SELECT run FROM scheduler.runs WHERE trigger = 'schedule' ORDER BY run")
    assert runs == sorted((row[3],) for row in rows)
    # Those that fired when the pause came wait for its end.
    held = {run for (run,) in system.query("SELECT run FROM scheduler.runs WHERE state = 'waiting'")}
    assert len(held) <= len(SOURCES)
    told = Counter(id for kind, id in system.messages("RUNS") if kind == "requested")
    assert told == Counter(f"{source}@{slot:%Y-%m-%dT%H:%M:%SZ}" for source, slot, _, run in rows if run not in held)
    assert system.count("scheduler.dead_letters") == 0
