"""With a NATS user and a database role of its own, each service does its work, and nothing else."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import nats
import nats.errors
import pytest
from nats.aio.client import Client

from tests.deploy.secured import SPECS, GuardedNats, Secured
from tests.integration.test_strangers import asked, run_to_its_end
from tests.system import SOURCE, at_work, new_folder
from tidemill.common.bus.rights import inbox_of
from tidemill.common.testing.site import Site, site_in_a_thread

pytestmark = [pytest.mark.servers]

SERVICES = tuple(spec.name for spec in SPECS)
SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix" / "sample.pdf"
WITHIN_SECONDS = 60


def sources_of(site: Site) -> list[dict[str, Any]]:
    polite = {"rate": "50/s", "allow_private": [site.host]}
    return [
        SOURCE,
        {
            "source": "prices",
            "download": {"url": site.url("/prices.json"), "expect": "json"},
            "politeness": polite,
            "convert": {"with": "json", "options": {"key": "id"}},
            "checks": [{"check": "count", "least": 1}],
        },
        {
            "source": "stations",
            "scrape": {"search": {"url": site.url("/stations"), "link": {"css": "a", "attribute": "href"}}},
            "extract": {"fields": {"name": {"from": {"css": "h1"}, "required": True}}},
            "politeness": polite,
            "convert": {"with": "pages", "options": {"key": "name"}},
        },
    ]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Secured]:
    settings = {"TIDEMILL_ALERTER__LOOK_EVERY": "1s"}
    with site_in_a_thread() as site:
        site.put("/prices.json", b'[{"id": 1, "price": 10}]')
        site.put("/stations", b'<a href="/station/1">one</a>')
        site.put("/station/1", b"<html><body><h1>Ribe</h1></body></html>")
        with at_work(Secured(new_folder(), SERVICES, environment=settings, sources=sources_of(site))) as system:
            yield system


def eventually(true: Callable[[], Any], system: Secured) -> Any:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, system.refusals() or f"logs in {system.folder / 'log'}"
        time.sleep(0.2)
    return found


@pytest.mark.slow
@pytest.mark.measured
def test_all_services_work_together_and_nothing_they_do_is_refused(guarded: Secured) -> None:
    eventually(lambda: "status" in asked(guarded, "status", {}), guarded)
    shutil.copy(SAMPLE, guarded.inbox / "sample.pdf")
    prices, stations = run_to_its_end(guarded, "prices"), run_to_its_end(guarded, "stations")
    assert (prices["state"], prices["new"]) == ("complete", 1), prices
    assert (stations["state"], stations["new"]) == ("complete", 1), stations
    eventually(lambda: guarded.query("SELECT outcome FROM converter.documents WHERE source = 'paper'"), guarded)
    # Report and alerts read what others wrote.
    assert "not yet" not in asked(guarded, "build", {"about": f"{datetime.now(UTC):%Y-%m-%d}"}, "reporter")
    eventually(lambda: guarded.count("reporter.reports WHERE kind = 'day'"), guarded)
    eventually(lambda: guarded.count("reporter.reports WHERE kind = 'run'"), guarded)
    eventually(lambda: guarded.count("alerter.signals WHERE event = 'RunFinished'"), guarded)

    # What an operator does goes through the scheduler's and the services' own rights.
    for verb, told in (("pause", {"source": "prices", "reason": "test"}), ("resume", {"source": "prices"})):
        assert "not yet" not in asked(guarded, verb, told), (verb, asked(guarded, verb, told))
    asyncio.run(publish(guarded.nats.url, "tidemill.document.stored.hi.paper", b"no event"))
    eventually(lambda: message_count(guarded, "DEAD") == 2, guarded)
    for service in ("converter", "scheduler"):  # Both heard of it.
        assert asked(guarded, "dead_letters_drop", {"all": True}, service)["dropped"] == 1
    eventually(lambda: message_count(guarded, "DEAD") == 0, guarded)
    eventually(lambda: guarded.count("scheduler.audit WHERE action LIKE 'dead_letters%'"), guarded)
    assert guarded.refusals() == []


async def publish(url: str, subject: str, payload: bytes) -> None:
    client = await nats.connect(url)
    await client.publish(subject, payload)
    await client.close()


def message_count(system: Secured, stream: str) -> int:
    async def count() -> int:
        client = await nats.connect(system.nats.url)
        try:
            return (await client.jetstream().stream_info(stream)).state.messages
        finally:
            await client.close()

    return asyncio.run(count())


FORBIDDEN = {
    "publish": (
        "tidemill.ctl.scheduler.stop",
        "$KV.tidemill-control.stop.all",
        "$JS.API.STREAM.DELETE.RUNS",
        "$JS.API.STREAM.UPDATE.RUNS",
        "$JS.API.CONSUMER.DELETE.DOCUMENTS.converter-hi",
        "$JS.API.STREAM.PURGE.RUNS",
        "$JS.API.STREAM.CREATE.MINE",
    ),
    "subscribe": (">", "tidemill.>", "_INBOX.>", "$SYS.>"),
}
HEAR_OF_THE_DEAD = ("alerter", "scheduler")
"""A retry of what a service consumes is published again, by itself."""
MAY = {("scheduler", "$KV.tidemill-control.stop.all")}


@pytest.fixture(scope="module")
def doors() -> Iterator[GuardedNats]:
    folder = new_folder()
    with GuardedNats(folder / "nats", folder / "secrets") as server:
        yield server
    shutil.rmtree(folder)


class Caller:
    """A connection that hears what it is refused."""

    def __init__(self, client: Client, errors: list[str]) -> None:
        self.client = client
        self._errors = errors

    @classmethod
    async def open(cls, url: str) -> "Caller":
        errors: list[str] = []

        async def hear(error: Exception) -> None:
            errors.append(str(error).lower())

        return cls(await nats.connect(url, error_cb=hear, allow_reconnect=False), errors)

    async def refused(self) -> bool:
        await self.client.flush()
        await asyncio.sleep(0.02)
        told, self._errors[:] = list(self._errors), []
        return any("permissions violation" in each for each in told)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_not_do_the_work_of_others(service: str, doors: GuardedNats) -> None:
    caller = await Caller.open(doors.url_of(service))
    others = [spec for spec in SPECS if spec.name != service]
    consumed = [(event.stream, durable) for spec in others for durable, event in spec.uses.consumes.items()]
    theirs = [f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}" for stream, durable in consumed]
    if service not in HEAR_OF_THE_DEAD:
        theirs += [f"tidemill.dead.{spec.name}" for spec in others]
    for subject in (*FORBIDDEN["publish"], *theirs):
        await caller.client.publish(subject, b"")
        assert await caller.refused() != ((service, subject) in MAY), subject
    for subject in (*FORBIDDEN["subscribe"], *(f"{inbox_of(spec.name)}.>" for spec in others)):
        await caller.client.subscribe(subject)
        assert await caller.refused(), subject
    await caller.client.close()


async def test_without_a_password_nobody_comes_in(doors: GuardedNats) -> None:
    for url in (doors.url.replace("operator:", "operator:x"), f"nats://127.0.0.1:{doors.port}"):
        with pytest.raises(nats.errors.Error):
            await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=1, connect_timeout=2)


async def test_who_may_only_trigger_begins_runs_and_nothing_else(doors: GuardedNats) -> None:
    caller = await Caller.open(doors.url_of("trigger"))
    await caller.client.publish("tidemill.trigger.prices", b"{}")
    assert not await caller.refused()
    await caller.client.publish("tidemill.ctl.scheduler.stop", b"{}")
    assert await caller.refused()
    await caller.client.subscribe("tidemill.>")
    assert await caller.refused()
    await caller.client.close()


@pytest.mark.slow
async def test_a_database_role_sees_and_writes_what_is_its_own(guarded: Secured) -> None:
    watcher = await asyncpg.connect(guarded.database_url_of("watcher"))
    await watcher.execute("SELECT count(*) FROM watcher.files")
    await watcher.execute("SELECT count(*) FROM config.versions")
    for statement in (
        "SELECT * FROM scheduler.runs",
        "UPDATE config.versions SET comment = ''",
        "UPDATE watcher.alembic_version SET version_num = 'x'",
        "CREATE TABLE watcher.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "DROP TABLE watcher.files",
        "CREATE ROLE mine",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await watcher.execute(statement)
    await watcher.close()
    reader = await asyncpg.connect(guarded.database_url_of("reader"))
    await reader.execute("SELECT count(*) FROM scheduler.runs")
    await reader.execute("SELECT count(*) FROM football.match")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute("DELETE FROM scheduler.runs")
    await reader.close()


def test_passwords_are_hashed_where_they_are_checked(doors: GuardedNats) -> None:
    said = (doors.folder / "nats.conf").read_text()
    assert all(password not in said for password in doors.passwords.values())
    assert json.dumps("operator") in said
