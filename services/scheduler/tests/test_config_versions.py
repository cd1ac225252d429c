"""Configurations that are offered to a scheduler at work: applied, refused, rolled back; always told, never by half."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.client import CommandFailed, request_command
from tidemill.common.config import Sources, load_config
from tidemill.common.database import open_engine
from tidemill.common.servers import Addresses
from tidemill.common.service import Service
from tidemill.common.telemetry.metrics import value
from tidemill.scheduler import audit
from tidemill.scheduler.main import SPEC

pytestmark = pytest.mark.servers

DEMO = "source: demo\nwatch: {folder: inbox/demo}\n"


@dataclass
class Office:
    """A scheduler service, and everything that it tells."""

    client: Client
    engine: AsyncEngine
    told: list[str] = field(default_factory=list)

    async def ask(self, verb: str, id: str | None = None, **parameters: Any) -> dict[str, Any]:
        return await request_command(self.client, "scheduler", verb, parameters, id)

    async def apply(self, files: dict[str, str], **parameters: Any) -> dict[str, Any]:
        return await self.ask("config_apply", files=files, **{"actor": "Ágnes", "via": "cli", **parameters})

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement))]

    async def until_told(self, *subjects: str) -> None:
        async with asyncio.timeout(10):
            while self.told != list(subjects):
                await asyncio.sleep(0.02)


@pytest.fixture
async def office(tmp_path: Path, nats_url: str, database_url: str) -> AsyncIterator[Office]:
    config = load_config(tmp_path, services={"scheduler": SPEC.settings}, environ={})
    service = Service(SPEC, config, Sources(), Addresses(nats_url, database_url))
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    client = await nats.connect(nats_url)
    found = Office(client, open_engine(database_url))

    async def hear(message: Any) -> None:
        found.told.append(message.subject)

    await client.subscribe("tidemill.config.*", cb=hear)
    async with asyncio.timeout(30):
        while await service.health.wrong():
            await asyncio.sleep(0.02)
        while True:
            try:
                await client.request("tidemill.ctl.scheduler.config_rollback", b"x", timeout=1)
                break
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.02)
    yield found
    await client.close()
    await found.engine.dispose()
    stop.set()
    async with asyncio.timeout(30):
        await running


async def test_a_valid_one_becomes_a_version_that_is_told_and_taken(office: Office) -> None:
    applied = value("tidemill_configs_offered_total", service="scheduler", outcome="applied")
    answer = await office.apply({"tidemill.yaml": "log: {level: info}\n", "sources/demo.yaml": DEMO}, comment="first")
    assert answer == {
        "state": "applied",
        "version": 1,
        "changes": {"sources/demo.yaml": "added", "tidemill.yaml": "added"},
        "problems": [],
    }
    await office.until_told("tidemill.config.applied")
    assert await office.rows(
        "SELECT version, author, via, comment, content->>'sources/demo.yaml' FROM config.versions"
    ) == [(1, "Ágnes", "cli", "first", DEMO)]
    assert value("tidemill_configs_offered_total", service="scheduler", outcome="applied") == applied + 1
    async with asyncio.timeout(10):
        while await office.rows("SELECT version, running, problem FROM config.acknowledgements") != [(1, 1, "")]:
            await asyncio.sleep(0.02)


async def test_the_same_content_again_is_no_version(office: Office) -> None:
    await office.apply({"sources/demo.yaml": DEMO})
    answer = await office.apply({"sources/demo.yaml": DEMO})
    assert (answer["state"], answer["version"]) == ("unchanged", 1)
    answer = await office.apply({"sources/demo.yaml": f"{DEMO}title: x\n"})
    assert (answer["state"], answer["version"], answer["changes"]) == ("applied", 2, {"sources/demo.yaml": "changed"})


async def test_the_same_command_again_is_answered_and_not_done_again(office: Office) -> None:
    first = await office.ask("config_apply", "once", files={"sources/demo.yaml": DEMO})
    again = await office.ask("config_apply", "once", files={"sources/demo.yaml": DEMO})
    assert first == again
    assert await office.rows("SELECT count(*) FROM config.versions") == [(1,)]


async def test_a_wrong_one_is_refused_with_all_that_is_wrong_and_changes_nothing(office: Office) -> None:
    await office.apply({"sources/demo.yaml": DEMO})
    answer = await office.apply(
        {"tidemill.yaml": "log: {level: loud}\nwatcher: {paralel: 2}\n", "sources/demo.yaml": "source: other\n"}
    )
    assert (answer["state"], answer["version"]) == ("refused", 1)
    assert answer["problems"] == [
        "tidemill.yaml:1:7: log.level: loud is not possible here. Valid values: debug, error, info, warning",
        "tidemill.yaml:2:11: watcher.paralel: unknown key; did you mean parallel? Valid keys: create_folders, parallel",
        "sources/demo.yaml:1:1: source: is other, but the file is demo.yaml; give both the same name",
    ]
    await office.until_told("tidemill.config.applied", "tidemill.config.refused")
    assert await office.rows("SELECT max(version) FROM config.versions") == [(1,)]
    assert await office.rows("SELECT author, version, array_length(problems, 1) FROM config.refusals") == [
        ("Ágnes", 1, 3)
    ]
    unsettled = "SELECT count(*) FROM config.refusals WHERE settled_at IS NULL"
    assert await office.rows(unsettled) == [(1,)]
    assert (await office.apply({"sources/demo.yaml": DEMO}))["state"] == "unchanged"
    assert await office.rows(unsettled) == [(0,)]


async def test_each_environment_with_overlays_is_judged(office: Office) -> None:
    answer = await office.apply({"sources/demo.yaml": DEMO, "sources/demo.production.yaml": "wach: {}\n"})
    assert answer["state"] == "refused"
    assert answer["problems"][0].startswith("sources/demo.production.yaml:1:1: wach: unknown key; did you mean watch?")


async def test_files_that_are_no_part_of_a_configuration_are_refused(office: Office) -> None:
    answer = await office.apply({"tidemil.yaml": "", "sources/demo.yaml": DEMO, "other/sea.yaml": "source: sea\n"})
    assert answer["problems"] == [
        "other/sea.yaml: lies beside others: source files are in one folder, not in other, sources",
        "sources/demo.yaml: lies beside others: source files are in one folder, not in other, sources",
        "tidemil.yaml: is no file of a configuration: that is tidemill.yaml, tidemill.<environment>.yaml, and "
        "sources/<name>.yaml",
    ]


async def test_a_secret_in_plain_text_is_refused_and_kept_nowhere(office: Office) -> None:
    answer = await office.apply(
        {
            "tidemill.yaml": "redis_url: redis://:canary-77@host\n"
            "telemetry: {otlp_headers: {Authorization: Bearer canary-77}}\n"
        }
    )
    assert [problem.partition(": holds")[0] for problem in answer["problems"]] == [
        "tidemill.yaml:1:1: redis_url",
        "tidemill.yaml:2:28: telemetry.otlp_headers.Authorization",
    ]
    named = await office.apply({"tidemill.yaml": "redis_url: 'redis://:${env:REDIS_PASSWORD}@host'\n"}, dry_run=True)
    assert named["state"] == "would be applied"
    for schema, table in await office.rows(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('config', 'scheduler')"
    ):
        ((found,),) = await office.rows(
            f"SELECT count(*) FROM {schema}.{table} AS each WHERE each::text LIKE '%canary%'"
        )
        assert found == 0, table


async def test_a_dry_run_says_what_would_change_and_leaves_no_trace(office: Office) -> None:
    answer = await office.apply({"sources/demo.yaml": DEMO}, dry_run=True)
    assert (answer["state"], answer["version"], answer["changes"]) == (
        "would be applied",
        0,
        {"sources/demo.yaml": "added"},
    )
    assert (await office.apply({"sources/demo.yaml": "x: 1\n"}, dry_run=True))["state"] == "refused"
    for table in ("config.versions", "config.refusals", "scheduler.audit"):
        assert await office.rows(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_rolling_back_makes_a_new_version_of_old_content(office: Office) -> None:
    for title in ("one", "two", "three"):
        await office.apply({"sources/demo.yaml": f"{DEMO}title: {title}\n"})
    answer = await office.ask("config_rollback", version=1, actor="me")
    assert (answer["state"], answer["version"]) == ("applied", 4)
    assert await office.rows(
        "SELECT comment, content->>'sources/demo.yaml' FROM config.versions WHERE version = 4"
    ) == [("back to version 1", f"{DEMO}title: one\n")]
    with pytest.raises(CommandFailed, match="there is no version 9"):
        await office.ask("config_rollback", version=9)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({}, "files is missing"),
        ({"files": ["x"]}, "files is missing"),
        ({"files": {"a.yaml": 1}}, "files is missing"),
        ({"files": {"a.yaml": "\0"}}, "'a.yaml' is no text that can be kept"),
        ({"files": {"a.yaml": "\ud800"}}, "'a.yaml' is no text that can be kept"),
        ({"files": {}, "via": "pigeon"}, "via is pigeon; it is one of cli, bus, file"),
        ({"fils": {}}, "unknown parameter fils"),
    ],
)
async def test_a_command_that_makes_no_sense_is_answered_with_what_would(
    office: Office, parameters: dict[str, Any], why: str
) -> None:
    with pytest.raises(CommandFailed, match=why):
        await office.ask("config_apply", **parameters)


async def test_every_change_and_refusal_leaves_an_audit_row(office: Office) -> None:
    await office.apply({"sources/demo.yaml": DEMO})
    await office.apply({"sources/demo.yaml": "x: 1\n"}, via="file", actor="folder")
    await office.apply({}, comment="empty")
    await office.ask("config_rollback", version=1)
    rows = await office.rows("SELECT seq, actor, via, action, target, left(result, 7) FROM scheduler.audit ORDER BY 1")
    assert rows == [
        (1, "Ágnes", "cli", "config.apply", "version 1", "done"),
        (2, "folder", "file", "config.apply", "version 2", "refused"),
        (3, "Ágnes", "cli", "config.apply", "version 2", "done"),
        (4, "unknown", "bus", "config.rollback", "version 3", "done"),
    ]
    async with office.engine.connect() as connection:
        assert await audit.verify(connection, None) == []


async def test_many_who_apply_at_once_get_a_number_each(office: Office) -> None:
    answers = await asyncio.gather(*(office.apply({"sources/demo.yaml": f"{DEMO}title: t{n}\n"}) for n in range(8)))
    assert sorted(answer["version"] for answer in answers) == list(range(1, 9))
