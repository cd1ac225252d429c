"""`tidemill doctor --production` on a system as it is deployed: ready, and with each thing taken away."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import nats
import nats.micro
import pytest
import yaml
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from tests.deploy.secured import SPECS, Secured
from tests.system import at_work, new_folder
from tidemill.cli import production, readiness
from tidemill.cli.main import app
from tidemill.cli.roles_sql import READER
from tidemill.common.config import load_config
from tidemill.common.database import open_engine
from tidemill.common.testing.fixtures import NewDatabase

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.measured, pytest.mark.timeout(300)]

SERVICES = tuple(spec.name for spec in SPECS)
MACHINE = {"disk", "disk share"}
"""Of the machine on which the tests run, not of the system."""
PATIENCE_SECONDS = 180


@pytest.fixture
def at_work_for_real() -> Iterator[Secured]:
    with at_work(Secured(new_folder(), SERVICES)) as system:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "services" in failing(system):
            assert time.monotonic() < deadline, system.refusals() or f"logs in {system.folder / 'log'}"
            time.sleep(1)
        yield system


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """Servers with users and roles, and for each service one who answers on the bus as it would."""
    with (
        at_work(Secured(new_folder(), ())) as system,
        answering(system, *((name, "1.0.0", "one") for name in SERVICES)),
    ):
        made = tidemill(system, "streams")
        assert made.exit_code == 0, made.output
        yield system


@contextmanager
def answering(system: Secured, *replicas: tuple[str, str, str]) -> Iterator[None]:
    """Replicas of services, of a release and on a host, as far as the bus can tell."""
    ready, over = Event(), Event()

    async def answer() -> None:
        clients = [await nats.connect(system.nats.url_of(name)) for name, *_ in replicas]
        for client, (name, version, host) in zip(clients, replicas, strict=True):
            await nats.micro.add_service(client, name=name, version=version, metadata={"instance": f"{host}-1-abcd"})
        for client in clients:
            await client.flush()
        ready.set()
        await asyncio.to_thread(over.wait)
        for client in clients:
            await client.close()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(asyncio.run, answer())
        try:
            assert ready.wait(60) or done.result(0)
            yield
        finally:
            over.set()
            done.result(60)


def tidemill(system: Secured, *words: str, database: str = "") -> Result:
    """In this process, for it starts often."""
    environment = {"NATS_URL": system.nats.url, "DATABASE_URL": database or system.database_url_of(READER)}
    before = Path.cwd()
    os.chdir(system.folder)
    try:
        return CliRunner(env=environment).invoke(app, words)
    finally:
        os.chdir(before)


def found(system: Secured, *words: str) -> dict[str, dict[str, str]]:
    done = tidemill(system, "doctor", "--production", "-o", "json", *words)
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    wrong = [finding for finding in findings.values() if finding["verdict"] == "failed"]
    assert done.exit_code == (1 if wrong else 0), done.stderr
    assert all(finding["remedy"] for finding in wrong)
    return findings


def failing(system: Secured, *words: str) -> set[str]:
    findings = found(system, *words)
    return {name for name, finding in findings.items() if finding["verdict"] == "failed"} - MACHINE


class Takes(BaseHTTPRequestHandler):
    """Whatever is posted."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


TO_BE_SET = {"durability", "backup", "retention", "alert routes", "alert channels", "dead man's switch"}
SETTINGS = {
    "channels": {"chat": {"slack": {"url": "https://chat.example.org/${env:HOME}"}}},
    "alerter": {"routes": [{"to": ["chat"]}], "heartbeat": {"url": "https://alive.example.org/"}},
    "retention": {"documents": "365d"},
}
APPLIED = """
INSERT INTO config.versions (version, author, via, sha256, content)
VALUES (1, 'somebody', 'cli', '', jsonb_build_object('tidemill.yaml', CAST(:settings AS text)))
"""
DELIVERED = """
INSERT INTO alerter.deliveries
    (message, channel, recipient, key, kind, thread, content, state, stated_at, due_at, ended_at)
VALUES ('1', 'chat', '', '1', 'alert.test', '1', '{}', 'delivered', now(), now(), now())
"""
BACKED_UP = """
INSERT INTO scheduler.backups (folder, name, began_at, finished_at, good, scheduled, bytes, problem)
VALUES ('/backups', 'one', now() - CAST(:ago AS interval), now(), true, true, 1, '')
"""


def test_what_nobody_has_set_is_named_until_it_is_set(secured: Secured) -> None:
    # It has users, roles and services; its Postgres is in a hurry.
    assert failing(secured) == TO_BE_SET
    write(secured, APPLIED, settings=yaml.safe_dump(SETTINGS))
    assert failing(secured) == {"durability", "backup", "alert channels"}
    write(secured, DELIVERED)
    write(secured, BACKED_UP, ago=timedelta(hours=27))
    assert failing(secured) == {"durability", "backup"}
    write(secured, "UPDATE scheduler.backups SET began_at = now()")
    accepted = found(secured, "--accept", "durability")
    assert {name for name, each in accepted.items() if each["verdict"] == "failed"} <= MACHINE
    assert accepted["durability"]["found"] == "accepted: off: fsync"
    unknown = tidemill(secured, "doctor", "--production", "--accept", "luck")
    assert unknown.exit_code == 1
    assert "no check is called luck" in unknown.stderr


def test_another_release_on_another_host_is_seen(secured: Secured) -> None:
    before = failing(secured)
    with answering(secured, ("scraper", "9.9.9", "two")):
        assert failing(secured) - before == {"versions", "streams", "shared pace", "shared archive"}
    assert failing(secured) == before


def test_what_is_open_to_all_or_written_out_is_named(secured: Secured) -> None:
    before = failing(secured)
    password = secured.folder / "password"
    password.write_text("a secret")
    password.chmod(0o644)
    headers = {"Authorization": f"${{file:{password}}}", "X-Key": "written out"}
    (secured.folder / "tidemill.yaml").write_text(yaml.safe_dump({"telemetry": {"otlp_headers": headers}}))
    access = secured.postgres.data / "pg_hba.conf"
    access.write_text("host all all 127.0.0.1/32 trust\n" + access.read_text())
    secured.query("SELECT pg_reload_conf()")
    secured.query("SELECT pg_sleep(1)")
    now = found(secured)
    failed = {name for name, each in now.items() if each["verdict"] == "failed"} - MACHINE
    assert failed - before - {"secret files"} == {"postgres login", "secrets"}
    assert now["secrets"]["found"] == "telemetry.otlp_headers.X-Key in tidemill.yaml:4"

    config = load_config(secured.folder, services={}, environ={})  # In a container this is not asked.
    assert production.readable_by_all(config, None) == {str(password)}
    password.chmod(0o640)
    assert production.readable_by_all(config, None) == set()


def test_a_bus_without_users_and_services_that_are_superusers_are_named(
    nats_url: str, new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = new_database(*SPECS)
    environment = {"NATS_URL": nats_url, "DATABASE_URL": url}

    async def with_a_service_at_work() -> str:
        engine = open_engine(url, pool=1, application="tidemill-scraper")
        async with engine.connect():
            done = await asyncio.to_thread(
                CliRunner(env=environment).invoke, app, ["doctor", "--production", "-o", "json"]
            )
        await engine.dispose()
        return done.stdout

    findings = {each["check"]: each for each in json.loads(asyncio.run(with_a_service_at_work()))}
    failed = {name for name, each in findings.items() if each["verdict"] == "failed"}
    assert {"nats login", "postgres roles", "streams", "services"} <= failed
    assert findings["postgres roles"]["found"] == "superusers are at work: tidemill-scraper as postgres"


def test_nothing_is_ready_where_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner(env={"NATS_URL": "", "DATABASE_URL": ""}).invoke(app, ["doctor", "--production"])
    assert done.exit_code == 1
    assert "production" in done.stdout


@pytest.mark.parametrize(
    ("host", "stays"), [("127.0.0.1", True), ("/run/postgresql", True), ("localhost", True), ("10.0.0.7", False)]
)
def test_what_crosses_a_network_must_be_encrypted(host: str, stays: bool) -> None:
    assert production.local([host]) is stays
    finding = readiness.encrypted("nats", production.local([host]), False, "encrypt it")
    assert finding.verdict == ("ok" if stays else "failed")
    assert readiness.encrypted("nats", False, True, "").verdict == "ok"


@pytest.mark.parametrize(
    ("replicas", "clustered", "behind", "verdict"),
    [(3, True, (), "ok"), (1, True, (), "failed"), (3, True, ("n2",), "failed"), (1, False, (), "note")],
)
def test_streams_are_on_three_servers_where_there_are_some(
    replicas: int, clustered: bool, behind: tuple[str, ...], verdict: str
) -> None:
    kept = readiness.KeptStream("RUNS", replicas, clustered, behind)
    assert readiness.streams([kept], ["RUNS"], 1).verdict == verdict


def write(system: Secured, statement: str, **parameters: object) -> None:
    async def run() -> None:
        engine = open_engine(system.postgres.url, pool=1)
        async with engine.begin() as connection:
            await connection.execute(text(statement), parameters)
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_checklist_names_what_is_missing_and_is_content_when_it_is_there(at_work_for_real: Secured) -> None:
    secured = at_work_for_real
    assert failing(secured) == TO_BE_SET
    with receiver() as host, TemporaryDirectory(dir="/dev/shm") as elsewhere:
        chat = {"slack": {"url": f"http://{host}/${{env:HOME}}", "allow_private": [host]}}
        settings = {
            "channels": {"chat": chat},
            "alerter": {
                "routes": [{"to": ["chat"]}],
                "heartbeat": {"url": f"http://{host}/alive", "method": "POST", "allow_private": [host]},
            },
            "retention": {"documents": "365d"},
            "backup": {"folder": elsewhere},
        }
        (secured.folder / "tidemill.yaml").write_text(yaml.safe_dump(settings))
        applied = tidemill(secured, "config", "apply")
        assert applied.exit_code == 0, applied.stdout + applied.stderr
        (secured.folder / "tidemill.yaml").unlink()  # What counts is what the services work by.
        settle(secured, {"durability", "backup", "alert channels"})

        told = tidemill(secured, "alerts", "test", "--channel", "chat")
        assert told.exit_code == 0, told.stdout + told.stderr
        superuser = secured.postgres.tcp_url
        made = tidemill(secured, "backup", elsewhere, "--scheduled", database=superuser)
        assert made.exit_code == 0, made.stdout + made.stderr
        settle(secured, {"durability"})


def settle(system: Secured, expected: set[str]) -> None:
    """Services open again when they are configured anew, and messages are on their way for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := failing(system)) != expected:
        assert time.monotonic() < deadline, now
        time.sleep(1)
