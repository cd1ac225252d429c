"""Rules that ship, fired by what really happens to services at work: a site that breaks, files that nobody can read, a
process that is killed, a configuration with a mistake. Every rule has a shorter test in services/alerter/tests."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import nats
import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.system import System, running
from tidemill.common.bus.client import CommandFailed, open_client, request_command

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.long]

REPLICAS = ("scheduler", "downloader", "watcher", "converter", "alerter")
PATIENCE_SECONDS = 100
"""Some things are asked about once a minute."""
ALERTER = {
    "look_every": "1s",
    "routes": [{"to": ["chat"], "group_by": ["rule", "source", "service"], "group_wait": "0s"}],
    "rules": {
        "documents_failing": {"at_least": 1},
        "service_down": {"for": "0s"},
        "host_blocked": {"above": 0},
        "nats_down": {"above": 1},
        "outbox_stuck": {"above": 3},
    },
}


@dataclass
class Outside:
    """A site that answers as the test says, and a chat that takes what is posted."""

    statuses: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    """What is not `[{"id": 1}]`."""
    posted: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}.json"

    def texts(self) -> str:
        return "\n".join(json.dumps(each, ensure_ascii=False) for each in self.posted)


def handler_of(outside: Outside) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = outside.bodies.get(self.path, b'[{"id": 1}]')
            self._answer(outside.statuses.get(self.path, 200), body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            outside.posted.append(json.loads(body))
            self._answer(200, b"ok")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    opened = Outside()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(opened))
    opened.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield opened
    server.shutdown()
    server.server_close()


def index(outside: Outside) -> dict[str, Any]:
    """Twelve files, of which four are not there."""
    names = [f"{number:02}.json" for number in range(1, 13)]
    outside.bodies["/issues.json"] = "".join(f'<a href="/issue/{each}">{each}</a>' for each in names).encode()
    outside.statuses |= {f"/issue/{each}": 404 for each in names[:4]}
    return {"url": outside.url("issues"), "links": "/issue/*.json", "newest": False}


def download(name: str, outside: Outside, **more: Any) -> dict[str, Any]:
    place = more.pop("download", {})
    politeness = {"rate": "50/s", "allow_private": [f"127.0.0.1:{outside.port}"], **more.pop("politeness", {})}
    return {
        "source": name,
        "download": {**({} if "index" in place else {"url": outside.url(name)}), "expect": "json", **place},
        "politeness": politeness,
        "convert": {"with": "json", "options": {"key": "id"}},
        "run": {"overlap": "allow"},
        **more,
    }


@pytest.fixture(scope="module")
def mill(outside: Outside) -> Iterator[System]:
    sources = (
        download("prices", outside),
        download("rationed", outside, politeness={"daily_budget": 1}),
        download(
            "checked",
            outside,
            checks=[{"check": "count", "least": 100, "name": "many"}],
        ),
        download(
            "held",
            outside,
            checks=[{"check": "range", "name": "cheap", "field": "price", "least": 1, "severity": "block"}],
        ),
        download("weekly", outside, download={"window": {"from": "00:00", "until": "00:01"}}),
        download("issues", outside, download={"index": index(outside)}),
        {
            "source": "paper",
            "watch": {"folder": "inbox", "include": ["*.pdf"], "stable_for": "100ms", "after": "move"},
            "convert": {"with": "szerencsemix"},
        },
    )
    host = f"127.0.0.1:{outside.port}"
    channels = {"chat": {"slack": {"url": f"http://{host}/${{env:CHAT_PATH}}", "allow_private": [host]}}}
    settings = {"TIDEMILL_CHANNELS": json.dumps(channels), "TIDEMILL_ALERTER": json.dumps(ALERTER)}
    outside.bodies["/held.json"] = json.dumps([{"id": n, "price": 5 * (n > 100)} for n in range(150)]).encode()
    with running(REPLICAS, sources, CHAT_PATH="chat", **settings) as system:
        eventually(lambda: ask(system, "status", {}))
        begin(system)
        yield system


def begin(system: System) -> None:
    """What takes its time, all at once."""
    for source in ("checked", "held", "issues"):
        ask(system, "run", {"source": source})
    for _ in range(3):
        ask(system, "run", {"source": "rationed"})
    page = BytesIO()
    canvas = Canvas(page)
    for line in range(40):
        canvas.drawString(72, 800 - 15 * line, f"Line {line} of a letter that is no betting offer at all")
    canvas.save()
    (system.inbox / "letter.pdf").write_bytes(page.getvalue())
    (system.inbox / "broken.pdf").write_bytes(b"%PDF-1.7\n" + b"rubbish " * 1000)


def eventually(true: Callable[[], Any], within: float = PATIENCE_SECONDS) -> Any:
    deadline = time.monotonic() + within
    while True:
        try:
            if found := true():
                return found
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(system: System, verb: str, parameters: dict[str, Any], service: str = "scheduler") -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        async with open_client(system.nats.url) as client:
            return await request_command(client, service, verb, parameters)

    return asyncio.run(asked())


def alert(system: System, rule: str, state: str = "firing", source: str | None = None) -> str:
    """The summary of the alert, once it is in that state; of any source, or of this one."""
    query = "SELECT summary FROM alerter.alerts WHERE rule = :rule AND state = :state"
    values = {"rule": rule, "state": state} | ({"source": source} if source else {})
    if source:
        query += " AND labels ->> 'source' = :source"
    found: str = eventually(lambda: system.query(query, **values))[0][0]
    return found


def test_a_site_that_breaks_is_told_and_its_end_with_the_duration(mill: System, outside: Outside) -> None:
    outside.statuses["/prices.json"] = 404
    ask(mill, "run", {"source": "prices"})
    assert "prices: run prices-" in alert(mill, "run_failed", source="prices")
    eventually(lambda: "[error] prices: run prices-" in outside.texts())
    consequence = """
        SELECT hidden FROM alerter.alerts
        WHERE rule = 'documents_failing' AND state = 'firing' AND labels ->> 'source' = 'prices' AND hidden <> ''
    """
    ((hidden,),) = eventually(lambda: mill.query(consequence))
    assert hidden.startswith("inhibited by run_failed-")  # The consequence is shown, and not told.
    outside.statuses.clear()
    ask(mill, "run", {"source": "prices"})
    alert(mill, "run_failed", "resolved", source="prices")
    query = """
        SELECT a.traceparent, told.headers ->> 'traceparent' FROM alerter.alerts a
        JOIN alerter.outbox told ON told.event_id LIKE a.id || '/%' AND told.subject = 'tidemill.alert.fired.run_failed'
        WHERE a.rule = 'run_failed' AND a.labels ->> 'source' = 'prices'
    """
    cause, told = mill.query(query)[0]
    assert cause.split("-")[1] == told.split("-")[1]  # One trace, from the run to the alert.


def test_a_host_that_answers_with_errors_is_no_longer_asked(mill: System, outside: Outside) -> None:
    outside.statuses["/prices.json"] = 503
    for _ in range(6):
        ask(mill, "run", {"source": "prices"})
    assert "is not asked since" in alert(mill, "host_blocked")
    outside.statuses.clear()


def test_what_comes_and_cannot_be_used_is_told(mill: System) -> None:
    assert "have a layout that nobody knows" in alert(mill, "layout_unrecognised")
    assert "cannot be converted" in alert(mill, "conversion_broken")


def test_a_budget_that_is_spent_is_told(mill: System) -> None:
    assert "budget for 127.0.0.1" in alert(mill, "budget_spent")


def test_a_check_that_does_not_pass_is_told(mill: System) -> None:
    assert alert(mill, "check_failed") == "checked does not pass its check many"


def test_a_run_that_does_not_get_everything_is_told_with_the_share_that_failed(mill: System) -> None:
    assert "4 of 12 items failed" in alert(mill, "run_partial")
    assert alert(mill, "error_rate") == "issues: 0.333 of the items of the last day failed"


def test_records_that_checks_hold_are_told_when_they_are_many(mill: System) -> None:
    assert alert(mill, "quarantine_full") == "held: 101 records wait in quarantine"


def test_a_file_that_does_not_come_in_its_window_is_told(mill: System) -> None:
    assert alert(mill, "publication_late") == "weekly: the new file is late"


def test_a_message_that_nobody_understands_is_a_dead_letter_and_told(mill: System) -> None:
    async def publish() -> None:
        client = await nats.connect(mill.nats.url)
        await client.jetstream().publish("tidemill.job.download.prices", b"{this is no JSON")
        await client.close()

    asyncio.run(publish())
    assert "gave up 1 events" in alert(mill, "dead_letters")


def test_a_configuration_with_a_mistake_is_told_until_a_valid_one_comes(mill: System) -> None:
    with contextlib.suppress(CommandFailed):
        ask(mill, "config_apply", {"files": {"tidemill.yaml": "lgo: {}\n"}, "actor": "eva"})
    assert "was refused" in alert(mill, "config_refused")
    texts = {f"sources/{file.name}": file.read_text() for file in (mill.folder / "sources").glob("*.yaml")}
    ask(mill, "config_apply", {"files": texts, "actor": "eva"})
    alert(mill, "config_refused", "resolved")


def test_nats_that_is_away_is_told_without_it(mill: System, outside: Outside) -> None:
    mill.nats.kill()
    (mill.inbox / "another.pdf").write_bytes(b"%PDF-1.7\n" + b"other rubbish " * 1000)
    assert "NATS cannot be reached" in alert(mill, "nats_down")
    eventually(lambda: "NATS cannot be reached" in outside.texts())
    alert(mill, "outbox_stuck")  # What the watcher took meanwhile waits in Postgres.
    mill.nats.start()
    alert(mill, "nats_down", "resolved")


def test_a_service_that_is_killed_is_told_and_hides_that_its_replica_is_lost(mill: System) -> None:
    alive = "SELECT 1 FROM config.acknowledgements WHERE service = 'downloader'"
    eventually(lambda: mill.query(alive))
    mill.services["downloader"].kill()
    mill.services["downloader"].wait()
    assert alert(mill, "service_down") == "no downloader is at work"
    alert(mill, "replica_lost")
    ((hidden,),) = eventually(
        lambda: mill.query("SELECT hidden FROM alerter.alerts WHERE rule = 'replica_lost' AND hidden <> ''")
    )
    assert hidden.startswith("inhibited by service_down-")
    mill.revive()
    alert(mill, "service_down", "resolved")
