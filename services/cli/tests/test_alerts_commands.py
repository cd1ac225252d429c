"""`tidemill alerts` beside an alerter that works, on real servers."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from tidemill.alerter.facts import Changes, save_signals
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.signals import Signal
from tidemill.cli.main import app
from tidemill.common.database import open_engine

TIDEMILL_YAML = """
channels:
  chat: {slack: {url: "http://127.0.0.1:1/${env:HOME}", allow_private: ["127.0.0.1:1"]}, give_up_after: 1s}
alerter:
  look_every: 1s
  routes: [{to: [chat], group_wait: 0s}]
  rules:
    queue_growing: {enabled: false}
"""


@pytest.fixture
def at(place) -> Iterator[Any]:
    """A place with an alerter."""
    (place.folder / "tidemill.yaml").write_text(TIDEMILL_YAML)
    place.has_been_used()
    up = place.begin_up("--service", "alerter")
    up.wait_for("Ctrl-C ends it", within=60)
    place.addresses = up.addresses
    yield place


def tidemill(at: Any, *words: str) -> tuple[int, str]:
    with contextlib.chdir(at.folder):
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "300"})
    return done.exit_code, done.output


def alerts(at: Any, *words: str, status: int = 0) -> str:
    code, output = tidemill(at, "alerts", *words)
    assert code == status, output
    return output


def as_json(at: Any, *words: str) -> Any:
    return json.loads(alerts(at, *words, "-o", "json"))


def note(at: Any, *signals: Signal) -> None:
    async def save() -> None:
        engine = open_engine(at.addresses["database_url"], pool=1)
        async with engine.begin() as tx:
            await save_signals(tx, signals)
            now = datetime.now(UTC)
            for hours, value in ((3, 700.0), (2, 1.0)):
                sample = Sample(measure="queue_age", labels={"consumer": "converter"}, value=value)
                await Changes().save(tx, [sample], now - timedelta(hours=hours))
        await engine.dispose()

    asyncio.run(save())


def finished(ago: timedelta, state: str) -> Signal:
    labels = {"source": "paper", "state": state, "reason": "http", "trigger": "schedule", "news": "no"}
    return Signal(event="RunFinished", labels=labels, at=datetime.now(UTC) - ago, says=f"run paper-1 is {state}")


@pytest.mark.servers
def test_an_alert_from_its_beginning_to_its_silence(at: Any, eventually: Any) -> None:
    assert "nothing is open" in alerts(at, "list", "--source", "paper")
    hour = timedelta(hours=1)
    note(at, finished(30 * hour, "failed"), finished(20 * hour, "complete"), finished(hour, "failed"))
    eventually(lambda: as_json(at, "list", "--source", "paper"))
    (alert,) = as_json(at, "list", "--source", "paper")
    assert (alert["rule"], alert["state"], alert["labels"]) == ("run_failed", "firing", {"source": "paper"})
    shown = alerts(at, "list")
    assert "paper: run paper-1 is failed" in shown and "docs/runbooks/run_failed.md" in shown

    # On the past: what is kept, as the rule is written now.
    assert "would have fired 2 times in the last 7d" in alerts(at, "test", "--rule", "run_failed")
    assert "would have fired 1 times in the last 12h" in alerts(at, "test", "--rule", "run_failed", "--since", "12h")
    assert [turn["state"] for turn in as_json(at, "test", "--rule", "queue_old")] == ["firing", "resolved"]
    assert "did you mean run_failed?" in alerts(at, "test", "--rule", "run_faild", status=1)
    assert "say what to try" in alerts(at, "test", status=1)

    assert "no alert that fires is nonsense" in alerts(at, "ack", "nonsense", status=1)
    assert alert["id"] in alerts(at, "ack", alert["id"], "--note", "mine", "--until", "2h")
    assert "takes care of it: mine" in alerts(at, "list")

    assert "say until when" in alerts(at, "silence", "source=paper", status=1)
    said = alerts(at, "silence", "source=paper", "--until", "1h", "--comment", "they move")
    assert "silence 1 until" in said and f"hides {alert['id']}" in said
    eventually(lambda: alert["id"] in as_json(at, "silences")[0]["hides"])
    assert "they move" in alerts(at, "silences")
    assert "silence 1 is over" in alerts(at, "end-silence", "1")
    assert "there is no silence 1 that lasts" in alerts(at, "end-silence", "1", status=1)
    assert "no silences" in alerts(at, "silences") and "they move" in alerts(at, "silences", "--past")

    # Nobody listens there: the log and the test say so.
    eventually(lambda: as_json(at, "log"))
    assert "[error] paper: run paper-1 is failed" in alerts(at, "log", "--channel", "chat")
    assert "there is no channel boss" in alerts(at, "test", "--channel", "boss", status=1)
    assert "chat" in alerts(at, "test", "--channel", "chat", status=1)


def test_rules_are_shown_and_checked(at_rest: Any) -> None:
    assert "32 rules, 1 routes, 1 channels: all right" in alerts(at_rest, "check")
    assert "switched off: queue_growing" in alerts(at_rest, "check")
    shown = alerts(at_rest, "rules")
    assert "run_failed" in shown and "RunFinished state=failed|blocked|timed_out" in shown
    assert as_json(at_rest, "rules")["disk_filling"]["below"] == 0.1
    (at_rest.folder / "tidemill.yaml").write_text("alerter: {routes: [{to: [nobody]}]}")
    assert "alerter.routes[0].to[0]: there is no channel nobody" in alerts(at_rest, "check", status=1)
    (at_rest.folder / "tidemill.yaml").write_text("alerter: {rules: {mine: {severity: info}}}")
    assert "tidemill.yaml:1:19: alerter.rules.mine: a rule has a condition" in alerts(at_rest, "check", status=1)
    (at_rest.folder / "tidemill.yaml").unlink()
    assert "nobody is told" in alerts(at_rest, "check")


@pytest.fixture
def at_rest(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    class Folder:
        folder = tmp_path

    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tidemill.yaml").write_text(TIDEMILL_YAML)
    return Folder()
