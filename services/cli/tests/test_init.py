"""`tidemill init`: what it writes is right as it is, and right when it is uncommented."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tidemill.cli import config, init
from tidemill.common.config import load_config, load_sources
from tidemill.common.service import find_services

SERVICES = {spec.name: spec.settings for spec in find_services()}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    app = typer.Typer()
    config.register(app)
    init.register(app)
    return CliRunner().invoke(app, list(words))


def test_what_it_writes_passes_the_check() -> None:
    result = run("init")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["wrote tidemill.yaml", "wrote sources/example.yaml"]
    checked = run("config", "check")
    assert checked.exit_code == 0, checked.output
    assert "all is well: 1 source (example)" in checked.stdout


def test_it_overwrites_nothing(alone: Path) -> None:
    (alone / "tidemill.yaml").write_text("log: {level: debug}\n")
    assert run("init").stdout.splitlines() == ["kept  tidemill.yaml", "wrote sources/example.yaml"]
    assert (alone / "tidemill.yaml").read_text() == "log: {level: debug}\n"
    assert run("init").stdout.splitlines() == ["kept  tidemill.yaml", "kept  sources/example.yaml"]


def test_a_folder_is_made_and_one_that_cannot_be_is_named(alone: Path) -> None:
    assert run("init", "new/place").exit_code == 0
    assert (alone / "new/place/tidemill.yaml").exists()
    (alone / "file").touch()
    assert "cannot write there" in run("init", "file").stderr


def test_every_commented_setting_is_its_default(alone: Path) -> None:
    run("init")
    file = alone / "tidemill.yaml"
    text = file.read_text()
    settings = re.sub(r"^#(?! )|^#(?=  )", "", text, flags=re.MULTILINE)
    assert settings != text
    file.write_text(settings)
    everything = load_config(alone, services=SERVICES, environ={})
    (alone / "empty").mkdir()
    nothing = load_config(alone / "empty", services=SERVICES, environ={})
    assert everything.services == nothing.services
    assert everything.common.log == nothing.common.log
    assert everything.common.shutdown_after == nothing.common.shutdown_after
    assert {key for key, origin in nothing.origins.items() if everything.origins[key] == origin} == set()


def test_the_example_source_says_what_it_does(alone: Path) -> None:
    run("init")
    source = load_sources(alone / "sources")["example"]
    assert source.watch
    assert source.watch.folder == alone / "data/inbox/example"
    assert source.convert
    assert source.convert.with_ == "json"
    text = (alone / "sources/example.yaml").read_text()
    for key in ("#  stable_for: 2s", "#schedule:", "#politeness:", "#  limits:"):
        assert key in text
