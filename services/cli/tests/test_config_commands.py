import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tidemill.cli import config

ROOT = Path(__file__).resolve().parents[3]

SOURCE = (
    "source: demo\nwatch: {folder: inbox/demo, include: ['*.json']}\nconvert: {with: json, options: {items: a.item}}\n"
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project is the working folder, and nothing is set around it."""
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources").mkdir()
    return tmp_path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    config.register(app)
    return CliRunner().invoke(app, ["config", *arguments])


def shown(*arguments: str) -> dict[str, dict[str, object]]:
    result = run("show", "-o", "json", *arguments)
    assert result.exit_code == 0, result.output
    settings: dict[str, dict[str, object]] = json.loads(result.stdout)
    return settings


def test_show_lists_every_setting_with_its_origin(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "tidemill.yaml").write_text("log:\n  level: debug\n")
    (project / "sources" / "demo.yaml").write_text(SOURCE)
    monkeypatch.setenv("TIDEMILL_WATCHER__PARALLEL", "2")
    monkeypatch.setenv("NATS_URL", "nats://me:s3cret@host:4222")
    settings = shown("--set", "shutdown_after=5s")
    assert settings["log.level"] == {"value": "debug", "origin": "tidemill.yaml:2"}
    assert settings["log.format"] == {"value": "auto", "origin": "default"}
    assert settings["watcher.parallel"] == {"value": 2, "origin": "env TIDEMILL_WATCHER__PARALLEL"}
    assert settings["shutdown_after"] == {"value": "5s", "origin": "--set shutdown_after"}
    assert settings["nats_url"] == {"value": "nats://me:**********@host:4222", "origin": "env NATS_URL"}
    assert settings["sources.demo.watch.include"] == {"value": ["*.json"], "origin": "sources/demo.yaml:2"}
    assert settings["sources.demo.convert.with"] == {"value": "json", "origin": "sources/demo.yaml:3"}
    assert settings["sources.demo.watch.max_size"] == {"value": "200MB", "origin": "default"}


def test_show_for_people_is_a_line_a_setting(project: Path) -> None:
    (project / "tidemill.yaml").write_text("redis_url: redis://:s3cret@host\n")
    result = run("show", "redis_url")
    assert result.stdout == "redis_url  redis://:**********@host  tidemill.yaml:1\n"
    lines = run("show", "log").stdout.splitlines()
    assert [line.split() for line in lines] == [["log.format", "auto", "default"], ["log.level", "info", "default"]]
    assert run("show", "nats_url").stdout.split() == ["nats_url", "-", "default"]


def test_where_there_is_no_room_for_columns_each_setting_is_a_line_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = run("show", "log", "--set", "log.level=debug").stdout.splitlines()
    assert lines[0] == "log.format: auto"
    assert "log.level: debug  (--set log.level)" in lines


def test_show_of_a_section_shows_that_alone(project: Path) -> None:
    (project / "sources" / "demo.yaml").write_text(SOURCE)
    assert set(shown("health")) == {"health.host", "health.port"}
    assert all(key.startswith("sources.demo.convert.") for key in shown("sources.demo.convert"))


def test_show_of_an_unknown_key_names_the_nearest() -> None:
    result = run("show", "log.levle")
    assert result.exit_code == 1
    assert "there is no setting log.levle; did you mean log.level?" in result.stderr
    assert "tidemill config show lists all of them" in run("show", "zzz").stderr


def test_show_of_a_broken_configuration_says_what_is_wrong(project: Path) -> None:
    (project / "sources" / "demo.yaml").write_text("source: demo\nwach: 1\n")
    result = run("show")
    assert result.exit_code == 1
    assert "sources/demo.yaml:2:1: wach: unknown key; did you mean watch?" in result.stderr


def test_check_says_that_all_is_well(project: Path) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout.startswith("all is well: no sources; ")
    (project / "sources" / "demo.yaml").write_text(SOURCE)
    assert "all is well: 1 source (demo); " in run("check", ".").stdout


def test_check_names_all_errors_of_settings_and_sources_at_once(project: Path) -> None:
    (project / "tidemill.yaml").write_text("log: {level: loud}\nwatcher: {paralel: 2}\n")
    (project / "sources" / "demo.yaml").write_text(SOURCE.replace("with: json", "with: jsn"))
    (project / "sources" / "other.yaml").write_text(SOURCE.replace("items", "itms"))
    result = run("check", "--set", "health.port=x")
    assert result.exit_code == 1
    expected = [
        '--set health.port: must be a whole number, not "x"',
        "tidemill.yaml:1:7: log.level: loud is not possible here. Valid values: debug, error, info, warning",
        "tidemill.yaml:2:11: watcher.paralel: unknown key; did you mean parallel?",
        "sources/demo.yaml:3:11: convert.with: jsn is not possible here; did you mean json?",
        "sources/other.yaml:1:1: source: is demo, but the file is other.yaml",
        "sources/other.yaml:3:23: convert.options: option: unknown key 'itms'; valid:",
    ]
    for line in expected:
        assert line in result.stderr


def test_check_judges_every_environment_that_has_overlays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "sources" / "demo.yaml").write_text(SOURCE)
    (project / "tidemill.production.yaml").write_text("log: {level: loud}\n")
    (project / "sources" / "demo.staging.yaml").write_text("convert: {with: jsn}\n")
    result = run("check")
    assert result.exit_code == 1
    assert "tidemill.production.yaml:1:7: log.level: loud is not possible here" in result.stderr
    assert "sources/demo.staging.yaml:1:11: convert.with: jsn is not possible here" in result.stderr
    monkeypatch.setenv("TIDEMILL_ENV", "No Such")
    assert "env TIDEMILL_ENV: is 'No Such'" in run("check").stderr


def test_check_of_another_folder_reads_that_one(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "tidemill.yaml").write_text("nope: 1\n")
    assert run("check").exit_code == 0
    assert "tidemill.yaml:1:1: nope: unknown key" in run("check", str(other)).stderr
    assert "is no folder" in run("check", str(other / "missing")).stderr


def test_a_converter_that_cannot_be_loaded_is_an_error_of_the_source(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = project / "broken-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[tidemill.converters]\nbroken = no_such_module:Converter\n")
    monkeypatch.syspath_prepend(project)
    (project / "sources" / "demo.yaml").write_text(SOURCE.replace("with: json", "with: broken"))
    assert "convert.options: the converter broken (no_such_module:Converter) does not work" in run("check").stderr


def test_the_sources_that_ship_are_right() -> None:
    result = run("check", str(ROOT))
    assert result.exit_code == 0, result.stderr
    assert "szerencsemix" in result.stdout


def test_the_json_example_is_a_source_that_works(project: Path) -> None:
    example = ROOT / "examples" / "json" / "tide-gauge.yaml"
    (project / "sources" / example.name).write_bytes(example.read_bytes())
    assert "1 source (tide-gauge)" in run("check").stdout


def test_the_reference_in_docs_is_what_the_models_say() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == run("reference").stdout, "renew it: tidemill config reference > docs/configuration.md"


@pytest.mark.parametrize("name", ["settings", "source"])
def test_the_schema_in_docs_is_what_the_models_say(name: str) -> None:
    file = ROOT / "docs" / "schema" / f"{name}.schema.json"
    expected = f"renew it: tidemill config schema {name} > docs/schema/{name}.schema.json"
    assert file.read_text(encoding="utf-8") == run("schema", name).stdout, expected
