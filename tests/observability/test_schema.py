"""Grafana itself cannot be had from the registries; its schema can, as a Go module."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.observability.__main__ import FOLDER

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CHECKER = Path(__file__).parent / "schema"


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    built = tmp_path_factory.mktemp("schema") / "check"
    subprocess.run([go, "build", "-o", built, "."], cwd=CHECKER, check=True, timeout=800)
    return built


def test_grafana_knows_every_field_of_every_dashboard(checker: Path) -> None:
    done = subprocess.run([checker, *sorted(FOLDER.glob("*.json"))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("before", "after"), [('"graphTooltip"', '"graphTooltips"'), ('"unit": "s"', '"unit": 5'), ('"calcs"', '"calc"')]
)
def test_a_field_that_is_none_is_found(checker: Path, tmp_path: Path, before: str, after: str) -> None:
    text = (FOLDER / "tidemill-overview.json").read_text()
    assert before in text
    (tmp_path / "broken.json").write_text(text.replace(before, after))
    json.loads((tmp_path / "broken.json").read_text())
    done = subprocess.run([checker, tmp_path / "broken.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "broken.json: " in done.stdout
