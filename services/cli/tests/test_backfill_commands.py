"""`tidemill schedules` and `tidemill backfill` beside a scheduler."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app

SOURCE = """
source: paper
download:
  url: https://127.0.0.1:1/paper.pdf
schedule:
  cron: "0 6 * * *"
  zone: Europe/Budapest
"""


@pytest.fixture
def at(place) -> Iterator[Any]:
    (place.folder / "sources").mkdir()
    (place.folder / "sources" / "paper.yaml").write_text(SOURCE)
    up = place.begin_up("--service", "scheduler")
    up.wait_for("Ctrl-C ends it", within=60)
    yield place


def tidemill(at: Any, *words: str, status: int = 0) -> str:
    with contextlib.chdir(at.folder):
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "300"})
    assert done.exit_code == status, done.output
    return str(done.output)


@pytest.mark.servers
@pytest.mark.slow
def test_a_backfill_from_its_preview_to_its_end(at: Any) -> None:
    told = tidemill(at, "schedules")
    assert "cron 0 6 * * * Europe/Budapest" in told
    assert len(json.loads(tidemill(at, "schedules", "paper", "-o", "json"))["schedules"][0]["next"]) == 5
    assert "paper" in tidemill(at, "schedules", "paper")
    assert tidemill(at, "backfills", "list") == "no backfills\n"

    days = ("--from", "2026-01-01", "--until", "2026-01-30")
    told = tidemill(at, "backfill", "paper", *days, "--preview")
    assert "to run: 30, 1 at a time" in told
    assert "  2026-01-01T05:00:00Z\n" in told
    assert "  … 2026-01-30T05:00:00Z\n" in told
    begun = json.loads(
        tidemill(at, "backfill", "paper", *days, "--concurrency", "3", "--param", "issue=57", "-o", "json")
    )
    assert begun["to_run"] == 30
    backfill = begun["backfill"]
    assert "running" in tidemill(at, "backfills", "show", backfill)
    (standing,) = json.loads(tidemill(at, "backfills", "list", "--source", "paper", "-o", "json"))
    assert (standing["slots"], standing["under_way"], standing["waiting"]) == (30, 3, 27)
    assert "waits: backfill" in tidemill(at, "schedules")
    assert f"{backfill} is cancelled: 30 runs" in tidemill(at, "backfills", "cancel", backfill)
    assert json.loads(tidemill(at, "backfills", "show", backfill, "-o", "json"))["backfills"][0]["state"] == "cancelled"

    assert "begun: `tidemill backfills show" in tidemill(at, "backfill", "paper", *days)
    assert "all, missing, failed" in tidemill(at, "backfill", "paper", *days, "--only", "some", status=1)
    assert "write --param issue=57" in tidemill(at, "backfill", "paper", *days, "--param", "issue", status=1)
