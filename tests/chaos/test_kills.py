"""Any process may be killed at any time: no document is lost, and nothing is there twice."""

import hashlib
import json
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system import System, running
from tidemill.common.testing import shared_data

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(900)]

SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix"
REPLICAS = ("watcher", "converter-1", "converter-2")


@dataclass(frozen=True)
class Material:
    """Documents and what must come of them, however often and under whatever name they arrive."""

    papers: tuple[Path, ...]
    matches: int
    markets: int


def material() -> Material:
    """The eight papers where they are, else the sample that ships."""
    data = shared_data()
    if data is not None:
        papers = sorted((data / "football" / "dev").glob("*.pdf"))
        truths = sorted((data / "football" / "dev").glob("*.A1.truth.json"))
    else:
        papers, truths = sorted(SAMPLE.glob("*.pdf")), sorted(SAMPLE.glob("*.truth.json"))
    matches = [match for truth in truths for match in json.loads(truth.read_text())["matches"]]
    return Material(tuple(papers), len(matches), sum(len(match["markets"]) for match in matches))


def drop_all(system: System, papers: tuple[Path, ...], name: str) -> None:
    for number, paper in enumerate(papers):
        shutil.copy(paper, system.inbox / f"{name}-{number}.pdf")


def drop_variant(system: System, paper: Path, number: int) -> None:
    """The same facts in other bytes: readers ignore what follows the end of a PDF."""
    unfinished = system.inbox / f"variant-{number}.part"
    unfinished.write_bytes(paper.read_bytes() + b"\n%% %d\n" % number)
    unfinished.rename(system.inbox / f"variant-{number}.pdf")


def assert_exactly_once(system: System, material: Material, files: int, documents: int) -> None:
    assert system.count("converter.documents") == documents
    assert system.query("SELECT DISTINCT outcome FROM converter.documents") == [("converted",)]
    assert system.count("watcher.files") == files
    assert system.count("watcher.documents") == documents
    assert system.count("football.match") == material.matches
    assert system.count("football.market") == material.markets
    # The issues do not overlap and say the same in every layout: one version each, or something was stored twice.
    versions = system.count("football.match_history"), system.count("football.market_history")
    assert versions == (material.matches, material.markets)
    for schema in ("watcher", "converter"):
        assert system.count(f"{schema}.dead_letters") == 0, system.query(f"SELECT error FROM {schema}.dead_letters")
        assert system.count(f"{schema}.outbox WHERE sent_at IS NULL") == 0
        assert system.query(f"SELECT event_id FROM {schema}.outbox GROUP BY 1 HAVING count(*) > 1") == []
        assert system.query(f"SELECT consumer, event_id FROM {schema}.inbox GROUP BY 1, 2 HAVING count(*) > 1") == []
    told: Counter[str] = Counter()
    for stream in ("DOCUMENTS", "RUNS", "RECORDS"):
        messages = system.messages(stream)
        assert len(messages) == len(set(messages)), f"{stream} holds an event twice"
        told += Counter(kind for kind, _ in messages)
    expected = {"planned": files, "converted": documents}
    assert {kind: told[kind] for kind in expected} == expected
    assert told["stored"] >= documents
    stored = [kind for kind, _ in system.messages("DOCUMENTS") if kind in ("stored", "unchanged")]
    assert Counter(stored) == {"stored": documents, "unchanged": files - documents}


def test_nothing_is_lost_or_doubled_when_processes_are_killed(request: pytest.FixtureRequest, long_form: bool) -> None:
    seed = request.config.getoption("--seed") or random.randrange(1_000_000)
    chance = random.Random(seed)
    kills, older_after = (45, 30.0) if long_form else (9, 4.0)
    paper = material()
    with running(REPLICAS) as system:
        drop_all(system, paper.papers, "first")
        drop_all(system, paper.papers, "second")
        variants = 0
        older, copied_at, put_back = None, 0.0, False
        deadline = time.monotonic() + 600
        while (system.kills.total() < kills or not put_back) and time.monotonic() < deadline:
            time.sleep(chance.uniform(0.05, 1.2))
            drop_variant(system, chance.choice(paper.papers), variants)
            variants += 1
            system.kill_one(chance)
            if older is None and system.kills.total() >= 3:
                older, copied_at = system.copy_stream_store(), time.monotonic()
            if older is not None and not put_back and time.monotonic() - copied_at >= older_after:
                system.put_stream_store_back(older)
                put_back = True
            system.revive()
        print(f"seed {seed}: killed {dict(system.kills)}; {variants} variants")
        assert system.kills.total() >= kills
        documents = len({hashlib.sha256(path.read_bytes()).digest() for path in paper.papers}) + variants
        system.wait_until_quiet(documents, within=240)
        assert_exactly_once(system, paper, 2 * len(paper.papers) + variants, documents)


@pytest.mark.long
def test_the_same_papers_twice_under_other_names_are_duplicates() -> None:
    paper = material()
    with running(("watcher", "converter-1")) as system:
        drop_all(system, paper.papers, "first")
        drop_all(system, paper.papers, "second")
        system.wait_until_quiet(len(paper.papers), within=120)
        assert_exactly_once(system, paper, 2 * len(paper.papers), len(paper.papers))
