"""What can be asked for is asked for with the real `nats` command, of two schedulers and other services."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system import SOURCE, System, running

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nats") is None, reason="the nats command is not installed; see .ci/run"),
]

REPLICAS = ("scheduler-1", "scheduler-2", "watcher", "downloader")
BULLETIN = {
    "source": "bulletin",
    "download": {"url": "https://127.0.0.1:1/bulletin.pdf"},
    "run": {"overlap": "allow", "start_within": "1h"},
}
PATIENCE_SECONDS = 60
PAGE = Path(__file__).parents[2] / "docs" / "nats-cli.md"


@pytest.fixture(scope="module")
def mill() -> Iterator[System]:
    with running(REPLICAS, sources=(SOURCE, BULLETIN)) as system:
        eventually(lambda: len(services(system)) == len(REPLICAS))
        yield system


def nats(system: System, *words: str) -> str:
    """What the command prints, on either stream."""
    command = ["nats", "--server", system.nats.url, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=system.folder)
    return done.stdout + done.stderr


def ask(system: System, verb: str, payload: str) -> Any:
    """The reply, as JSON; a refusal is `{"error": …}`."""
    answer = nats(system, "req", f"tidemill.ctl.scheduler.{verb}", payload, "--raw")
    return json.loads(answer[answer.index("{") :])


def services(system: System) -> list[str]:
    listed = nats(system, "service", "ls", "--json")
    return sorted(each["name"] for each in json.loads(listed)) if listed.startswith("[") else []


def eventually(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def runs(system: System, where: str) -> list[tuple[Any, ...]]:
    return system.query(f"SELECT run, state, params FROM scheduler.runs WHERE {where}")


def test_a_message_begins_a_run_with_or_without_parameters(mill: System) -> None:
    nats(mill, "pub", "tidemill.trigger.bulletin", "")
    nats(mill, "pub", "tidemill.trigger.bulletin", '{"params": {"issue": "57"}, "actor": "anna"}')
    eventually(lambda: runs(mill, "params = '{}'") and runs(mill, "params->>'issue' = '57' AND actor = 'anna'"))


def test_a_message_with_a_slip_of_the_pen_is_a_dead_letter_that_says_so(mill: System) -> None:
    nats(mill, "pub", "tidemill.trigger.bulletin", '{"parms": {}}')
    nats(mill, "pub", "tidemill.trigger.buletin", "")
    nats(mill, "pub", "tidemill.trigger.paper", "")
    dead = "SELECT reason, error FROM scheduler.dead_letters WHERE consumer = 'scheduler-trigger' ORDER BY id"
    eventually(lambda: len(mill.query(dead)) == 3)
    told = sorted(mill.query(dead))
    assert [reason for reason, _ in told] == ["invalid", "poison", "poison"]
    for sentence in ("parms", "did you mean bulletin", "paper takes the files that come into"):
        assert any(sentence in error for _, error in told)


def test_a_request_answers_with_the_run_or_with_what_is_wrong(mill: System) -> None:
    begun = ask(mill, "run", '{"source": "bulletin", "params": {"issue": "58"}, "actor": "anna"}')
    assert re.fullmatch(r"bulletin-[0-9a-f]{8}", begun["run"])
    assert begun["state"] == "requested"
    [(run, _, params)] = runs(mill, "params->>'issue' = '58'")
    assert (run, params) == (begun["run"], {"issue": "58"})
    wrong = {
        '{"source": "buletin"}': "there is no source buletin; did you mean bulletin?",
        '{"sorce": "bulletin"}': "unknown parameter sorce; run takes source",
        '{"source": "paper"}': "paper takes the files that come into",
        "bulletin": "the payload is not JSON",
    }
    for payload, sentence in wrong.items():
        assert sentence in ask(mill, "run", payload)["error"]["reason"]


def test_a_pause_and_a_stop_hold_in_every_process_until_resumed(mill: System) -> None:
    paused = ask(mill, "pause", '{"source": "bulletin", "reason": "moving", "until": "2h", "actor": "anna"}')
    assert (paused["key"], paused["reason"]) == ("pause.source.bulletin", "moving")
    refused = eventually(lambda: ask(mill, "run", '{"source": "bulletin"}').get("error"))
    assert refused["reason"].startswith("bulletin is held (pause.source.bulletin: moving)")
    assert [held["key"] for held in ask(mill, "status", "{}")["held"]] == ["pause.source.bulletin"]
    assert ask(mill, "resume", '{"source": "bulletin"}')["resumed"] == ["pause.source.bulletin"]
    assert ask(mill, "stop", '{"all": true, "reason": "fire"}')["key"] == "stop.all"
    why = eventually(lambda: why_stopped(mill))
    assert "all is stopped: fire" in why
    assert ask(mill, "resume", '{"all": true}')["resumed"] == ["stop.all"]
    eventually(lambda: "run" in ask(mill, "run", '{"source": "bulletin"}'))


def why_stopped(system: System) -> str | None:
    answers = ask(system, "why", '{"source": "bulletin"}')["answers"]
    return next((each["says"] for each in answers if each["why"] == "stopped"), None)


def test_a_key_set_by_hand_is_obeyed_mirrored_and_audited(mill: System) -> None:
    nats(mill, "kv", "put", "tidemill-control", "stop.source.bulletin", "too many requests")
    eventually(lambda: mill.query("SELECT 1 FROM scheduler.control WHERE key = 'stop.source.bulletin'"))
    mirrored = mill.query("SELECT actor, via, action FROM scheduler.audit WHERE target = 'stop.source.bulletin'")
    assert mirrored == [("nats kv", "bucket", "control.set")]
    nats(mill, "kv", "del", "tidemill-control", "stop.source.bulletin", "-f")
    eventually(lambda: not ask(mill, "status", "{}")["held"])


def test_a_run_is_cancelled_by_request_and_by_key(mill: System) -> None:
    ask(mill, "pause", '{"service": "downloader"}')  # Else a run may fail before it is cancelled.
    first, second = (ask(mill, "run", '{"source": "bulletin"}')["run"] for _ in range(2))
    assert ask(mill, "cancel", json.dumps({"run": first, "reason": "wrong day"}))["state"] == "cancelled"
    nats(mill, "kv", "put", "tidemill-control", f"cancel.run.{second}", "wrong day")
    eventually(lambda: runs(mill, f"run = '{second}' AND state = 'cancelled'"))
    assert ask(mill, "resume", '{"service": "downloader"}')["resumed"] == ["pause.service.downloader"]


def test_every_replica_of_every_service_is_listed_with_its_versions(mill: System) -> None:
    eventually(lambda: services(mill) == ["downloader", "scheduler", "scheduler", "watcher"])
    told = nats(mill, "service", "info", "scheduler")
    assert "tidemill.ctl.scheduler.run" in told
    assert re.search(r"config_version:?\s", told)
    assert re.search(r"Version:\s+\d+\.\d+\.\d+", told)
    assert "run" in nats(mill, "service", "stats", "scheduler")
    assert "scheduler" in nats(mill, "service", "ping")


def test_every_line_of_the_page_can_be_copied(mill: System) -> None:
    lines = [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    nats ")]
    assert len(lines) > 20
    ask(mill, "resume", '{"all": true}')
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "NATS_URL": mill.nats.url},
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"{line}: {output}"
        if '"bulletin-20260301T060000Z"' not in line:  # There is no such run here, and that is what it says.
            assert "Nats-Service-Error" not in output, f"{line}: {output}"
