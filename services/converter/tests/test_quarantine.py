"""Records that checks hold: kept whole, not stated, released by what the checks say then."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from tidemill.common.bus.step import CommandRefused, Delivery, Done
from tidemill.common.cache import InProcessCache
from tidemill.common.checks import Times
from tidemill.common.config.checks import Check
from tidemill.common.events import DocumentConverted, DocumentStored, RecordsStored
from tidemill.common.telemetry.metrics import Metrics
from tidemill.converter.content import check_records
from tidemill.converter.convert import ConvertedPart
from tidemill.converter.gone import Word, record_gone
from tidemill.converter.judging import judge
from tidemill.converter.names import Names
from tidemill.converter.release import AT_ONCE, Quarantine
from tidemill.converter.steps import record_parts
from tidemill.converter.workers import Ending
from tidemill.plugin import Accounting, Outcome, Position, Record

from .store_kit import START, Fruits, Store, day, facts, price, sale
from .test_reconvert import Bench

pytestmark = pytest.mark.servers

AT_MOST_100 = Check(check="range", field="price", most=100, severity="block", dataset="shop.price")


@dataclass
class Desk:
    """A store behind checks."""

    store: Store
    checks: dict[str, tuple[Check, ...]] = field(default_factory=lambda: {"test": (AT_MOST_100,)})
    metrics: Metrics = field(default_factory=lambda: Metrics("converter"))
    commands_said: int = 0

    def __post_init__(self) -> None:
        self.names = Names(self.store.engine, InProcessCache(self.metrics), [Fruits()])
        self.quarantine = Quarantine(self.checks, self.store.datasets, self.names, self.metrics)

    async def put(
        self,
        parts: Iterable[Sequence[Record]],
        at: datetime,
        name: str = "",
        accounting: tuple[Accounting, ...] = (),
        finish: bool = True,
    ) -> list[Any]:
        """A document; answers the events."""
        name = name or at.isoformat()
        about = replace(facts(name, at), path=at.isoformat())
        event = DocumentStored(source="test", sha256=about.sha256, name=name, run="run-1", received_at=START)
        told: list[Any] = []
        parts = list(parts)
        for index, records in enumerate(parts):
            checked = check_records(records, self.store.datasets)
            judged = judge(checked.records, self.checks.get("test", ()), Times(START, START, at))
            ending = Ending(Outcome.CONVERTED, "", 0, {}, accounting, (), 0.1, 1)
            part = ConvertedPart(
                facts=about,
                index=index,
                records=judged.passed,
                rejected=checked.rejected,
                names=await self.names.resolve(judged.passed),
                pages=1,
                ending=ending if finish and index == len(parts) - 1 else None,
                held=judged.held,
                findings=judged.findings,
            )
            done = Done(Delivery(name, event, 1), part, index)
            async with self.store.engine.begin() as tx:
                told += await record_parts(
                    tx, [done], datasets=self.store.datasets, names=self.names, metrics=self.metrics
                )
        return [one.event for one in told]

    async def say(self, verb: str, **parameters: Any) -> Mapping[str, Any]:
        command = next(one for one in self.quarantine.commands() if one.verb == f"quarantine_{verb}")
        self.commands_said += 1
        async with self.store.engine.begin() as tx:
            answer = await command.handle(tx, f"{verb}-{self.commands_said}", {"actor": "me", **parameters})
        self.events = [one.event for one in answer.events]
        self.change = answer.change
        return answer.body

    async def held(self, state: str = "held") -> list[tuple[str, str]]:
        """(key, reason)."""
        rows = await self.store.rows(
            "SELECT key, reason FROM converter.quarantine WHERE state = :state ORDER BY document, part, place",
            state=state,
        )
        return [(row["key"], row["reason"]) for row in rows]


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    made = Desk(store)
    await made.names.register()
    yield made


async def test_a_record_that_a_check_blocks_is_kept_whole_and_not_stated(desk: Desk) -> None:
    await desk.put([[price("a", 1)]], day(1))
    where = Position(page=7, box=(10.5, 20, 110, 30))
    await desk.put([[price("a", 500, position=where, raw="Apples … 500", quality=0.5), price("b", 2)]], day(2))
    assert (await desk.store.current("a"), await desk.store.current("b")) == (1, 2)
    (row,) = await desk.store.rows("SELECT * FROM converter.quarantine")
    assert (row["dataset"], row["key"], row["data"], row["raw"]) == ("shop.price", "a", '{"price":500}', "Apples … 500")
    assert (row["page"], row["box"], row["quality"], row["run"]) == (7, [10.5, 20, 110, 30], 0.5, "run-1")
    assert (row["checks"], row["reason"]) == (["range_price"], "price is 500, more than 100")
    assert row["state"] == "held"


async def test_a_warning_is_counted_with_examples_and_holds_nothing(desk: Desk) -> None:
    desk.checks["test"] = (Check(check="range", field="price", most=100), Check(check="required", field="note"))
    await desk.put([[price(str(n), 100 + n) for n in range(6)]], day(1))
    assert await desk.held() == []
    rows = await desk.store.rows("SELECT name, severity, failed, examples FROM converter.record_checks ORDER BY name")
    assert [(row["name"], row["severity"], row["failed"]) for row in rows] == [
        ("range_price", "warn", 5),
        ("required_note", "warn", 6),
    ]
    assert rows[0]["examples"][0] == {"key": "1", "message": "price is 101, more than 100"}
    assert len(rows[0]["examples"]) == 3
    assert await desk.store.current("5") == 105


async def test_recording_a_part_again_holds_nothing_twice(desk: Desk) -> None:
    await desk.put([[price("a", 500)]], day(1), finish=False)
    await desk.put([[price("a", 500)]], day(1))
    assert len(await desk.held()) == 1


async def test_the_accounting_says_what_is_quarantined(desk: Desk) -> None:
    rows = [price("a", 500, position=Position(1), raw="a"), price("b", 1, position=Position(1), raw="b")]
    told = await desk.put([rows], day(1), accounting=(Accounting(1, 3, 2, 0, {"title": 1}), Accounting(2, 0, 0, 0)))
    (fact,) = (one for one in told if isinstance(one, DocumentConverted))
    assert (fact.rows.seen, fact.rows.accepted, fact.rows.rejected) == (3, 1, 0)
    assert fact.rows.ignored == {"title": 1, "quarantined": 1}
    await desk.say("release", all=True, force=True)
    (row,) = await desk.store.rows("SELECT accounting FROM converter.documents")
    assert [(page["accepted"], page["ignored"]) for page in row["accounting"]] == [(2, {"title": 1}), (0, {})]


async def test_after_a_fix_everything_that_passes_is_released_with_one_command(desk: Desk) -> None:
    await desk.put([[price("a", 1), price("b", 150)]], day(1))
    await desk.put([[price("a", 120), price("b", 999)]], day(2))
    assert (await desk.say("release", all=True))["released"] == 0
    desk.checks["test"] = (AT_MOST_100.model_copy(update={"most": 200.0}),)
    answer = await desk.say("release", source="test")
    assert (answer["released"], answer["held"], answer["after"]) == (2, 1, None)
    assert [one["reason"] for one in answer["kept"]] == ["price is 999, more than 200"]
    assert await desk.held() == [("b", "price is 999, more than 200")]
    assert await desk.store.history("a") == [(1, 1), (2, 120)]
    assert await desk.store.history("b") == [(1, 150)]
    assert [type(one) for one in desk.events] == [RecordsStored, RecordsStored]
    assert desk.change and (desk.change.action, desk.change.target) == ("quarantine.release", "source test")
    (settled,) = await desk.store.rows("SELECT DISTINCT settled_by FROM converter.quarantine WHERE state = 'released'")
    assert settled["settled_by"] == "me"


async def test_what_is_released_late_falls_into_its_place_in_history(desk: Desk) -> None:
    await desk.put([[price("a", 1)]], day(1))
    await desk.put([[price("a", 500)]], day(2))
    await desk.put([[price("a", 3)]], day(3))
    await desk.say("release", all=True, force=True)
    assert await desk.store.history("a") == [(1, 1), (2, 500), (3, 3)]
    assert await desk.store.current("a") == 3
    (row,) = await desk.store.rows("SELECT document_name FROM shop.price_history WHERE price = 500")
    assert row["document_name"] == day(2).isoformat()


async def test_what_is_released_after_its_page_was_gone_is_history_and_not_there(desk: Desk) -> None:
    await desk.put([[price("a", 500)]], day(1), name="a")
    gone = replace(facts("gone", day(3), received=day(3)), sha256="", converter="gone", path=day(1).isoformat())
    async with desk.store.engine.begin() as tx:
        await record_gone(tx, [Word(gone, "", "unlisted")], desk.store.datasets)
    assert (await desk.say("release", all=True, force=True))["released"] == 1
    assert await desk.store.current("a") is None
    rows = await desk.store.rows("SELECT price FROM shop.price_history WHERE key = 'a' AND price IS NOT NULL")
    assert [row["price"] for row in rows] == [500]


async def test_released_twice_it_is_stated_once(desk: Desk) -> None:
    await desk.put([[price("a", 500)]], day(1))
    assert (await desk.say("release", all=True, force=True))["released"] == 1
    with pytest.raises(CommandRefused, match="no record in quarantine is like that"):
        await desk.say("release", all=True, force=True)
    assert len(await desk.store.rows("SELECT 1 FROM converter.versions")) == 1


async def test_records_of_one_document_may_be_released_one_after_the_other(desk: Desk) -> None:
    await desk.put([[price("a", 500), price("b", 600), price("c", 1)]], day(1))
    first, second = (row["id"] for row in await desk.store.rows("SELECT id FROM converter.quarantine ORDER BY place"))
    await desk.say("release", ids=[second], force=True)
    assert (await desk.store.current("a"), await desk.store.current("b")) == (None, 600)
    await desk.say("release", ids=str(first), force=True)
    assert await desk.store.current("a") == 500


async def test_what_is_dropped_stays_to_be_looked_at_and_is_never_stated(desk: Desk) -> None:
    await desk.put([[price("a", 500)]], day(1))
    assert (await desk.say("drop", check="range_price"))["dropped"] == 1
    assert await desk.held("dropped") == [("a", "price is 500, more than 100")]
    assert await desk.store.current("a") is None
    with pytest.raises(CommandRefused, match="no record"):
        await desk.say("release", all=True, force=True)


async def test_whoever_names_nothing_releases_nothing(desk: Desk) -> None:
    with pytest.raises(CommandRefused, match="say which records"):
        await desk.say("release")
    with pytest.raises(CommandRefused, match="list of numbers"):
        await desk.say("release", ids="x")


async def test_what_stands_under_a_held_record_waits_with_it(desk: Desk) -> None:
    parent = price("m", 500)
    odds = [Record("sport.odds", f"o{n}", {"price": n}, parent=("shop.price", "m")) for n in range(2)]
    grandchild = Record("sport.odds", "deep", {"price": 7}, parent=("sport.odds", "o0"))
    await desk.put([[parent, odds[0], grandchild], [odds[1]]], day(1))
    reasons = dict(await desk.held())
    assert reasons["o1"] == "its parent shop.price m is in quarantine"
    assert set(reasons) == {"m", "o0", "deep", "o1"}
    children = [row["id"] for row in await desk.store.rows("SELECT id FROM converter.quarantine WHERE key <> 'm'")]
    assert (await desk.say("release", ids=children, force=True))["released"] == 0
    assert (await desk.say("release", all=True, force=True))["released"] == 4
    rows = await desk.store.rows("SELECT key FROM converter.records ORDER BY key")
    assert [row["key"] for row in rows] == ["m", "m/o0", "m/o0/deep", "m/o1"]
    assert await desk.store.rows("SELECT 1 FROM converter.rejected") == []


async def test_a_child_may_be_released_after_its_parent(desk: Desk) -> None:
    child = Record("sport.odds", "o", {"price": 1}, parent=("shop.price", "m"))
    await desk.put([[price("m", 500), child]], day(1))
    rows = await desk.store.rows("SELECT id FROM converter.quarantine ORDER BY place")
    for row in rows:
        assert (await desk.say("release", ids=[row["id"]], force=True))["released"] == 1
    assert len(await desk.store.rows("SELECT 1 FROM converter.records WHERE key = 'm/o'")) == 1


async def test_more_than_one_command_takes_go_on_where_the_answer_says(desk: Desk) -> None:
    await desk.put([[price(f"k{n:04}", 500) for n in range(AT_ONCE + 5)]], day(1))
    first = await desk.say("release", all=True)
    assert (first["held"], len(first["after"])) == (AT_ONCE, 3)
    second = await desk.say("release", all=True, after=first["after"])
    assert (second["held"], second["after"]) == (5, None)


async def test_names_are_learnt_from_what_is_stated_and_not_from_what_is_held(desk: Desk) -> None:
    desk.checks["test"] = (Check(check="one_of", field="fruit", values=("apple",), severity="block"),)
    await desk.put([[sale("s", "brick")]], day(1))
    assert await desk.store.rows("SELECT raw FROM converter.names") == []
    await desk.say("release", all=True, force=True)
    assert [row["raw"] for row in await desk.store.rows("SELECT raw FROM converter.names")] == ["brick"]


async def test_what_a_reconversion_holds_counts_with_it_and_replaces_what_was_held(desk: Desk) -> None:
    await desk.put([[price("a", 500), price("b", 1)]], day(1), name="list-1")
    bench = Bench(desk.store)
    bench.newer["list-1"] = [[price("a", 5), price("b", 600)]]

    async def convert(delivery: Delivery[DocumentStored]) -> AsyncIterator[ConvertedPart]:
        async for part in Bench.convert(bench, delivery):
            judged = judge(part.records, desk.checks["test"], Times(START, START, START))
            yield ConvertedPart(
                part.facts, 0, judged.passed, (), (), 1, part.ending, held=judged.held, findings=judged.findings
            )

    object.__setattr__(bench.reconversions, "convert", convert)
    number = await bench.stage(source="test")
    with pytest.raises(CommandRefused, match="no record"):
        await desk.say("drop", check="nothing")
    assert (await desk.say("release", all=True))["held"] == 1  # The staged one is not there yet.
    await bench.accept(number)
    assert (await desk.store.current("a"), await desk.store.current("b")) == (5, None)
    assert (await desk.say("release", all=True, force=True))["released"] == 1
    assert await desk.store.current("b") == 600
