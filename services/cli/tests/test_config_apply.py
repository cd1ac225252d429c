"""The configuration of services at work, changed by a folder and by commands, and the record of who did it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app

pytestmark = [pytest.mark.servers, pytest.mark.slow]

DEMO = "source: demo\ndownload: {{url: 'http://127.0.0.1:1/{}.pdf'}}\n"


class Town:
    """`tidemill up` with a scheduler and a mill, and commands beside it, which are run here: that is quicker."""

    def __init__(self, place: Any, eventually: Any) -> None:
        self.place = place
        self.eventually = eventually
        (place.folder / "sources").mkdir()
        self.write("sources/demo.yaml", DEMO.format(1))
        place.has_been_used()
        self.up = place.begin_up("--service", "scheduler", "--service", "mill")
        self.up.wait_for("Ctrl-C ends it", within=60)
        eventually(lambda: self.versions()["active"] == 1 and len(self.versions()["replicas"]) == 2)

    def write(self, name: str, text: str) -> None:
        (self.place.folder / name).write_text(text)

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """Exit status and what was printed."""
        result = CliRunner().invoke(app, words, env=environment)
        return result.exit_code, result.output

    def says(self, *words: str, status: int = 0, **environment: str) -> Any:
        code, output = self.run(*words, "-o", "json", **environment)
        assert code == status, output
        return json.loads(output)

    def versions(self) -> dict[str, Any]:
        found: dict[str, Any] = self.says("config", "show", "--versions")
        return found

    def sql(self, statement: str) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self.up.addresses["database_url"])
            try:
                return await connection.fetch(statement)
            finally:
                await connection.close()

        return asyncio.run(ask())


@pytest.fixture
def town(place, eventually, monkeypatch: pytest.MonkeyPatch) -> Town:
    for name in ("NATS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place.folder)
    return Town(place, eventually)


def test_the_folder_applies_itself_and_what_is_wrong_in_it_stops_nothing(town: Town) -> None:
    town.write("tidemill.yaml", "shutdown_after: 9s\n")
    town.up.wait_for("Configuration version 2: tidemill.yaml added")
    town.eventually(lambda: [row["running"] for row in town.versions()["replicas"]] == [2, 2])
    town.write("sources/demo.yaml", "source: demo\nwach: {}\n")
    town.up.wait_for("The configuration cannot be used; the services work on with what they have:")
    town.up.wait_for("sources/demo.yaml:2:1: wach: unknown key; did you mean watch?")
    state = town.versions()
    assert (state["active"], state["refused"]["via"]) == (2, "file")
    _, status = town.run("status")
    assert "configuration: version 2, taken by 2 of 2 replicas" in status
    assert "sources/demo.yaml:2:1: wach: unknown key" in status
    assert town.up.ready()
    town.write("sources/demo.yaml", DEMO.format(1))
    town.eventually(lambda: town.versions()["refused"] is None)
    town.up.wait_for("The configuration is as it was: version 2")
    town.says("config", "rollback", "1")
    assert town.versions()["active"] == 3
    assert town.up.end() == 0
    again = town.place.begin_up("--service", "scheduler", "--service", "mill")
    again.wait_for("Ctrl-C ends it", within=60)
    town.eventually(lambda: [row["running"] for row in town.versions()["replicas"]] == [3, 3])


def test_commands_apply_show_compare_and_roll_back_from_anywhere(town: Town, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sources").mkdir(parents=True)
    (elsewhere / "sources/demo.yaml").write_text(DEMO.format(2))
    addresses = town.up.addresses
    at = {"NATS_URL": addresses["nats_url"], "DATABASE_URL": addresses["database_url"]}
    code, output = town.run("config", "apply", str(elsewhere), "--dry-run", **at)
    assert (code, output.splitlines()) == (0, ["  changed  sources/demo.yaml", "would become version 2"])
    applied = town.says("config", "apply", str(elsewhere), "--comment", "two", **at)
    assert (applied["state"], applied["version"]) == ("applied", 2)
    assert {(row["service"], row["running"], row["problem"]) for row in applied["replicas"]} == {
        ("mill", 2, ""),
        ("scheduler", 2, ""),
    }
    code, output = town.run("config", "apply", str(elsewhere), **at)
    assert (code, output.strip()) == (0, "nothing changed; version 2 stays")
    (elsewhere / "sources/demo.yaml").write_text("source: other\n")
    code, output = town.run("config", "apply", str(elsewhere), **at)
    assert code == 1
    assert "refused; the services work on with what they have:\nsources/demo.yaml:1:1: source: is other" in output
    history = town.says("config", "history")
    assert [(row["version"], row["state"], row["via"], row["comment"]) for row in history[1:]] == [
        (2, "active", "cli", "two"),
        (1, "applied", "file", ""),
    ]
    assert history[0]["state"] == "refused"
    assert "refused" in town.run("config", "history")[1]
    code, output = town.run("config", "diff", "1")
    assert code == 0
    assert "-download: {url: 'http://127.0.0.1:1/1.pdf'}\n+download: {url: 'http://127.0.0.1:1/2.pdf'}" in output
    assert "hold the same" in town.run("config", "diff", "2", "2")[1]
    assert DEMO.format(1) in town.run("config", "show", "--version", "1")[1]
    assert town.says("config", "show", "--version", "0")["files"]["sources/demo.yaml"] == DEMO.format(2).rstrip()
    assert "there is no version 9" in town.run("config", "diff", "1", "9")[1]
    code, output = town.run("config", "rollback", "1")
    assert code == 0
    assert "version 3 is the active configuration" in output
    assert "mill" in town.run("config", "show", "--versions")[1]


def test_the_audit_chain_lists_every_change_and_names_what_was_done_to_it(town: Town) -> None:
    town.says("config", "rollback", "1")
    town.write("tidemill.yaml", "shutdown_after: 9s\n")
    town.up.wait_for("Configuration version 2")
    town.write("sources/demo.yaml", "source: demo\nwach: {}\n")
    town.up.wait_for("wach: unknown key")
    rows = town.says("audit", "list")
    assert [(row["seq"], row["via"], row["action"], row["result"][:7]) for row in rows] == [
        (3, "file", "config.apply", "refused"),
        (2, "file", "config.apply", "done"),
        (1, "file", "config.apply", "done"),
    ]
    assert rows[1]["after"]["changes"] == {"tidemill.yaml": "added"}
    assert [row["seq"] for row in town.says("audit", "list", "--action", "config", "--limit", "1")] == [3]
    assert "config.apply" in town.run("audit", "list")[1]
    town.eventually(lambda: (town.says("audit", "verify")["kept_head"] or "").startswith("3 "))
    assert town.run("audit", "verify")[1].strip() == "3 rows, one chain, complete"
    town.sql("DELETE FROM scheduler.audit WHERE seq = 3")
    code, output = town.run("audit", "verify")
    assert (code, output.strip()) == (1, "row 3 is missing at the end: the kept head is row 3")
    town.sql("UPDATE scheduler.audit SET actor = 'nobody' WHERE seq = 2")
    wrong = town.says("audit", "verify", status=1)["wrong"]
    assert wrong[0].startswith("row 2 was changed (")
    town.sql("UPDATE scheduler.audit SET actor = current_user WHERE seq = 2")
    town.write("sources/demo.yaml", DEMO.format(2))
    town.up.wait_for("Configuration version 3")
    town.eventually(lambda: town.run("audit", "accept", "--reason", "a test")[0] == 0)
    town.eventually(lambda: (town.says("audit", "verify", status=1)["kept_head"] or "").startswith("4 "))
    assert town.says("audit", "list")[0]["action"] == "audit.accept"
