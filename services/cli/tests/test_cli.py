"""The command as a whole."""

import os
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.cli.running import copyable, program
from tidemill.common.service import find_services

HEAVY = ("sqlalchemy", "nats", "pydantic", "opentelemetry", "asyncpg", "rich", "polars", "alembic")


def test_help_lists_the_commands_and_needs_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from tidemill.cli.main import app\n"
        "shown = CliRunner().invoke(app, ['--help']).output\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print(shown)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded, _, listed = shown.partition("\n")
    assert loaded == "[]"
    for command in ("up", "migrate", "status", "doctor", "config", "run-service"):
        assert f"\n  {command} " in listed


@pytest.mark.parametrize("words", [["status"], ["migrate"]])
def test_without_servers_a_command_says_what_to_do(words: list[str], tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NATS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "start `tidemill up`, or set NATS_URL and DATABASE_URL" in result.output


def test_an_unknown_service_is_answered_with_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["run-service", "no-such"])
    assert result.exit_code == 1
    assert "converter" in result.output


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.output.startswith("tidemill 0.")


@pytest.mark.parametrize("words", [["status"], ["doctor"], ["up"], ["archive", "verify"]])
def test_the_data_of_another_user_is_one_sentence_and_no_traceback(
    words: list[str], open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NATS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(open_folder)
    lock = open_folder / "data" / "run" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.touch(mode=0)
    open_folder.chmod(0o755)
    was = os.geteuid()
    if was == 0:
        # Another user may not be able to read the interpreter's own folder: what commands import is there before.
        for module in ("tidemill.cli.together", "tidemill.common.migrations", "alembic.config", "encodings.idna"):
            import_module(module)
        find_services()
        os.seteuid(65534)
    try:
        result = CliRunner().invoke(app, words)
    finally:
        os.seteuid(was)
        lock.unlink()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    if words != ["archive", "verify"]:
        assert "belongs to" in result.output
        assert "run this as" in result.output


def test_hints_are_what_the_person_can_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(sysconfig.get_path("scripts"))
    monkeypatch.setenv("PATH", str(ours))
    assert program() == "tidemill"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert program() == str(ours / "tidemill")
    monkeypatch.chdir(ours.parent.parent)
    assert program() == f"{ours.parent.name}/bin/tidemill"
    assert copyable("start `tidemill up`, or") == f"start `{ours.parent.name}/bin/tidemill up`, or"


def test_a_full_disk_is_one_sentence() -> None:
    full = "import sys; from tidemill.cli.main import app, main\n"
    full += "@app.command('fill')\ndef fill():\n open('/dev/full', 'wb', buffering=0).write(b'x')\n"
    full += "sys.argv = ['tidemill', 'fill']; main()"
    done = subprocess.run([sys.executable, "-c", full], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "tidemill: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
def test_output_that_cannot_be_written_is_one_sentence() -> None:
    words = [sys.executable, "-c", "from tidemill.cli.main import main; main()", "--help"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "tidemill: No space left on device\n")
