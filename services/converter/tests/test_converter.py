"""The converter on a real archive, Postgres and NATS."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import psutil
import pytest
from nats.js.client import JetStreamContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.bus import Bus
from tidemill.common.cache import open_cache
from tidemill.common.config import Config, load_config
from tidemill.common.config.sources import Convert, SourceFile, Sources
from tidemill.common.database import open_engine
from tidemill.common.events import DocumentGone, DocumentStored, Event
from tidemill.common.service import Context
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import value
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.converter.main import SPEC
from tidemill.converter.settings import ConverterSettings

pytestmark = pytest.mark.servers

SOURCES = {
    "prices": Convert.model_validate(
        {
            "with": "json",
            "options": {
                "items": "offers.item",
                "dataset": "shop.price",
                "key": "id",
                "fields": {"product": "product", "amount": "amount"},
            },
        }
    ),
    "things": Convert.model_validate({"with": "json", "options": {"key": "id"}}),
    "pages": Convert.model_validate(
        {
            "with": "pages",
            "options": {
                "extract": {"fields": {"title": {"from": {"css": "h1"}}, "city": {"from": {"carried": "city"}}}}
            },
        }
    ),
    "orders": Convert.model_validate({"with": "obedient", "limits": {"memory": "100MB", "cpu": "2s", "time": "5s"}}),
    "wrong": Convert.model_validate({"with": "json", "options": {"itmes": "x"}}),
    "absent": Convert.model_validate({"with": "docx"}),
    "kept": None,
}

CHECKS = {"prices": ({"check": "range", "field": "amount", "most": 1000, "severity": "block"},)}


@dataclass
class Converting:
    """A converter service at work."""

    bus: Bus
    engine: AsyncEngine
    archive: Archive
    js: JetStreamContext
    config: Config

    async def store(self, content: bytes | str, source: str, **said: Any) -> str:
        """As the watcher would; answers the SHA-256."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content.encode() if isinstance(content, str) else content

        stored = await self.archive.put(chunks())
        await self.tell(stored.sha256, stored.size_bytes, source, **said)
        return stored.sha256

    async def tell(
        self, sha256: str, size_bytes: int, source: str, *, lane: str = "lo", run: str = "run-1", **said: Any
    ) -> None:
        event = DocumentStored(
            lane=lane,
            sha256=sha256,
            size_bytes=size_bytes,
            name=f"{source}.doc",
            run=run,
            received_at=datetime(2025, 8, 15, tzinfo=UTC),
            source=source,
            item=f"{source}/item",
            previous_sha256="0" * 64,
            requests=2,
            bytes_received=400,
            **said,
        )
        await self.say(event, f"{source}/{sha256}/{run}")

    async def say(self, event: Event, id: str) -> None:
        await self.js.publish(event.subject_filled(), event.to_json(), headers={"Nats-Msg-Id": id, "Tidemill-Id": id})

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.engine.connect() as connection:
            return list((await connection.execute(text(statement), parameters)).all())

    async def document(self, sha256: str, within: float = 20) -> Any:
        """The row of a finished document."""
        query = "SELECT * FROM converter.documents WHERE sha256 = :sha256 AND state = 'finished'"
        return (await self.until(lambda: self.rows(query, sha256=sha256), within))[0]

    async def dead(self, within: float = 20) -> Any:
        rows = await self.until(lambda: self.rows("SELECT * FROM converter.dead_letters"), within)
        return rows[0]

    async def facts(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind that the outbox knows, each once."""
        rows = await self.rows(
            "SELECT DISTINCT ON (event_id) event_id, subject, payload FROM converter.outbox ORDER BY event_id"
        )
        return [json.loads(row.payload) for row in rows if f".{kind}." in row.subject]

    async def until(self, look: Callable[[], Any], within: float = 20) -> Any:
        deadline = time.monotonic() + within
        while not (found := await look()):
            assert time.monotonic() < deadline, "nothing came"
            await asyncio.sleep(0.05)
        return found

    def workers(self) -> list[psutil.Process]:
        """Only converters: the servers are children of this process too."""
        children = psutil.Process().children()
        return [child for child in children if "tidemill.converter.worker" in " ".join(child.cmdline())]


@pytest.fixture
async def converting(
    tmp_path: Path, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Converting]:
    plugin = Path(__file__).parent / "plugin"
    monkeypatch.syspath_prepend(plugin)
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    config = load_config(tmp_path, services={})
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(Telemetry.open("converter", "1"))
        engine = open_engine(database_url)
        stack.push_async_callback(engine.dispose)
        archive = await stack.enter_async_context(Archive.open("memory:///"))
        cache = open_cache(None, telemetry.metrics)
        stack.push_async_callback(cache.close)
        bus = await stack.enter_async_context(
            Bus.open(
                nats_url, service="converter", version="1.0.0", engine=engine, tables=SPEC.tables, telemetry=telemetry
            )
        )
        context = Context(
            config=config,
            settings=ConverterSettings(workers=2),
            sources=Sources(
                {
                    name: SourceFile.model_validate(
                        {"source": name, "convert": convert, "checks": CHECKS.get(name, ())}
                    )
                    for name, convert in SOURCES.items()
                }
            ),
            bus=bus,
            engine=engine,
            database_url=database_url,
            archive=archive,
            cache=cache,
            telemetry=telemetry,
            log=get_logger("test"),
        )
        wiring = await stack.enter_async_context(SPEC.open(context))
        running = asyncio.create_task(bus.run(wiring.steps, wiring.commands, wiring.tasks))
        client = await nats.connect(nats_url)
        stack.push_async_callback(client.close)
        converting = Converting(bus, engine, archive, client.jetstream(), config)
        await converting.until(lambda: _has_consumers(client.jetstream()))
        yield converting
        await bus.stop()
        await running


async def _has_consumers(js: JetStreamContext) -> bool:
    try:
        return bool(await js.consumers_info("DOCUMENTS"))
    except nats.js.errors.NotFoundError:
        return False


def offers(count: int, *more: dict[str, Any]) -> str:
    return json.dumps({"offers": [*({"id": n, "product": f"tea {n}", "amount": n / 2} for n in range(count)), *more]})


async def test_a_document_becomes_records_and_is_told_of(converting: Converting) -> None:
    sha256 = await converting.store(offers(1200, {"id": "x", "product": "tea"}, {"amount": 1}), "prices")
    row = await converting.document(sha256)
    assert (row.outcome, row.converter, row.name) == ("converted", "json", "prices.doc")
    assert row.converter_version.startswith("1+")
    assert row.accounting == [{"page": None, "seen": 1202, "accepted": 1200, "rejected": 2, "ignored": {}}]
    assert row.cpu_seconds > 0
    assert row.peak_memory_bytes > 1_000_000
    counted = await converting.rows("SELECT count(*), min(amount), max(amount) FROM shop.price")
    assert [tuple(one) for one in counted] == [(1200, 0.0, 599.5)]

    [converted] = await converting.facts("converted")
    assert converted["outcome"] == "converted"
    assert (converted["item"], converted["previousSha256"]) == ("prices/item", "0" * 64)
    assert (converted["requests"], converted["bytesReceived"]) == (2, "400")
    assert converted["rows"] == {"seen": 1202, "accepted": 1200, "rejected": 2, "ignored": {}}
    assert converted["records"] == {"shop.price": {"new": 1200, "changed": 0, "unchanged": 0, "history": 0, "gone": 0}}
    stored = await converting.facts("stored")
    assert sorted((fact["batch"], fact["records"]["shop.price"]["new"]) for fact in stored) == [
        (0, 500),
        (1, 500),
        (2, 200),
    ]
    [rejected] = await converting.facts("rejected")
    assert rejected["rejected"] == {"invalid": 1, "no_key": 1}
    kept = await converting.rows("SELECT reason, item FROM converter.rejected ORDER BY item")
    assert [tuple(one) for one in kept] == [("invalid", 1200), ("no_key", 1201)]


async def test_the_same_document_in_another_run_changes_nothing(converting: Converting) -> None:
    sha256 = await converting.store(offers(10), "prices")
    await converting.document(sha256)
    await converting.tell(sha256, 1, "prices", run="run-2")
    await converting.until(lambda: converting.rows("SELECT 1 FROM converter.documents WHERE run = 'run-2'"))
    again = await converting.until(
        lambda: converting.rows("SELECT * FROM converter.documents WHERE run = 'run-2' AND state = 'finished'")
    )
    assert again[0].outcome == "converted"
    facts = {fact["run"]: fact["records"]["shop.price"] for fact in await converting.facts("converted")}
    assert facts["run-2"] == {"new": 0, "changed": 0, "unchanged": 10, "history": 0, "gone": 0}


async def test_a_page_that_is_gone_takes_its_records_along_and_that_is_told(converting: Converting) -> None:
    page = "https://example.org/offers"
    sha256 = await converting.store(offers(3), "prices", path=page, reappeared=True)
    await converting.document(sha256)
    assert [fact["reappeared"] for fact in await converting.facts("converted")] == [True]
    gone = DocumentGone(
        source="prices",
        run="run-2",
        item="prices/item",
        url=page,
        reason="unlisted",
        sha256=sha256,
        gone_at=datetime(2025, 8, 17, tzinfo=UTC),
    )
    await converting.say(gone, "run-2/item/gone")
    await converting.until(lambda: converting.rows("SELECT 1 FROM converter.documents WHERE outcome = 'gone'"))
    assert await converting.rows("SELECT key FROM shop.price") == []
    told = [fact for fact in await converting.facts("stored") if fact["run"] == "run-2"]
    assert [fact["records"] for fact in told] == [
        {"shop.price": {"new": 0, "changed": 0, "unchanged": 0, "history": 0, "gone": 3}}
    ]


async def test_a_page_is_read_with_its_address_and_what_led_to_it(converting: Converting) -> None:
    url = "https://example.org/7"
    sha256 = await converting.store("<h1>Home</h1>", "pages", path=url, context={"city": "Vaduz"})
    row = await converting.document(sha256)
    assert (row.outcome, row.context, row.warnings) == ("converted", {"city": "Vaduz"}, [])
    [record] = await converting.rows("SELECT key, data, raw FROM json.item")
    assert (record.key, record.data) == (f"pages/{url}", {"title": "Home", "city": "Vaduz"})
    assert json.loads(record.raw)["city"] == {"rule": "carried: city", "raw": "Vaduz"}


async def test_sources_share_the_generic_dataset_without_meeting(converting: Converting) -> None:
    await converting.document(await converting.store('[{"id": 1, "a": {"b": 2}}]', "things"))
    rows = await converting.rows("SELECT key FROM converter.records")
    assert [row.key for row in rows] == ["things/1"]


@pytest.mark.parametrize(
    ("source", "content", "outcome"),
    [
        ("things", "", "empty"),
        ("things", "%PDF-1.7", "wrong_type"),
        ("things", '[{"id": 1}, ', "incomplete"),
        ("orders", "refuse 3", "scanned"),
        ("orders", "eat 3", "resource_limit"),
    ],
)
async def test_a_document_that_is_not_whole_has_its_outcome_and_is_done(
    converting: Converting, source: str, content: str, outcome: str
) -> None:
    before = value("tidemill_documents_total", service="converter", source=source, outcome=outcome)
    sha256 = await converting.store(content, source)
    row = await converting.document(sha256)
    assert row.outcome == outcome
    assert row.reason
    [fact] = await converting.facts("converted")
    assert (fact["outcome"], fact["reason"]) == (outcome, row.reason)
    assert not await converting.rows("SELECT 1 FROM converter.dead_letters")
    assert value("tidemill_documents_total", service="converter", source=source, outcome=outcome) == before + 1
    after = await converting.document(await converting.store('[{"id": 5}]', "things"))
    assert after.outcome == "converted"


async def test_a_crash_is_tried_again_and_harms_nobody_else(converting: Converting) -> None:
    await converting.store("fault 600", "orders")
    failed = await converting.until(lambda: converting.rows("SELECT * FROM converter.retries"))
    assert "SIGSEGV" in failed[0].error
    assert (await converting.document(await converting.store('[{"id": 5}]', "things"))).outcome == "converted"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("wrong", "wrong.yaml: options of json: option: unknown key 'itmes'"),
        ("absent", "absent.yaml: converter 'docx' is not installed; installed: json,"),
    ],
)
async def test_what_no_attempt_can_convert_is_a_dead_letter_with_a_sentence(
    converting: Converting, source: str, error: str
) -> None:
    await converting.store("[]", source)
    letter = await converting.dead()
    assert (letter.reason, error in letter.error) == ("poison", True), letter.error


async def test_a_source_that_is_not_known_yet_is_waited_for(converting: Converting) -> None:
    await converting.store("[]", "nobody")
    [waiting] = await converting.until(lambda: converting.rows("SELECT * FROM converter.retries"))
    assert "there is no source file nobody.yaml; there are: absent, kept, orders," in waiting.error
    assert not await converting.rows("SELECT 1 FROM converter.dead_letters")


async def test_bytes_that_the_archive_lost_are_a_dead_letter(converting: Converting) -> None:
    await converting.tell("0" * 64, 3, "things")
    letter = await converting.dead()
    assert "does not hold" in letter.error


async def test_an_event_whose_digest_is_none_is_a_dead_letter_at_once(converting: Converting) -> None:
    await converting.tell("../../etc/passwd", 3, "things")
    letter = await converting.dead()
    assert (letter.reason, letter.attempts) == ("poison", 1)
    assert "not a SHA-256" in letter.error


async def test_documents_of_a_source_without_converter_are_only_kept(converting: Converting) -> None:
    await converting.store("anything", "kept")
    await converting.document(await converting.store('[{"id": 5}]', "things"))
    assert [row.source for row in await converting.rows("SELECT source FROM converter.documents")] == ["things"]
    assert not await converting.rows("SELECT 1 FROM converter.dead_letters")


async def test_a_killed_worker_costs_no_attempt_and_loses_nothing(converting: Converting) -> None:
    sha256 = await converting.store("hang 2000", "orders")
    await converting.until(lambda: converting.rows("SELECT 1 FROM converter.batches WHERE part = 1"))
    killed = [worker.pid for worker in converting.workers()]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    row = await converting.document(sha256, within=30)
    assert (row.outcome, row.reason) == ("resource_limit", "Took longer than 5 s.")
    assert not set(killed) & {worker.pid for worker in converting.workers()}
    [counts] = await converting.rows("SELECT count(*), count(DISTINCT key) FROM converter.records")
    assert tuple(counts) == (2000, 2000)
    assert sorted(fact["batch"] for fact in await converting.facts("stored")) == [0, 1, 2, 3]
    assert not await converting.rows("SELECT 1 FROM converter.retries WHERE attempts > 0")


async def test_a_high_document_overtakes_low_ones(converting: Converting) -> None:
    low = [await converting.store(f"spin {n}", "orders") for n in range(4)]
    high = await converting.store('[{"id": 5}]', "things", lane="hi")
    await converting.document(high, within=30)
    done = await converting.rows("SELECT sha256 FROM converter.documents WHERE state = 'finished'")
    assert len([row for row in done if row.sha256 in low]) <= 2


async def test_what_a_check_holds_is_stated_when_somebody_says_so(converting: Converting) -> None:
    sha256 = await converting.store(offers(2, {"id": "gold", "product": "tea", "amount": 1001}), "prices")
    row = await converting.document(sha256)
    assert row.accounting == [
        {"page": None, "seen": 3, "accepted": 2, "rejected": 0, "ignored": {"quarantined": 1}},
    ]
    [converted] = await converting.facts("converted")
    assert converted["rows"]["ignored"] == {"quarantined": 1}
    assert [one.key for one in await converting.rows("SELECT key FROM converter.records")] == ["0", "1"]
    held = await converting.bus.request("tidemill.ctl.converter.quarantine_release", {"source": "prices"})
    assert (held["released"], held["kept"][0]["reason"]) == (0, "amount is 1001, more than 1000")
    forced = await converting.bus.request(
        "tidemill.ctl.converter.quarantine_release", {"all": True, "force": True, "actor": "me"}
    )
    assert forced["released"] == 1
    assert len(await converting.rows("SELECT 1 FROM shop.price")) == 3
    told = [fact for fact in await converting.facts("stored") if fact["sha256"] == sha256]
    assert [fact["records"]["shop.price"]["new"] for fact in told] == [2, 1]


async def test_printed_names_are_kept_with_what_they_stand_for(converting: Converting) -> None:
    await converting.document(await converting.store("teams 3", "orders"))
    rows = await converting.rows("SELECT raw, scope, entity FROM converter.names ORDER BY raw")
    assert [tuple(row) for row in rows] == [
        ("Team 0", "Cup", "team-0"),
        ("Team 1", "Cup", "team-1"),
        ("Team 2", "Cup", "team-2"),
    ]
    said = {"vocabulary": "test.team", "raw": "Team 2", "scope": "Cup", "entity": "team-1", "author": "me"}
    reply = await converting.bus.request("tidemill.ctl.converter.alias_add", said)
    assert reply["entity"] == "team-1"
    [row] = await converting.rows("SELECT entity FROM converter.names WHERE raw = 'Team 2'")
    assert row.entity == "team-1"


async def test_whoever_listens_hears_how_far_a_long_conversion_is(converting: Converting, nats_url: str) -> None:
    listener = await nats.connect(nats_url)
    try:
        heard = await listener.subscribe("tidemill.progress.converter.orders")
        await listener.flush()
        await converting.document(await converting.store("walk", "orders"))
        state = json.loads((await heard.next_msg(timeout=10)).data)
    finally:
        await listener.close()
    assert (state["run"], state["item"], state["stage"], state["total"]) == ("run-1", "orders/item", "convert", 4)
    assert 1 < state["done"] <= 4


async def test_no_scratch_file_stays(converting: Converting) -> None:
    await converting.document(await converting.store('[{"id": 5}]', "things"))
    [folder] = Path("/tmp").glob(f"tidemill-converter-{os.getpid()}-*")
    assert [left.name for left in folder.iterdir()] == [".lock"]
