"""A source's gate on a whole system: passed with a scraper killed on the way, missed where a rule is broken."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.integration.test_strangers import asked, immo
from tests.system import System, running
from tidemill.cli.main import app
from tidemill.common.testing.site import Site, site_in_a_thread

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.measured]

FILE = Path(__file__).parent / "strangers" / "immo.yaml"


@pytest.fixture(scope="module")
def mill() -> Iterator[tuple[System, Site]]:
    with site_in_a_thread() as site:
        immo(site)
        source = yaml.safe_load(FILE.read_text(encoding="utf-8").replace("HOST", site.host).replace("50/s", "4/s"))
        with running(("scheduler", "scraper", "converter"), sources=(source,)) as system:
            deadline = time.monotonic() + 60
            while "status" not in asked(system, "status", {}):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield system, site


def validate(system: System, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.chdir(system.folder)
    environment = {"NATS_URL": system.nats.url, "DATABASE_URL": system.postgres.url, "COLUMNS": "300"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["validate", "immo", "--within", "2m", "-o", "json", *words])
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.long
def test_it_passes_with_a_scraper_killed_on_the_way(mill: tuple[System, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    status, found = validate(mill[0], monkeypatch, "--step", "100")
    marks = {mark["mark"]: mark for mark in found["marks"]}
    assert {name for name, mark in marks.items() if mark["passed"] is False} == set(), found
    assert (status, marks["killed scraper"]["found"]) == (0, "1 killed")
    assert marks["counted once"]["found"].startswith("11 outcomes of 11 items")


def test_a_page_that_lacks_a_required_field_is_named(
    mill: tuple[System, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    system, site = mill
    for path in [path for path in site.files if path.startswith("/expose/")]:
        site.put(path, site.files[path].content.replace(b'itemprop="price"', b'itemprop="cost"'))
    status, found = validate(system, monkeypatch, "--step", "10")
    marks = {mark["mark"]: mark for mark in found["marks"]}
    assert status == 1
    assert marks["required fields"]["passed"] is False
    assert "price is missing on 10" in marks["required fields"]["found"]
