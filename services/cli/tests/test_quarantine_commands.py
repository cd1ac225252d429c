"""`tidemill quarantine`: what checks hold, shown and let go by commands on the bus."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tidemill.cli.main import app
from tidemill.common.bus.bus import Bus
from tidemill.common.cache import InProcessCache
from tidemill.common.checks import Times
from tidemill.common.config.checks import Check
from tidemill.common.database import open_engine
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.converter.content import check_records
from tidemill.converter.datasets import find_datasets, register_datasets
from tidemill.converter.documents import DocumentFacts, Finished, begin_document, finish_document
from tidemill.converter.judging import judge
from tidemill.converter.names import Names
from tidemill.converter.quarantine import insert_findings, insert_held
from tidemill.converter.release import Quarantine
from tidemill.converter.store import RecordBatch, record_batches
from tidemill.converter.tables import bus, metadata
from tidemill.plugin import Record
from tidemill.scheduler.tables import metadata as scheduler_metadata
from tidemill.scraper.checks import release_command
from tidemill.scraper.tables import bus as scraper_bus
from tidemill.scraper.tables import metadata as scraper_metadata

pytestmark = pytest.mark.servers

CONVERTER = SimpleNamespace(name="converter", metadata=metadata, migrations="tidemill.converter.migrations")
SCRAPER = SimpleNamespace(name="scraper", metadata=scraper_metadata, migrations="tidemill.scraper.migrations")
SCHEDULER = SimpleNamespace(name="scheduler", metadata=scheduler_metadata, migrations="tidemill.scheduler.migrations")
AT = datetime(2026, 11, 30, 5, tzinfo=UTC)
LEVEL = Check(check="range", field="level", most=10, severity="block")


def item(key: str, level: float) -> Record:
    return Record("json.item", key, {"level": level}, raw=f"{key} {level}")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def filled(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two documents of gauges, of which three levels are too high; and one that nobody could read."""
    url = new_database(CONVERTER, SCRAPER, SCHEDULER)
    engine = open_engine(url)
    datasets = await register_datasets(engine, find_datasets())
    documents: Sequence[list[Record]] = [[item("a", 1), item("b", 11)], [item("a", 12), item("c", 900)]]
    for number, records in enumerate(documents):
        at = AT + timedelta(days=number)
        judged = judge(check_records(records, datasets).records, [LEVEL], Times(at, at, at))
        async with engine.begin() as tx:
            document = await begin_document(tx, _facts(number, at))
            batch = RecordBatch(
                document=document, part=0, run=f"run-{number}", valid_from=at, records=judged.passed, rejected=()
            )
            await record_batches(tx, [batch], datasets)
            await insert_held(tx, document, 0, "gauges", f"run-{number}", judged.held)
            await insert_findings(tx, document, 0, judged.findings)
            await finish_document(tx, document, Finished(outcome="converted"))
    async with engine.begin() as tx:
        document = await begin_document(tx, _facts(7, AT))
        await finish_document(tx, document, Finished(outcome="unrecognised", reason="not a layout that is known"))
    await engine.dispose()
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def _facts(number: int, at: datetime) -> DocumentFacts:
    return DocumentFacts(
        source="gauges",
        sha256=f"{number}" * 64,
        run=f"run-{number}",
        converter="json",
        converter_version="1",
        name=f"levels {number}.json",
        size_bytes=1,
        received_at=at,
    )


async def invoke(*words: str) -> Result:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["quarantine", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@asynccontextmanager
async def converter(nats_url: str, database_url: str, checks: dict[str, tuple[Check, ...]]) -> AsyncIterator[None]:
    """Its commands about the quarantine, answered on a bus."""
    engine = open_engine(database_url)
    datasets = await register_datasets(engine, find_datasets())
    metrics = Metrics("converter")
    quarantine = Quarantine(checks, datasets, Names(engine, InProcessCache(metrics), []), metrics)
    telemetry = Telemetry.open("converter", "1.0.0")
    async with Bus.open(
        nats_url, service="converter", version="1.0.0", engine=engine, tables=bus, telemetry=telemetry
    ) as opened:
        running = asyncio.create_task(opened.run(commands=quarantine.commands()))
        while not (opened.connected and opened.control.known):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        yield
        await opened.stop()
        await running
    await telemetry.close()
    await engine.dispose()


@asynccontextmanager
async def scraper(nats_url: str, database_url: str) -> AsyncIterator[None]:
    """Its command about what is held, answered on a bus."""
    engine = open_engine(database_url)
    telemetry = Telemetry.open("scraper", "1.0.0")
    async with Bus.open(
        nats_url, service="scraper", version="1.0.0", engine=engine, tables=scraper_bus, telemetry=telemetry
    ) as opened:
        running = asyncio.create_task(opened.run(commands=[release_command()]))
        while not (opened.connected and opened.control.known):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        yield
        await opened.stop()
        await running
    await telemetry.close()
    await engine.dispose()


async def write(url: str, *statements: str) -> None:
    engine = open_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


HELD_RUN = (
    "INSERT INTO scraper.runs (run, source, trigger, phase, outcome, partial, priority, seen, held, requested_at,"
    " planned_at) VALUES ('run-1', 'gauges', 'schedule', 'closed', 'complete', false, 10, 4,"
    " 'count: 4 found, usual are 10', '2026-11-30T05:00Z', '2026-11-30T05:01Z')",
    "INSERT INTO scraper.targets (source, item, identity, url, host, path, name, first_seen_at, seen_at, seen_run,"
    " seen_search) SELECT 'gauges', 'i' || n, 'i' || n, 'http://x/' || n, 'x', 'http://x/' || n, 'n', now(), now(),"
    " 'run-0', 0 FROM generate_series(1, 6) n",
    "INSERT INTO scraper.decisions (run, target, source, decision, decided_at)"
    " SELECT 'run-1', id, source, 'held', now() FROM scraper.targets",
    "INSERT INTO scraper.check_results (run, name, source, severity, passed, message, value)"
    " VALUES ('run-1', 'count', 'gauges', 'block', false, '4 found, usual are 10', 4)",
)


async def rows(url: str, statement: str) -> list[Any]:
    engine = open_engine(url)
    async with engine.connect() as connection:
        found = list((await connection.exec_driver_sql(statement)).all())
    await engine.dispose()
    return found


async def test_what_is_held_is_listed_with_reasons_and_ways_back(filled: str) -> None:
    shown = (await invoke("list")).output
    assert "level is 900, more than 10" in shown
    assert "3 records\n" in shown
    assert "`tidemill quarantine release --all`" in shown.replace(".venv/bin/", "")
    assert "unrecognised" in shown and "not a layout that is known" in shown
    assert "reconvert --document" in shown
    told = json.loads((await invoke("list", "--run", "run-1", "--check", "range_level", "-o", "json")).output)
    assert [one["key"] for one in told["records"]] == ["c", "a"]
    assert told["records"][0]["data"] == {"level": 900}
    assert told["documents"] == []
    assert (await invoke("list", "--source", "other")).output == "no record is held\n"
    assert "no state; valid: held" in (await invoke("list", "--state", "lost")).output


async def test_one_is_shown_whole(filled: str) -> None:
    (one, *_) = json.loads((await invoke("list", "-o", "json")).output)["records"]
    shown = (await invoke("show", str(one["id"]))).output
    for said in ("levels 1.json", "c 900", "run-1", '{"level": 900}', "level is 900, more than 10"):
        assert said in shown
    unknown = await invoke("show", "999")
    assert unknown.exit_code == 1
    assert "there is no record 999 in quarantine" in unknown.output


async def test_after_a_fix_what_passes_is_released_and_leaves_an_audit_word(
    filled: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    checks: dict[str, tuple[Check, ...]] = {"gauges": (LEVEL,)}
    async with converter(nats_url, filled, checks):
        before = await invoke("release", "--all")
        assert (before.exit_code, before.stdout) == (1, "released 0, still held 3\n")
        checks["gauges"] = (LEVEL.model_copy(update={"most": 20.0}),)
        released = await invoke("release", "--source", "gauges")
        assert (released.exit_code, released.stdout) == (0, "released 2, still held 1\n")
        assert "c is still held: level is 900, more than 20" in released.stderr
        found = await rows(filled, "SELECT key, (data ->> 'level')::numeric FROM json.item ORDER BY key")
        assert [tuple(row) for row in found] == [("a", 12), ("b", 11)]
        (left,) = json.loads((await invoke("list", "-o", "json")).output)["records"]
        forced = await invoke("release", str(left["id"]), "--force")
        assert forced.stdout == "released 1, still held 0\n"
        assert "no record in quarantine is like that" in (await invoke("release", "--all")).output
        told = await rows(
            filled, "SELECT convert_from(payload, 'UTF8') FROM converter.outbox WHERE subject ~ 'command'"
        )
        words = [json.loads(row[0]) for row in told]
        assert [word["action"] for word in words] == ["quarantine.release"] * 2
        assert sorted("force" in json.loads(word["after"]) for word in words) == [False, True]


async def test_what_is_dropped_is_out_of_the_way(filled: str, nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    async with converter(nats_url, filled, {}):
        assert (await invoke("drop", "--run", "run-1")).stdout == "dropped 2\n"
        told = json.loads((await invoke("list", "--state", "dropped", "-o", "json")).output)
        assert {one["key"] for one in told["records"]} == {"a", "c"}
        assert (await invoke("list", "--run", "run-1")).output == "no record is held\n"


async def test_whoever_names_nothing_is_asked_which(filled: str) -> None:
    for verb in ("release", "drop"):
        result = await invoke(verb)
        assert result.exit_code == 1
        assert "say which: numbers, --source, --check, --run, or --all" in result.output


async def test_what_a_run_may_not_say_is_gone_is_listed_and_released(
    filled: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(filled, *HELD_RUN)
    monkeypatch.setenv("NATS_URL", nats_url)
    (held,) = json.loads((await invoke("list", "-o", "json")).output)["gone"]
    assert (held["run"], held["targets"], held["reason"]) == ("run-1", 6, "count: 4 found, usual are 10")
    assert len(held["examples"]) == 3
    shown = (await invoke("list", "--source", "gauges")).output
    assert "gone:run-1" in shown and "count: 4 found, usual are 10" in shown
    assert "needs no dropping" in (await invoke("drop", "gone:run-1")).output
    async with scraper(nats_url, filled):
        released = await invoke("release", "gone:run-1")
        assert "6 pages of gauges that run-1 missed are gone with the next run" in released.output
        unknown = await invoke("release", "gone:run-9")
        assert (unknown.exit_code, "no check holds back" in unknown.output) == (1, True)
    assert json.loads((await invoke("list", "-o", "json")).output)["gone"] == []
    (row,) = await rows(filled, "SELECT released_by FROM scraper.runs")
    assert row[0]


async def test_what_a_later_good_run_settled_is_listed_no_more(filled: str) -> None:
    await write(filled, *HELD_RUN)
    await write(
        filled,
        "INSERT INTO scraper.runs (run, source, trigger, phase, outcome, partial, priority, seen, requested_at)"
        " VALUES ('run-2', 'gauges', 'schedule', 'closed', 'complete', false, 10, 9, '2026-12-01T05:00Z')",
    )
    assert json.loads((await invoke("list", "-o", "json")).output)["gone"] == []
    assert len(json.loads((await invoke("list", "--state", "all", "-o", "json")).output)["gone"]) == 1


async def test_a_run_shows_what_checks_said_of_it(filled: str) -> None:
    await write(
        filled,
        *HELD_RUN,
        "INSERT INTO scheduler.runs (run, source, trigger, state, requested_at) VALUES"
        " ('run-1', 'gauges', 'schedule', 'complete', '2026-11-30T05:00Z')",
    )
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["runs", "show", "run-1"])
    assert shown.exit_code == 0, shown.output
    for said in (
        "4 found, usual are 10",
        "range_level",
        "2 records",
        "for instance: level is 12, more than 10",
        "2 in quarantine: `tidemill quarantine list --run run-1`",
    ):
        assert said in shown.output.replace(".venv/bin/", "")
    told = await asyncio.to_thread(CliRunner().invoke, app, ["runs", "show", "run-0", "-o", "json"])
    assert "there is no run run-0" in told.output
    told = await asyncio.to_thread(CliRunner().invoke, app, ["runs", "show", "run-1", "-o", "json"])
    checked = json.loads(told.output)["checked"]
    assert [(one["name"], one["passed"]) for one in checked["checks"]] == [("count", False)]
    assert checked["quarantined"] == 2
    assert checked["quality"] == {}
