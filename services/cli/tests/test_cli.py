"""The command as a whole."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app

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
