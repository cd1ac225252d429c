"""`tidemill archive`: look at what is kept, and check it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tidemill.cli import archive as commands
from tidemill.common.archive import Archive, Stored

TEXT = b"Ferencvaros - Ujpest 1,85\n" * 1000


def run(*arguments: str) -> Result:
    app = typer.Typer()
    commands.register(app)
    return CliRunner().invoke(app, ["archive", *arguments])


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project is the working folder, and nothing is set around it."""
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stored(project: Path) -> list[Stored]:
    """Two contents: one that compresses, one that does not."""
    return [put(project, TEXT), put(project, bytes(range(256)))]


def put(project: Path, content: bytes) -> Stored:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    async def work() -> Stored:
        async with Archive.open((project / "data" / "archive").as_uri()) as archive:
            return await archive.put(chunks())

    return asyncio.run(work())


def damage(project: Path, sha256: str) -> None:
    (path,) = (project / "data" / "archive").rglob(f"{sha256}*")
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_list_has_a_line_for_each_content(stored: list[Stored]) -> None:
    lines = sorted(run("list").stdout.splitlines())
    assert [line.split()[0] for line in lines] == sorted(one.sha256 for one in stored)
    found = [json.loads(line) for line in run("list", "-o", "json").stdout.splitlines()]
    assert {one["sha256"]: one["compressed"] for one in found} == {stored[0].sha256: True, stored[1].sha256: False}


def test_show_tells_of_one_content(stored: list[Stored], project: Path) -> None:
    shown = json.loads(run("show", stored[0].sha256, "-o", "json").stdout)
    assert shown["size_bytes"] == len(TEXT)
    assert shown["stored_bytes"] == stored[0].stored_bytes
    assert shown["archive"] == str(project / "data" / "archive")
    assert "size bytes    26000" in run("show", stored[0].sha256).stdout


def test_cat_gives_the_content(stored: list[Stored], project: Path) -> None:
    assert run("cat", stored[0].sha256).stdout_bytes == TEXT
    assert run("cat", stored[1].sha256, "--out", "copy.bin").exit_code == 0
    assert (project / "copy.bin").read_bytes() == bytes(range(256))


def test_stat_adds_up(stored: list[Stored]) -> None:
    totals = json.loads(run("stat", "-o", "json").stdout)
    assert (totals["contents"], totals["compressed"]) == (2, 1)
    assert totals["stored_bytes"] == sum(one.stored_bytes for one in stored)
    assert totals["problem"] is None


def test_verify_finds_damage_and_says_so_with_its_exit_status(stored: list[Stored], project: Path) -> None:
    whole = run("verify", "-o", "json")
    assert (whole.exit_code, json.loads(whole.stdout)) == (0, {"good": 2, "bad": 0, "size_bytes": len(TEXT) + 256})
    damage(project, stored[1].sha256)
    damaged = run("verify", "-o", "json")
    assert damaged.exit_code == 1
    assert list(json.loads(damaged.stdout)["errors"]) == [stored[1].sha256]
    assert "is corrupt" in damaged.stderr
    assert run("verify", stored[0].sha256).exit_code == 0
    assert run("verify", "0" * 64).exit_code == 1


def test_damaged_content_is_not_given_as_a_file(stored: list[Stored], project: Path) -> None:
    damage(project, stored[0].sha256)
    result = run("cat", stored[0].sha256, "--out", "copy.txt")
    assert result.exit_code == 1
    assert "is corrupt" in result.stderr
    assert not (project / "copy.txt").exists()


@pytest.mark.parametrize(("name", "said"), [("0" * 64, "does not hold"), ("abc", "not a SHA-256")])
def test_what_is_not_there_is_told_in_one_sentence(stored: list[Stored], name: str, said: str) -> None:
    result = run("cat", name)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_looking_makes_no_archive(project: Path) -> None:
    result = run("list")
    assert (result.exit_code, "there is no archive" in result.stderr) == (1, True)
    assert not (project / "data").exists()


@pytest.mark.long
def test_a_reader_that_has_seen_enough_is_no_failure(project: Path) -> None:
    sha256 = put(project, bytes(range(256)) * 20_000).sha256
    program = "import typer\nfrom tidemill.cli.archive import register\napp = typer.Typer()\nregister(app)\napp()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "archive", "cat", sha256], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reading:
        assert reading.stdout
        assert reading.stderr
        reading.stdout.read(10)
        reading.stdout.close()
        assert reading.stderr.read() == b""
    assert reading.returncode == 0
