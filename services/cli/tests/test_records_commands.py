"""`tidemill records`, `export` and `teams`: what is stored, shown, written out, and corrected."""

import asyncio
import csv
import io
import json
import os
import pty
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from tidemill.cli import export, migrate, records, teams
from tidemill.common.bus.bus import Bus
from tidemill.common.cache import InProcessCache
from tidemill.common.database import open_engine
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.converter.aliases import Aliases
from tidemill.converter.content import check_records
from tidemill.converter.datasets import find_datasets, find_vocabularies, register_datasets
from tidemill.converter.names import Names
from tidemill.converter.store import DocumentFacts, RecordBatch, begin_document, record_batches
from tidemill.converter.tables import bus, metadata
from tidemill.plugin import Position, Record

CONVERTER = SimpleNamespace(name="converter", metadata=metadata, migrations="tidemill.converter.migrations")
ISSUE = datetime(2025, 6, 17, tzinfo=UTC)
LEAGUE = "Spanyol bajnokság"
PROGRAM = """
import typer
from tidemill.cli import export, records
app = typer.Typer()
records.register(app)
export.register(app)
app()
"""


def run(*arguments: str, given: str | None = None) -> Result:
    app = typer.Typer()
    for module in (records, export, teams, migrate):
        module.register(app)
    result = CliRunner().invoke(app, list(arguments), input=given)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def match(serial: str, home: str, away: str, league: str = LEAGUE) -> Record:
    data = {
        "date": "2025-06-20",
        "time": "19:00",
        "kickoff": "2025-06-20T17:00:00Z",
        "league": league,
        "home": home,
        "away": away,
        "venue": None,
        "serial": serial,
    }
    box = (28.0, 123.46, 778.9, 131.7)
    return Record("football.match", f"{serial}:{home}-{away}", data, Position(1, box), quality=0.9)


def market(serial: str, of: Record, price: float) -> Record:
    data = {
        "key": "match_result",
        "period": "FT",
        "side": None,
        "line": None,
        "param": None,
        "outcome": None,
        "text": "",
        "serial": serial,
        "mark": None,
        "kim": None,
        "cols": "HDV",
        "odds": {"home": price, "draw": 3.2, "away": 4.4},
    }
    return Record("football.market", "match_result/FT", data, parent=("football.match", of.key))


GIRONA = match("01234", "Girona", "Rayo Vallecano")
BETIS = match("01235", "Betis", "Girona FC")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project is the working folder, and nothing is set around it."""
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def filled(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two issues: two matches, and then one of them with a moved price."""
    database_url = new_database(CONVERTER)
    engine = open_engine(database_url)
    datasets = await register_datasets(engine, find_datasets())
    names = Names(engine, InProcessCache(Metrics("converter")), find_vocabularies())
    await names.register()
    issues = [
        [GIRONA, market("01234", GIRONA, 1.5), BETIS, market("01235", BETIS, 2.5)],
        [GIRONA, market("01234", GIRONA, 1.6)],
    ]
    for number, issue in enumerate(issues):
        at = ISSUE + timedelta(days=3 * number)
        checked = check_records(issue, datasets)
        assert not checked.rejected
        resolved = await names.resolve(checked.records)
        async with engine.begin() as tx:
            await names.record(tx, resolved)
            facts = DocumentFacts(
                source="szerencsemix",
                sha256=f"{number:064}",
                run="run",
                converter="szerencsemix",
                converter_version="1",
                name=f"issue {number}.pdf",
                size_bytes=1,
                received_at=at,
            )
            document = await begin_document(tx, facts)
            batch = RecordBatch(document=document, part=0, run="run", valid_from=at, records=checked.records)
            await record_batches(tx, [batch], datasets)
    await engine.dispose()
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


async def store(url: str, items: list[Record]) -> None:
    """One more document, of another source."""
    engine = open_engine(url)
    datasets = await register_datasets(engine, find_datasets())
    facts = DocumentFacts(
        source="other",
        sha256="9" * 64,
        run="run",
        converter="other",
        converter_version="1",
        name="items.json",
        size_bytes=1,
        received_at=ISSUE,
    )
    async with engine.begin() as tx:
        document = await begin_document(tx, facts)
        records = check_records(items, datasets).records
        await record_batches(
            tx, [RecordBatch(document=document, part=0, run="run", valid_from=ISSUE, records=records)], datasets
        )
    await engine.dispose()


async def invoke(*arguments: str, given: str | None = None) -> Result:
    """In a thread: a command has an event loop of its own."""
    return await asyncio.to_thread(run, *arguments, given=given)


@pytest.mark.servers
async def test_records_are_a_table_for_people(filled: str) -> None:
    result = await invoke("records", "football.match")
    assert result.exit_code == 0, result.output
    assert "Rayo Vallecano" in result.output
    assert "2 records" in result.output
    assert "home_team_name" in result.output
    assert "kickoff, valid_from in UTC; all of each" in result.output
    assert "venue" not in result.output  # Nothing in it.


@pytest.mark.servers
async def test_a_narrow_table_shows_what_matters_and_says_what_it_leaves_out(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = (await invoke("records", "football.match")).output.splitlines()
    assert lines[2].split() == ["date", "time", "league", "home_team_name", "away_team_name"]
    assert lines[3].split() == ["2025-06-20", "19:00", "Spanyol", "bajnokság", "Girona", "Rayo", "Vallecano"]
    assert "no room for: key, kickoff, home, away, serial, valid_from" in lines
    assert max(map(len, lines)) <= 80
    history = (await invoke("records", "football.market", "--history")).output
    assert history.splitlines()[2].split() == ["parent", "key", "period", "odds", "valid_from"]
    assert "away 4.4" in history


@pytest.mark.servers
async def test_what_a_record_holds_beyond_its_model_has_columns_too(filled: str) -> None:
    await store(filled, [Record("json.item", "gauge/1", {"level": 31.25, "station": {"id": "rib"}, "tags": ["a"]})])
    lines = (await invoke("records", "json.item")).output.splitlines()
    assert lines[2].split() == ["key", "tags", "level", "station", "valid_from"]
    assert lines[3].split("  ")[:4] == ["gauge/1", '["a"]', "31.25", "id rib"]
    assert (await invoke("records", "json.item", "--key", "nothing")).output == "0 records\n"


@pytest.mark.servers
async def test_records_are_json_for_programs_with_the_teams_they_stand_for(filled: str) -> None:
    rows = json.loads((await invoke("records", "football.match", "-o", "json")).output)
    assert [row["home_team_kind"] for row in rows] == ["senior", "senior"]
    assert rows[0]["home_team_id"] == rows[1]["away_team_id"]
    lines = (await invoke("records", "football.market", "-o", "jsonl", "--limit", "1")).output.splitlines()
    assert len(lines) == 1


@pytest.mark.servers
async def test_the_history_of_a_record_and_those_under_it(filled: str) -> None:
    result = await invoke("records", "football.market", "--key", GIRONA.key, "--history", "-o", "json")
    rows = json.loads(result.output)
    assert [(row["odds"]["home"], row["valid_from"][:10]) for row in rows] == [(1.5, "2025-06-17"), (1.6, "2025-06-20")]
    assert {row["parent"] for row in rows} == {GIRONA.key}
    assert (rows[0]["key"], rows[0]["record_key"]) == ("match_result", f"{GIRONA.key}/match_result/FT")
    table = (await invoke("records", "football.market", "--history", "--limit", "3")).output
    assert "3 versions (at most 3; --limit shows more)" in table
    assert "valid_to" in table


@pytest.mark.servers
async def test_an_unknown_dataset_is_answered_with_those_there_are(filled: str) -> None:
    result = await invoke("records", "football.macth")
    assert result.exit_code == 1
    assert "there is no dataset 'football.macth'; there are: football.market, football.match" in result.output


@pytest.mark.servers
async def test_a_database_without_tables_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    result = await invoke("records", "football.match")
    assert result.exit_code == 1
    assert "run `tidemill migrate`" in result.output


@pytest.mark.servers
async def test_migrate_makes_the_views_of_installed_datasets(
    database_url: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("NATS_URL", nats_url)
    for _ in range(2):
        done = await invoke("migrate", "--service", "converter")
        assert done.exit_code == 0, done.output
    assert json.loads((await invoke("records", "football.match", "-o", "json")).output) == []


def test_without_any_database_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("records", "football.match")
    assert result.exit_code == 1
    assert f"nothing runs with the data of {Path.cwd() / 'data'}: start `" in result.output
    assert "is found with `--set data_dir=DIR` or TIDEMILL_DATA_DIR=DIR" in result.output
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    result = run("records", "football.match")
    assert result.exit_code == 1
    assert "no database" in result.output


@pytest.mark.servers
async def test_export_goes_to_standard_output_or_to_a_file_by_its_ending(filled: str, project: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((await invoke("export", "football.match")).stdout)))
    assert [row["home"] for row in rows] == ["Girona", "Betis"]
    result = await invoke("export", "football.market", "--out", "markets.parquet")
    assert (result.exit_code, result.output) == (0, "2 rows in markets.parquet\n")
    assert pl.read_parquet(project / "markets.parquet")["serial"].to_list() == ["01234", "01235"]
    assert [path.name for path in project.iterdir()] == ["markets.parquet"]


@pytest.mark.servers
async def test_export_as_of_a_time_and_since_another(filled: str) -> None:
    async def prices(*options: str) -> list[Any]:
        lines = (await invoke("export", "football.market", "-o", "jsonl", *options)).output.splitlines()
        return [json.loads(line)["odds"]["home"] for line in lines]

    assert await prices() == [1.6, 2.5]
    assert await prices("--as-of", "2025-06-18") == [1.5, 2.5]
    assert await prices("--as-of", "2025-06-01") == []
    assert await prices("--known-at", "2025-06-18") == []
    assert await prices("--since", "2025-06-18T12:00+02:00") == [1.6, 2.5]
    assert await prices("--since", "2999-01-01") == []
    assert await prices("--history") == [1.5, 1.6, 2.5]


@pytest.mark.servers
async def test_export_that_cannot_be_says_why(filled: str, project: Path) -> None:
    for words, reason in {
        ("--as-of", "yesterday"): "'yesterday' is no time",
        ("--as-of", "2025-06-18", "--history"): "choose one",
        ("--out", "matches.doc"): ".csv, .json, .jsonl, .parquet, .xlsx",
        ("--out", "nowhere/matches.csv"): "cannot write nowhere/matches.csv: No such file or directory",
        ("--out", "."): ". is a folder: name a file in it",
    }.items():
        result = await invoke("export", "football.match", *words)
        assert result.exit_code != 0
        assert reason in result.output
    assert list(project.iterdir()) == []


@pytest.mark.servers
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
@pytest.mark.parametrize("form", ["csv", "parquet"])
async def test_a_device_is_written_to_and_not_replaced(filled: str, form: str) -> None:
    result = await invoke("export", "football.match", "-o", form, "--out", "/dev/full")
    assert result.exit_code == 1
    assert "cannot write /dev/full: No space left on device" in result.output
    assert Path("/dev/full").is_char_device()


@pytest.mark.servers
@pytest.mark.parametrize("form", ["parquet", "xlsx"])
async def test_a_binary_file_goes_to_whom_standard_output_leads(filled: str, form: str) -> None:
    written = (await invoke("export", "football.market", "-o", form)).stdout_bytes
    if form == "parquet":
        assert pl.read_parquet(io.BytesIO(written))["serial"].to_list() == ["01234", "01235"]
    else:
        assert "xl/workbook.xml" in zipfile.ZipFile(io.BytesIO(written)).namelist()


@pytest.mark.servers
async def test_a_binary_file_is_not_shown_to_a_person(filled: str) -> None:
    def on_a_terminal() -> str:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "export", "football.market", "-o", "xlsx"], stdout=theirs, stderr=PIPE
        ) as exporting:
            _, said = exporting.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert exporting.returncode == 1
        return said.decode()

    assert "xlsx is not for a terminal: add --out FILE.xlsx, or > FILE.xlsx" in await asyncio.to_thread(on_a_terminal)


@pytest.mark.servers
@pytest.mark.parametrize(
    "words",
    [
        ("export", "json.item"),
        pytest.param(("export", "json.item", "-o", "jsonl"), marks=pytest.mark.long),
        pytest.param(("records", "json.item", "-o", "json"), marks=pytest.mark.long),
    ],
    ids=" ".join,
)
async def test_a_reader_that_has_seen_enough_is_no_failure(filled: str, words: tuple[str, ...]) -> None:
    await store(filled, [Record("json.item", f"key/{number}", {"text": "x" * 900}) for number in range(3000)])

    def leave_early() -> tuple[int, bytes]:
        with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=PIPE, stderr=PIPE) as writing:
            assert writing.stdout
            assert writing.stderr
            writing.stdout.readline()
            writing.stdout.close()
            said = writing.stderr.read()
        return writing.returncode, said

    assert await asyncio.to_thread(leave_early) == (0, b"")


@pytest.mark.servers
async def test_boxes_are_written_as_the_numbers_that_were_meant(filled: str) -> None:
    (row, *_) = json.loads((await invoke("export", "football.match", "-o", "json")).stdout)
    assert (row["box"], row["quality"]) == ([28.0, 123.46, 778.9, 131.7], 0.9)
    offer = json.loads((await invoke("export", "football.match", "--max-additional", "0")).stdout)
    assert offer["matches"][0]["box"] == [28.0, 123.46, 778.9, 131.7]


@pytest.mark.servers
async def test_matches_leave_with_their_odds_day_by_day_and_capped(filled: str, project: Path) -> None:
    offer = json.loads((await invoke("export", "football.match", "--max-additional", "0")).stdout)
    assert [(one["home"], len(one["markets"])) for one in offer["matches"]] == [("Girona", 1), ("Betis", 1)]
    (market,) = offer["matches"][0]["markets"]
    assert (market["odds"], market["cols"], market["key"]) == ([1.6, 3.2, 4.4], "HDV", "match_result")
    assert offer["matches"][0]["home_team"]["kind"] == "senior"
    assert offer["matches"][0]["excluded_markets"] == []

    result = await invoke("export", "football.match", "--split-days", "days", "--as-of", "2025-06-18")
    assert result.output == "2 matches in days/merged.json, 1 days in days\n"
    assert sorted(path.name for path in (project / "days").iterdir()) == ["2025-06-20.json", "merged.json"]
    of_day = json.loads((project / "days" / "2025-06-20.json").read_text())
    assert of_day["date"] == "2025-06-20"
    assert of_day["matches"] == json.loads((project / "days" / "merged.json").read_text())["matches"]
    assert of_day["matches"][0]["markets"][0]["odds"][0] == 1.5

    for words in (("football.market", "--max-additional", "1"), ("football.match", "--split-days", "d", "--history")):
        refused = await invoke("export", *words)
        assert refused.exit_code == 1
        assert "are for football.match as json" in refused.output


def test_teams_resolve_needs_no_server() -> None:
    given = (
        '{"raw": "Girona", "league": "Spanyol bajnokság"}\n\n{"raw": "Girona", "league": "Spanyol bajnokság, női"}\n'
    )
    men, women = [json.loads(line) for line in run("teams", "resolve", given=given).output.splitlines()]
    assert men["team"] != women["team"]
    assert (men["kind"], women["kind"]) == ("senior", "women")
    assert men.keys() >= {"raw", "team", "kind", "confidence", "method", "candidates"}
    mixed = run("teams", "resolve", given='{"raw": "Girona"}\nGirona\n{"raw": "Porto"}\n')
    assert mixed.exit_code == 1
    assert [json.loads(line)["raw"] for line in mixed.stdout.splitlines()] == ["Girona", "Porto"]
    assert mixed.stderr == 'tidemill: line 2 is not {"raw": …, "league": …}: Girona\n'
    for wrong in ("Girona", '["Girona"]', '{"league": "x"}', '{"raw": 1}'):
        result = run("teams", "resolve", given=wrong)
        assert result.exit_code == 1
        assert "line 1" in result.output


@asynccontextmanager
async def converter(nats_url: str, database_url: str) -> AsyncIterator[None]:
    """The converter's commands about names, answered on a bus."""
    engine = open_engine(database_url)
    telemetry = Telemetry.open("converter", "1.0.0")
    vocabularies = {vocabulary.name: vocabulary for vocabulary in find_vocabularies()}
    async with Bus.open(
        nats_url, service="converter", version="1.0.0", engine=engine, tables=bus, telemetry=telemetry
    ) as opened:
        running = asyncio.create_task(opened.run(commands=Aliases(vocabularies).commands()))
        while not (opened.connected and opened.control.known):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        yield
        await opened.stop()
        await running
    await telemetry.close()
    await engine.dispose()


@pytest.mark.servers
async def test_an_alias_is_added_listed_and_removed(filled: str, nats_url: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    async with converter(nats_url, filled):
        added = await invoke("teams", "alias", "add", "Betis", "Girona", "--league", LEAGUE)
        assert added.exit_code == 0, added.output
        assert f"Betis in {LEAGUE} is Girona" in added.output
        assert f"changed: Betis in {LEAGUE}:" in added.output
        rows = json.loads((await invoke("records", "football.match", "-o", "json")).output)
        assert len({row["home_team_id"] for row in rows}) == 1
        (alias,) = json.loads((await invoke("teams", "alias", "list", "-o", "json")).output)
        assert (alias["raw"], alias["league"], alias["team"]) == ("Betis", LEAGUE, rows[0]["home_team_id"])
        assert "Betis" in (await invoke("teams", "alias", "list")).output

        assert "nothing stored" not in added.output

        elsewhere = await invoke("teams", "alias", "add", "Betis", "Girona", "--league", "Spanyol bajnoksag")
        assert elsewhere.exit_code == 0
        assert "nothing stored has this name in Spanyol bajnoksag yet: it holds for what comes" in elsewhere.output
        assert f"Betis was met in {LEAGUE}" in elsewhere.output
        misspelt = await invoke("teams", "alias", "add", "Gironna", "Girona")
        assert "names like it: Girona" in misspelt.output
        for words in (("Betis", "--league", "Spanyol bajnoksag"), ("Gironna",)):
            assert (await invoke("teams", "alias", "remove", *words)).exit_code == 0

        removed = await invoke("teams", "alias", "remove", "Betis", "--league", LEAGUE)
        assert removed.exit_code == 0, removed.output
        assert (await invoke("teams", "alias", "list")).output == "none\n"
        again = await invoke("teams", "alias", "remove", "Betis")
        assert again.exit_code == 1
        assert "nobody said what 'Betis' stands for" in again.output
        unknown = await invoke("teams", "alias", "add", "Betis", "Quarks United")
        assert unknown.exit_code == 1
        assert "nobody is known as 'Quarks United'" in unknown.output


@pytest.mark.servers
async def test_names_in_review_are_listed_and_settled(filled: str, nats_url: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    engine = open_engine(filled)
    async with engine.begin() as tx:
        near = [{"entity": "es.girona", "name": "Girona", "score": 0.7, "refused_by": "margin"}]
        for raw in ("Girrona", "Gironna"):
            await tx.exec_driver_sql(
                "INSERT INTO converter.names (vocabulary, raw, scope, entity, name, kind, confidence, method, reason,"
                " candidates, alias_version) VALUES ('football.team', $1, $2, 'xx.' || lower($1), $1, 'senior', 0.5,"
                " 'review', 'margin', $3, 1)",
                (raw, LEAGUE, json.dumps(near)),
            )
    await engine.dispose()
    async with converter(nats_url, filled):
        listed = json.loads((await invoke("teams", "review", "list", "-o", "json")).output)
        assert [one["raw"] for one in listed] == ["Girrona", "Gironna"]
        monkeypatch.setenv("COLUMNS", "80")
        lines = (await invoke("teams", "review", "list")).output.splitlines()
        assert lines[1].startswith(f"Girrona  {LEAGUE}  xx.girrona")
        assert lines[2] == "  like es.girona (Girona, 0.70)"
        assert max(map(len, lines)) <= 80
        accepted = await invoke("teams", "review", "accept", "Girrona", LEAGUE, "es.girona")
        assert f"Girrona in {LEAGUE} is Girona (es.girona" in accepted.output
        settled = await invoke("teams", "review", "reject", "Girrona", LEAGUE)
        assert settled.exit_code == 1
        assert f"'Girrona' in '{LEAGUE}' is settled already: it is Girona (es.girona), as " in settled.output
        refused = await invoke("teams", "review", "accept", "Nobody", LEAGUE, "es.girona")
        assert "not in review: it has not been met" in refused.output


@pytest.mark.servers
async def test_without_a_converter_an_edit_says_that_nobody_listens(
    filled: str, nats_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    result = await invoke("teams", "review", "reject", "Girona", LEAGUE)
    assert result.exit_code == 1
    assert "nobody listens on tidemill.ctl.converter.review_reject" in result.output


@pytest.mark.servers
async def test_the_path_of_fields_that_no_model_names_is_shown_too(filled: str) -> None:
    levels = [
        Record("json.item", "gauge/1", {"level": 2 + days}, valid_from=ISSUE + timedelta(days=days)) for days in (0, 1)
    ]
    await store(filled, levels)
    lines = (await invoke("records", "json.item", "--history", "--match", "gauge")).output.splitlines()
    assert [line.split("  ")[-1] for line in lines[3:5]] == ["level 2", "level 2 → 3"]


@pytest.mark.servers
async def test_the_path_of_what_moved_is_shown_with_what_stands_under_it(filled: str) -> None:
    found = (await invoke("records", "football.match", "--match", "RAYO", "-o", "json")).output
    assert [row["key"] for row in json.loads(found)] == [GIRONA.key]
    lines = (await invoke("records", "football.match", "--history", "--match", "girona")).output.splitlines()
    assert lines[1:5] == [
        GIRONA.key,
        "  match_result/FT",
        "    2025-06-17 00:00  odds.home 1.5",
        "    2025-06-20 00:00  odds.home 1.5 → 1.6",
    ]
    assert lines[6:8] == [BETIS.key, "  1 under it never moved"]
    assert "2 records with 'girona'" in lines[-1]
    assert (
        "0 records with 'nobody'"
        in (await invoke("records", "football.match", "--history", "--match", "nobody")).output
    )


async def test_records_are_chosen_by_their_values(filled: str) -> None:
    found = await asyncio.to_thread(
        run, "records", "football.match", "-o", "jsonl", "--home", "girona", "--date=2025-06-20"
    )
    assert [json.loads(line)["home"] for line in found.stdout.splitlines()] == ["Girona"]
    none = await asyncio.to_thread(run, "records", "football.match", "-o", "json", "--home", "Betis", "--away", "x")
    assert none.stdout.strip() == "[]"
    written = await asyncio.to_thread(
        run, "export", "football.market", "-o", "jsonl", "--key", "match_result", "--history"
    )
    assert len(written.stdout.splitlines()) == 3


async def test_a_field_that_is_not_there_is_answered_with_those_there_are(filled: str) -> None:
    unknown = await asyncio.to_thread(run, "records", "football.match", "--town", "Girona")
    assert unknown.exit_code == 1
    assert "there is no field 'town' to choose by; valid: key, date, time" in unknown.output
    wrong = await asyncio.to_thread(run, "export", "football.match", "--kickoff", "soon")
    assert "kickoff is a time such as 2025-06-17" in wrong.output
    stray = await asyncio.to_thread(run, "records", "football.match", "Girona")
    assert "Girona is not understood" in stray.output
