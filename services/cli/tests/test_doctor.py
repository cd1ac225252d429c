"""`tidemill doctor`: every finding has its remedy."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidemill.cli import doctor, machine
from tidemill.cli.config import service_models
from tidemill.cli.doctor import Verdict
from tidemill.cli.main import app
from tidemill.common.config import load_config


def findings(folder: Path, *words: str) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(app, ["doctor", "-o", "json", *words])
    found = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == (1 if any(each["verdict"] == "failed" for each in found.values()) else 0)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_fresh_machine_is_well_and_told_what_will_be_chosen(folder: Path) -> None:
    found = findings(folder)
    assert not [each for each in found.values() if each["verdict"] == "failed"]
    assert all(each["remedy"] for each in found.values() if each["verdict"] != "ok")
    assert "started by `tidemill up`" in found["nats-server"]["found"]
    assert "18." in found["postgres"]["found"]
    assert found["servers"]["remedy"].startswith("start `tidemill up`")
    shown = CliRunner().invoke(app, ["doctor"])
    assert "→ start `tidemill up`" in shown.stdout


def test_a_wrong_source_file_fails_with_its_place(folder: Path) -> None:
    (folder / "sources").mkdir()
    (folder / "sources/paper.yaml").write_text("source: paper\nwatch: {foldr: inbox}\n")
    found = findings(folder)
    assert found["sources"]["verdict"] == "failed"
    assert "paper.yaml:2" in found["sources"]["found"]


def test_inboxes_are_looked_at(folder: Path) -> None:
    (folder / "sources").mkdir()
    (folder / "sources/near.yaml").write_text("source: near\nwatch: {folder: inbox/near}\n")
    (folder / "sources/far.yaml").write_text(f"source: far\nwatch: {{folder: {folder}/mount}}\n")
    found = findings(folder)
    assert found["inbox near"]["verdict"] == "ok"
    assert found["inbox far"]["verdict"] == "note"


def test_a_data_folder_that_cannot_be_written_fails(folder: Path) -> None:
    assert doctor.writable("data folder", Path("/proc/tidemill")).verdict is Verdict.FAILED


def test_a_disk_with_little_room_is_noted_and_one_that_is_nearly_full_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "DISK_WANTED_BYTES", 10**18)
    assert findings(folder)["disk"]["verdict"] == "note"
    monkeypatch.setattr(machine, "DISK_LEAST_BYTES", 10**18)
    assert findings(folder)["disk"]["verdict"] == "failed"


def test_few_inotify_watches_are_noted(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("100\n")
    assert "sysctl" in doctor.inotify(tmp_path).remedy
    (tmp_path / "max_user_watches").write_text("100000\n")
    assert doctor.inotify(tmp_path).verdict is Verdict.OK
    assert doctor.inotify(tmp_path / "none").verdict is Verdict.NOTE


def test_a_clock_that_is_off_fails() -> None:
    assert doctor.clock(datetime.now(UTC)).verdict is Verdict.OK
    assert doctor.clock(datetime.now(UTC) - timedelta(minutes=1)).verdict is Verdict.FAILED


def test_a_chosen_port_that_is_taken_fails(folder: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = load_config(folder, services={}, cli={"health.port": str(taken.getsockname()[1])}, environ={})
        (finding,) = doctor.ports(config)
        assert finding.verdict is Verdict.FAILED
    (finding,) = doctor.ports(config)
    assert finding.verdict is Verdict.OK


def test_each_choice_is_told_with_its_reason_and_what_overrides_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("TIDEMILL_RUNS_IN", "auto")
    monkeypatch.setenv("TIDEMILL_CONVERTER__WORKERS", "3")
    config = load_config(folder, services=service_models())
    said = {finding.found: finding for finding in doctor.chosen(config)}
    assert {
        "kubernetes: KUBERNETES_SERVICE_HOST is set (runs_in)",
        "json logs: in Kubernetes a program collects them (log.format)",
        "health on 0.0.0.0: in Kubernetes probes and Prometheus come from outside (health.host)",
        "3 conversions at once: converter.workers says so (converter.workers)",
        "no window for the browser: scraper.headless says so (scraper.headless)",
    } <= set(said)
    (missing,) = [finding for finding in said.values() if finding.verdict is Verdict.FAILED]
    assert missing.check == "redis"
    assert "redis_required: false" in missing.remedy


@pytest.mark.servers
def test_servers_that_run_are_asked(
    folder: Path, nats_url: str, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    found = findings(folder)
    assert found["nats"]["found"].startswith("2.")
    assert found["redis"]["verdict"] == "ok"
    assert found["clock"]["verdict"] == "ok"
    assert found["migrations"]["remedy"] == "run `tidemill migrate`"
    assert CliRunner().invoke(app, ["migrate"]).exit_code == 0
    assert findings(folder)["migrations"]["verdict"] == "ok"


@pytest.mark.servers
def test_servers_that_are_away_fail_with_their_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    found = findings(folder)
    for check, variable in (("nats", "NATS_URL"), ("postgres", "DATABASE_URL"), ("redis", "REDIS_URL")):
        assert found[check]["verdict"] == "failed"
        assert variable in found[check]["remedy"]
