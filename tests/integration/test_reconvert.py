"""A source file is corrected, and what it made of earlier documents is corrected with it, without asking anybody."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from tests.system import System, running
from tidemill.common.database import open_engine

pytestmark = [pytest.mark.servers, pytest.mark.slow]

GAUGE = {
    "source": "gauge",
    "watch": {"folder": "gauge", "stable_for": "100ms"},
    "convert": {"with": "json", "options": {"key": "id", "fields": {"level": "metres"}}},
}

MEASURED = [{"id": 1, "metres": 2, "feet": 7}, {"id": 2, "metres": 3, "feet": 10}, {"metres": 9}]


def write(system: System, source: dict[str, Any]) -> None:
    (system.folder / "sources" / "gauge.yaml").write_text(yaml.safe_dump(source))
    for process in system.services.values():
        process.kill()
        process.wait()
    system.revive()


def tidemill(system: System, *words: str) -> tuple[int, str]:
    environment = os.environ | {"NATS_URL": system.nats.url, "DATABASE_URL": system.postgres.url, "COLUMNS": "200"}
    command = [str(Path(sys.executable).with_name("tidemill")), *words]
    done = subprocess.run(
        command, cwd=system.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_a_corrected_source_file_corrects_what_was_converted_before() -> None:
    with running(("watcher", "converter-1")) as system:
        write(system, GAUGE)
        inbox = system.folder / "data" / "gauge"
        inbox.mkdir(parents=True, exist_ok=True)
        (inbox / "monday.json").write_text(json.dumps(MEASURED))
        system.wait_until_quiet(1, within=60)

        write(system, GAUGE | {"convert": {"with": "json", "options": {"key": "id", "fields": {"level": "feet"}}}})
        shutil.rmtree(inbox)
        deadline = time.monotonic() + 30
        while "nobody listens" in (found := tidemill(system, "reconvert", "--source", "gauge", "-o", "json"))[1]:
            assert time.monotonic() < deadline, "the converter does not come back"
        status, said = found
        assert status == 0, said
        shown = json.loads(said)
        assert shown["records"] == {"json.item": {"added": 0, "changed": 2, "removed": 0, "unchanged": 0}}
        assert [(one["key"], one["old"], one["new"]) for one in shown["examples"]] == [
            ("gauge/1", {"level": 2}, {"level": 7}),
            ("gauge/2", {"level": 3}, {"level": 10}),
        ]
        assert level(system) == 2, "nothing counts yet"
        assert_rejected_rows_go(system)

        status, said = tidemill(system, "reconvert", "--id", str(shown["id"]), "--accept")
        assert (status, "1 accepted" in said) == (0, True), said
        assert "level: 2 → 7" in said
        assert level(system) == 7

        status, said = tidemill(system, "lineage", "json.item", "gauge/1", "--all", "-o", "json")
        assert status == 0, said
        newer, older = json.loads(said)["versions"]
        assert (newer["current"], newer["origin"], newer["data"]) == (True, "reconvert", {"level": 7})
        assert (older["current"], older["origin"], older["data"]) == (False, "stored", {"level": 2})
        assert newer["run"] == older["run"]
        assert newer["converter_version"] != older["converter_version"]
        status, said = tidemill(system, "lineage", "json.item", "gauge/1")
        assert "1 more that were believed once" in said
        assert tidemill(system, "lineage", "json.item", "gauge") == (
            1,
            "tidemill: json.item has no record 'gauge'; there are: gauge/1, gauge/2\n",
        )

        status, said = tidemill(system, "reconvert", "--source", "gauge", "--dry-run")
        assert (status, "1 staged" in said) == (0, True), said
        assert system.count("converter.candidates") == 0
        for wrong in (["--accept"], ["--id", "1", "--source", "gauge"], ["--id", "99"], ["--source", "nobody"]):
            assert tidemill(system, "reconvert", *wrong)[0] == 1
        assert tidemill(system, "documents")[1].count("monday.json") == 1, "what was superseded is listed no more"
        assert "source=gauge" in tidemill(system, "reconvert")[1]
        assert told_for_the_audit_chain(system) == [
            ("retention.remove", "converter rejected", "cli"),
            ("reconvert.accept", "reconversion 1", "cli"),
            ("reconvert.discard", "reconversion 2", "cli"),
        ]


def told_for_the_audit_chain(system: System) -> list[tuple[Any, ...]]:
    told = "SELECT convert_from(payload, 'utf8')::json FROM converter.outbox"
    rows = system.query(f"{told} WHERE subject LIKE 'tidemill.command.%' ORDER BY id")
    return [(each["action"], each["target"], each["via"]) for (each,) in rows]


def assert_rejected_rows_go(system: System) -> None:
    """After a year, and what is removed is what was shown."""
    assert "nothing is too old" in tidemill(system, "retention", "run")[1]
    asyncio.run(let_a_year_pass(system))
    status, said = tidemill(system, "retention", "preview", "-o", "json")
    assert status == 0, said
    shown = next(one for one in json.JSONDecoder().raw_decode(said)[0] if one["service"] == "converter")
    count = shown["layers"]["rejected"]["items"]
    status, said = tidemill(system, "retention", "run", "--yes")
    assert (status, f"removed {count} of converter rejected" in said) == (0, True), said
    assert "downloader does not run" in said
    assert system.count("converter.rejected") == 0


async def let_a_year_pass(system: System) -> None:
    engine = open_engine(system.postgres.url, pool=1)
    async with engine.begin() as tx:
        await tx.execute(text("UPDATE converter.rejected SET recorded_at = recorded_at - interval '400 days'"))
    await engine.dispose()


def level(system: System) -> int:
    [(value,)] = system.query("SELECT (data ->> 'level')::int FROM json.item WHERE key = 'gauge/1'")
    return int(value)
