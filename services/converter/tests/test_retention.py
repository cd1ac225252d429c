"""What goes after its time is what the preview said, and nothing that something newer refers to."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tidemill.common.archive import Archive, NotArchived
from tidemill.common.bus.step import CommandRefused
from tidemill.common.config.settings import RetentionSettings
from tidemill.common.retention import Going, Layer, Retention, dead_letters_layer
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.converter.documents import Finished, finish_document
from tidemill.converter.retention import Undertaker, layers
from tidemill.plugin import Position, Rejected

from .store_kit import Store, day, price

pytestmark = pytest.mark.servers

KEEP = timedelta(days=10)
EVERYTHING = RetentionSettings(documents=KEEP, history=KEEP, believed=KEEP, rejected=KEEP, dead_letters=KEEP)


class Free:
    async def wait_until_allowed(self, source: str | None = None) -> None:
        return None


def retention(store: Store, settings: RetentionSettings = EVERYTHING) -> Retention:
    names = {store.datasets.id(name): name for name in store.datasets}
    every = (*layers(names), dead_letters_layer("converter"))
    return Retention("converter", every, settings, store.engine, Free(), Metrics("converter"))  # type: ignore[arg-type]


async def ask(store: Store, verb: str, settings: RetentionSettings = EVERYTHING, **said: Any) -> Mapping[str, Any]:
    command = next(one for one in retention(store, settings).commands() if one.verb == verb)
    async with store.engine.begin() as tx:
        return (await command.handle(tx, "id", said)).body


async def put(store: Store, name: str, amounts: Mapping[str, int], at: float, received: float = 0) -> None:
    records = [price(key, amount) for key, amount in amounts.items()]
    await store.put(records, day(at), name=name, received=day(received))
    async with store.engine.begin() as tx:
        id = (await tx.execute(text("SELECT id FROM converter.documents WHERE name = :n"), {"n": name})).scalar_one()
        await finish_document(tx, id, Finished(outcome="converted"))


async def later(store: Store, table: str, column: str, by: timedelta) -> None:
    async with store.engine.begin() as tx:
        await tx.execute(text(f"UPDATE converter.{table} SET {column} = {column} - CAST(:by AS interval)"), {"by": by})


def layer(name: str, store: Store) -> Layer:
    return next(one for one in retention(store).layers if one.name == name)


async def find(store: Store, name: str, before: datetime) -> Going:
    async with store.engine.connect() as connection:
        return await layer(name, store).find(connection, before)


async def remove(store: Store, name: str, before: datetime, slice: int = 1000) -> int:
    async with store.engine.begin() as tx:
        return await layer(name, store).remove(tx, before, slice)


async def test_bytes_go_when_no_record_leads_back_to_them(store: Store, tmp_path: Any) -> None:
    async with Archive.open(f"file://{tmp_path}") as archive:
        await put(store, "day-1", {"a": 1}, 1, received=1)
        await put(store, "day-2", {"a": 1}, 2, received=2)  # Says nothing new.
        await put(store, "day-3", {"a": 1}, 3, received=30)
        kept = (await archive.put(_chunks(b"other"))).sha256
        spare = (await archive.put(_chunks(b"spare"))).sha256
        async with store.engine.begin() as tx:
            await tx.execute(text("UPDATE converter.documents SET sha256 = :s WHERE name = 'day-2'"), {"s": spare})
        going = await find(store, "documents", day(20))
        assert (going.items, going.bytes, going.oldest, going.examples) == (1, 1, day(2), (spare,))
        assert await remove(store, "documents", day(20)) == 1
        assert (await find(store, "documents", day(20))).items == 0
        await archive.stat(spare)  # There before the decision is committed.
        await Undertaker(store.engine, archive).work()
        with pytest.raises(NotArchived):
            await archive.stat(spare)
        await archive.stat(kept)
    assert await store.rows("SELECT 1 FROM converter.doomed") == []


async def _chunks(content: bytes) -> Any:
    yield content


async def test_the_past_of_a_record_goes_and_what_it_says_stays(store: Store) -> None:
    for number, amount in enumerate((1, 2, 1, 3), 1):
        await put(store, f"day-{number}", {"a": amount}, number)
    assert (await find(store, "history", day(3.5))).items == 2
    assert await remove(store, "history", day(3.5)) == 2
    assert await store.history("a") == [(3.0, 1), (4.0, 3)]
    assert (await find(store, "history", day(3.5))).items == 0
    await put(store, "late", {"a": 9}, 3.2)
    assert await store.history("a") == [(3.0, 1), (3.2, 9), (4.0, 3)]


async def test_what_was_believed_once_goes_unless_its_content_is_used(store: Store) -> None:
    await put(store, "day-2", {"a": 2}, 2)
    await put(store, "corrected", {"a": 5}, 2, received=3)
    before = await store.rows("SELECT clock_timestamp() AS now")
    assert (await find(store, "believed", before[0]["now"])).items == 0, "the first document still says so"
    async with store.engine.begin() as tx:
        statement = "UPDATE converter.documents SET superseded_by = 0 WHERE name = 'day-2'"
        await tx.execute(text(statement))
    going = await find(store, "believed", before[0]["now"])
    assert (going.items, going.examples) == (1, ("a",))
    assert await remove(store, "believed", before[0]["now"]) == 1
    assert await store.history("a") == [(2.0, 5)]


async def test_rejected_rows_go_in_slices(store: Store) -> None:
    rows = [Rejected("no_price", "", f"row {number}", Position(page=1)) for number in range(5)]
    await store.put([], day(1), rejected=rows)
    await later(store, "rejected", "recorded_at", timedelta(days=20))
    moment = (await store.rows("SELECT now() AS now"))[0]["now"] - KEEP
    going = await find(store, "rejected", moment)
    assert (going.items, going.examples[0]) == (5, "no_price: row 0")
    assert [await remove(store, "rejected", moment, slice=3) for _ in range(3)] == [3, 2, 0]


async def test_what_waits_in_quarantine_stays_and_what_is_settled_goes(store: Store) -> None:
    await store.put([price("a", 1)], day(1))
    (document,) = await store.rows("SELECT id FROM converter.documents")
    async with store.engine.begin() as tx:
        await tx.exec_driver_sql(
            "INSERT INTO converter.quarantine (document, part, place, source, run, dataset, key, quality, data, raw,"
            " checks, reason, state, held_at, settled_at) SELECT $1, 0, n, 's', 'r', 'shop.price', 'k' || n, 1, '{}',"
            " '', '{}', 'too much', CASE n WHEN 1 THEN 'held' ELSE 'dropped' END, '2025-01-01',"
            " CASE n WHEN 1 THEN NULL ELSE timestamptz '2025-01-02' END FROM generate_series(1, 3) n",
            (document["id"],),
        )
    moment = (await store.rows("SELECT now() AS now"))[0]["now"]
    going = await find(store, "quarantine", moment)
    assert (going.items, going.examples) == (2, ("k2: too much", "k3: too much"))
    assert await remove(store, "quarantine", moment) == 2
    assert len(await store.rows("SELECT 1 FROM converter.quarantine")) == 1


async def test_removing_takes_exactly_what_the_preview_told(store: Store) -> None:
    for number, amount in enumerate((1, 2, 3), 1):
        await put(store, f"day-{number}", {"a": amount, "b": 1}, number)
    told = await ask(store, "retention_preview", at=(day(2.5) + KEEP).isoformat())
    assert {name: one["items"] for name, one in told["layers"].items()} == {
        "documents": 0,
        "history": 1,
        "believed": 0,
        "rejected": 0,
        "quarantine": 0,
        "checks": 0,
        "dead_letters": 0,
    }
    for name, one in told["layers"].items():
        removed = await ask(store, "retention_remove", layer=name, before=one["before"])
        assert removed == {"layer": name, "removed": one["items"]}
        assert (await ask(store, "retention_remove", layer=name, before=one["before"]))["removed"] == 0


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"layer": "history", "before": "soon"}, "before is a time"),
        ({"layer": "tomorrow", "before": "2025-01-01"}, "only of: documents, history"),
        ({"layer": "history", "before": "2999-01-01"}, "is kept for 10 days"),
    ],
)
async def test_nothing_is_removed_by_mistake(store: Store, said: dict[str, str], reason: str) -> None:
    with pytest.raises(CommandRefused, match=reason):
        await ask(store, "retention_remove", **said)


async def test_what_is_kept_for_ever_is_never_removed(store: Store) -> None:
    for number in range(3):
        await put(store, f"day-{number}", {"a": number}, number)
    forever = RetentionSettings()
    told = await ask(store, "retention_preview", forever)
    assert told["layers"]["history"] == {"kept": "for ever"}
    with pytest.raises(CommandRefused, match="removes nothing of 'history'"):
        await ask(store, "retention_remove", forever, layer="history", before="2025-01-01")
    assert "history" not in await retention(store, forever).round(day(4000))
    assert len(await store.history("a")) == 3


async def test_every_night_what_is_too_old_goes(store: Store) -> None:
    for number in range(4):
        await put(store, f"day-{number}", {"a": number}, number)
    before = value("tidemill_retention_removed_total", service="converter", layer="history")
    removed = await retention(store).round(day(2.5) + KEEP)
    assert removed["history"] == 2
    assert value("tidemill_retention_removed_total", service="converter", layer="history") == before + 2
    assert await store.history("a") == [(2.0, 2), (3.0, 3)]


AMOUNTS = st.dictionaries(st.sampled_from("ab"), st.integers(1, 2), min_size=1)


@given(st.lists(st.tuples(st.integers(0, 6), AMOUNTS), min_size=1, max_size=6), st.integers(0, 7))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.slow
async def test_of_any_history_what_holds_at_the_moment_and_after_stays(
    store: Store, written: list[tuple[int, dict[str, int]]], moment: int
) -> None:
    await store.rows_deleted()
    for number, (at, amounts) in enumerate(written):
        await put(store, f"{number}", amounts, at, received=number)
    before = {key: await store.history(key) for key in "ab"}
    told = await find(store, "history", day(moment))
    assert await remove(store, "history", day(moment)) == told.items
    for key, history in before.items():
        earlier = [span for span in history if span[0] < moment]
        expected = [*earlier[-1:], *(span for span in history if span[0] >= moment)]
        assert await store.history(key) == expected
    # A document that states again what its record says now changes nothing of it.
    for key in "ab":
        if before[key]:
            at, amount = before[key][-1]
            await put(store, f"again {key}", {key: amount}, at, received=99)
    for key, history in before.items():
        earlier = [span for span in history if span[0] < moment]
        assert await store.history(key) == [*earlier[-1:], *(span for span in history if span[0] >= moment)]
