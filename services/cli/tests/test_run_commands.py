"""`tidemill run`, `runs`, `stop`, `pause`, `resume`, `why` beside a scheduler, and where there is none."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.cli.run import Bar, Following, described
from tidemill.common.events import DocumentFailed, DocumentUnchanged, Event, RunPlanned

SOURCE = """
source: paper
download:
  url: https://127.0.0.1:1/paper.pdf
run:
  overlap: allow
"""


@pytest.fixture
def at(place) -> Iterator[Any]:
    """A place with a source and a scheduler."""
    (place.folder / "sources").mkdir()
    (place.folder / "sources" / "paper.yaml").write_text(SOURCE)
    place.has_been_used()
    up = place.begin_up("--service", "scheduler")
    up.wait_for("Ctrl-C ends it", within=60)
    place.addresses = up.addresses
    yield place


def tidemill(at: Any, *words: str, **environment: str) -> tuple[int, str]:
    """In this process: starting one for each command takes most of the time."""
    with contextlib.chdir(at.folder):
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "300", **environment})
    return done.exit_code, done.output


def publish(at: Any, *events: Event) -> None:
    async def send() -> None:
        client = await nats.connect(at.addresses["nats_url"])
        for event in events:
            id = f"{type(event).__name__}{event.model_dump_json()}"
            headers = {"Nats-Msg-Id": id, "Tidemill-Id": id}
            await client.jetstream().publish(event.subject_filled(), event.to_json(), headers=headers)
        await client.close()

    asyncio.run(send())


def outcomes(run: str) -> list[Event]:
    now = datetime.now(UTC)
    return [
        RunPlanned(source="paper", run=run, trigger="manual", items=("a", "b"), closed=True, total=2, planned_at=now),
        DocumentUnchanged(source="paper", run=run, item="a", sha256="s", name="a", duplicate_of="a", received_at=now),
        DocumentFailed(source="paper", run=run, item="b", failure="timeout", detail="no byte", failed_at=now),
    ]


def said(at: Any, *words: str, status: int = 0) -> Any:
    """What a command says as JSON."""
    code, output = tidemill(at, *words, "-o", "json")
    assert code == status, output
    return json.loads(output)


@pytest.mark.servers
@pytest.mark.slow
def test_a_run_from_its_beginning_to_its_retry(at: Any) -> None:
    begun = said(at, "run", "paper", "--param", "issue=57", "--reason", "test")
    assert begun["state"] == "requested"
    assert [run["run"] for run in said(at, "runs", "list", "--source", "paper")] == [begun["run"]]
    [answer, *_] = said(at, "why", "paper", status=1)["answers"]
    assert answer["why"] == "no_worker"

    waiting = at.begin("run", "paper", "--wait")
    [second] = until(lambda: [run for run in said(at, "runs", "list") if run["run"] != begun["run"]])
    publish(at, *outcomes(second["run"]))
    output, _ = waiting.communicate(timeout=90)
    assert waiting.returncode == 1
    assert f"{second['run']} is partial (timeout): 1 unchanged, 1 failed" in output

    shown = said(at, "runs", "show", second["run"])
    assert [(item["item"], item["outcome"]) for item in shown["item_list"]] == [("b", "failed"), ("a", "unchanged")]
    assert "timeout" in tidemill(at, "runs", "show", second["run"])[1]
    assert "partial" in tidemill(at, "runs", "list", "--state", "partial")[1]
    again = said(at, "runs", "retry", second["run"])
    assert again["items"] == 1
    assert said(at, "runs", "cancel", again["run"]) == {"run": again["run"], "state": "cancelled", "cancelled": True}
    assert "had ended: cancelled" in tidemill(at, "runs", "cancel", again["run"])[1]


def until(found: Any) -> Any:
    deadline = time.monotonic() + 90  # A process that begins beside others takes its time.
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result


@pytest.mark.servers
@pytest.mark.slow
def test_what_is_held_says_so_and_is_taken_back(at: Any) -> None:
    code, output = tidemill(at, "pause", "paper", "--reason", "moving", "--until", "2h")
    assert (code, "tidemill resume paper" in output) == (0, True)
    code, output = tidemill(at, "run", "paper")
    assert (code, "pause.source.paper: moving" in output) == (1, True)
    assert said(at, "why", "paper", status=1)["answers"][0]["why"] == "paused"
    assert "source paper is paused: moving" in tidemill(at, "why", "paper")[1]
    assert said(at, "resume", "paper") == {"resumed": ["pause.source.paper"], "still_held_by": ""}
    assert "nothing was stopped" in tidemill(at, "resume", "paper")[1]
    code, output = tidemill(at, "stop", "papr")
    assert (code, "did you mean paper" in output) == (1, True)
    code, output = tidemill(at, "run", "papr")
    assert (code, "did you mean paper" in output) == (1, True)
    code, output = tidemill(at, "runs", "list", "--state", "finished")
    assert (code, "no run is 'finished'; states are waiting" in output) == (1, True)
    code, output = tidemill(at, "runs", "show", "nobody")
    assert (code, "there is no run nobody" in output) == (1, True)


@pytest.mark.servers
@pytest.mark.slow
def test_an_emergency_stop_needs_no_scheduler(place, nats_url: str) -> None:
    servers = {"NATS_URL": nats_url, "DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    code, output = tidemill(place, "stop", "--all", "--reason", "fire", "--until", "2h", **servers)
    assert code == 0
    assert "no scheduler answers: written to the control bucket directly" in output
    assert "all is stopped until" in output

    async def bucket() -> dict[str, Any]:
        client = await nats.connect(nats_url)
        entry = await (await client.jetstream().key_value("tidemill-control")).get("stop.all")
        await client.close()
        return dict(json.loads(entry.value))

    assert asyncio.run(bucket())["reason"] == "fire"
    code, output = tidemill(place, "resume", "--all", **servers)
    assert (code, "taken back: stop.all" in output) == (0, True)
    (place.folder / "tidemill.yaml").write_text("retention: {history: 1s}\n")
    code, output = tidemill(place, "stop", "--all", **servers)
    assert (code, "all is stopped" in output, "must be at least 1d" in output) == (0, True, True)
    assert "going on without tidemill.yaml" in output
    code, output = tidemill(place, "stop", "--all", "--set", "nats_url=5", **servers)
    assert (code, "stopped" in output) == (1, False)
    (place.folder / "tidemill.yaml").unlink()
    code, output = tidemill(place, "pause", "--all", "--until", "soon", **servers)
    assert (code, "until is 'soon'" in output) == (1, True)
    code, output = tidemill(place, "stop", **servers)
    assert (code, "say what" in output) == (1, True)


def test_a_bar_is_as_long_as_the_file_or_as_the_items(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("r", live=True) as bar:
        bar.show({"state": "requested"}, None)
        bar.show({"state": "running", "items": 1}, {"name": "a.pdf", "bytes": 5, "total": 10})
        assert bar.share == 0.5
        bar.show({"state": "running", "items": 4, "new": 1}, {"name": "b.pdf", "bytes": 9, "total": 10})
        assert bar.share == 0.25
    with Bar("r", live=False) as bar:
        for state in ("requested", "running", "running"):
            bar.show({"state": state}, None)
    assert capsys.readouterr().err.endswith("r: requested\nr: running\n")


def test_progress_is_one_line_of_what_is_known() -> None:
    standing = {"state": "running", "items": 3, "new": 1}
    assert described("r", {"state": "requested"}, None) == "r: requested"
    assert described("r", standing, {"name": "a.pdf", "bytes": 1_500_000}) == (
        "r: running · 1/3 items · download a.pdf 1.5 MB"
    )
    assert described("r", standing, {"name": "a.pdf", "stage": "convert", "done": 12}) == (
        "r: running · 1/3 items · convert a.pdf 12"
    )


async def test_who_follows_a_run_waits_for_a_scheduler_that_starts_again(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    asking = asyncio.create_task((await Following.open(client, "paper")).status(run="one"))
    await asyncio.sleep(0.5)
    assert not asking.done()

    async def answer(message: Msg) -> None:
        await message.respond(b'{"runs": []}')

    await client.subscribe("tidemill.ctl.scheduler.status", cb=answer)
    assert await asking == {"runs": []}
    await client.close()
