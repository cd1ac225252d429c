"""Whatever is killed: each outcome counts once, every run ends, and its end is told once."""

import json
import random
import time

import pytest

from tests.system import System, running

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(300)]

REPLICAS = ("watcher", "converter", "scheduler-1", "scheduler-2")
PRICES = {
    "source": "prices",
    "watch": {"folder": "inbox", "include": ["*.json"], "stable_for": "100ms", "after": "move"},
    "convert": {"with": "json", "options": {"key": "id"}},
}
NEW, DUPLICATES, BROKEN = 30, 6, 6
KILLS = 8
PATIENCE_SECONDS = 200

COUNTS = (
    "SELECT state, sum(new), sum(unchanged), sum(failed), count(*) FROM scheduler.runs GROUP BY state ORDER BY state"
)


def drop(system: System, name: str, content: str) -> None:
    unfinished = system.inbox / f"{name}.part"
    unfinished.write_text(content)
    unfinished.rename(system.inbox / f"{name}.json")


def ended(system: System) -> int:
    try:
        return system.count("scheduler.runs WHERE finished_at IS NOT NULL")
    except Exception:  # noqa: BLE001 - Postgres may be starting
        return -1


@pytest.mark.long
def test_the_ledger_is_right_whatever_is_killed(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed") or random.randrange(10_000)
    print(f"--seed {seed}")
    chance = random.Random(seed)
    papers = [(f"new-{n}", json.dumps([{"id": f"{n}-{item}"} for item in range(3)])) for n in range(NEW)]
    papers += [(f"again-{n}", papers[n][1]) for n in range(DUPLICATES)]
    papers += [(f"broken-{n}", f'[{{"id": {n}') for n in range(BROKEN)]
    chance.shuffle(papers)
    with running(REPLICAS, sources=(PRICES,)) as system:
        for number, (name, content) in enumerate(papers):
            drop(system, name, content)
            if number % (len(papers) // KILLS) == 0:
                system.kill_one(chance)
                time.sleep(chance.random())
                system.revive()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while ended(system) < len(papers):
            assert time.monotonic() < deadline, f"{ended(system)} of {len(papers)} runs ended; {system.folder}"
            system.revive()
            time.sleep(0.5)
        print(f"killed: {dict(system.kills)}")
        assert system.query(COUNTS) == [
            ("complete", NEW, DUPLICATES, 0, NEW + DUPLICATES),
            ("failed", 0, 0, BROKEN, BROKEN),
        ]
        assert system.count("scheduler.run_items") == len(papers)
        while system.count("scheduler.outbox WHERE sent_at IS NULL"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        finished = [id for kind, id in system.messages("RUNS") if kind == "finished"]
        assert len(finished) == len(set(finished)) == len(papers)
        assert {id.rpartition("/")[2] for id in finished} == {"1"}
