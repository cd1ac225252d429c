"""Pages to records of any dataset, without a line of code."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from tidemill.converter import json_converter
from tidemill.converter.item import ITEM
from tidemill.converter.pages_converter import PagesConverter
from tidemill.plugin import Accounting, Document, Outcome, Record, Refusal, Rejected
from tidemill.plugin.conformance import assert_conforms

from .store_kit import PRICE

PAGE = """\
<html><head><title>Fruit</title></head><body><ul>
<li id="a"><b>Apples</b> <i>€ 3.20</i> <time>2026-11-01</time></li>
<li id="b"><b>Pears</b> <i>€ 4</i> <time>2026-11-02T10:00</time></li>
<li id="c"><b>Plums</b> <i>sold out</i></li>
<li id="a"><b>Apples</b> <i>€ 3</i></li>
</ul></body></html>"""
RULES: dict[str, Any] = {
    "locale": "en",
    "items": {"css": "li"},
    "fields": {
        "code": {"from": {"xpath": "string(//li/@id)"}, "required": True},
        "name": {"from": {"css": "b"}},
        "price": {"from": {"css": "i"}, "type": "money"},
        "seen": {"from": {"css": "time"}},
        "city": {"from": {"carried": "city"}},
    },
}
OPTIONS = {"extract": RULES, "key": "code", "valid_from": "seen", "zone": "Europe/Budapest"}


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`shop.price`, as if a package brought it."""
    point = EntryPoint("shop.price", f"{PRICE.model.__module__}:PRICE", "tidemill.datasets")
    monkeypatch.setattr(json_converter, "entry_points", lambda group: [point])
    yield


def convert(content: str, options: dict[str, Any], url: str = "https://shop.example/fruit") -> list[Any]:
    body = content.encode()
    received = datetime(2026, 11, 3, tzinfo=UTC)
    document = Document(io.BytesIO(body), "0" * 64, len(body), "", received, "shop", url=url, context={"city": "Vaduz"})
    return list(PagesConverter().convert(document, options))


def test_each_item_is_a_record_of_the_generic_dataset() -> None:
    items = convert(PAGE, OPTIONS)
    records = [item for item in items if isinstance(item, Record)]
    assert [(one.dataset, one.key, one.position.item) for one in records] == [
        ("json.item", "shop/a", 0),
        ("json.item", "shop/b", 1),
        ("json.item", "shop/c", 2),
    ]
    assert records[0].data == {
        "code": "a",
        "name": "Apples",
        "price": 3.2,
        "price_currency": "EUR",
        "seen": "2026-11-01",
        "city": "Vaduz",
    }
    assert [one.valid_from and one.valid_from.isoformat() for one in records] == [
        "2026-10-31T23:00:00+00:00",
        "2026-11-02T09:00:00+00:00",
        None,
    ]
    assert json.loads(records[1].raw)["price"] == {"rule": "css: i", "raw": "€ 4"}
    [rejected] = [item for item in items if isinstance(item, Rejected)]
    assert (rejected.reason, rejected.position.item) == ("twice", 3)
    assert items[-1] == Accounting(None, 4, 3, 1)


def test_a_page_without_items_is_named_by_its_address() -> None:
    rules = {"fields": {"price": {"from": {"css": "i"}, "type": "money", "required": True}}}
    [record] = [item for item in convert(PAGE, {"extract": rules, "url": "link"}) if isinstance(item, Record)]
    assert record.key == "shop/https://shop.example/fruit"
    assert record.data == {"price": 3.2, "price_currency": "EUR", "link": "https://shop.example/fruit"}
    [rejected] = [item for item in convert(PAGE, {"extract": rules}, url="") if isinstance(item, Rejected)]
    assert rejected.reason == "no_key"


@pytest.mark.usefixtures("prices")
def test_a_dataset_with_a_model_takes_the_values_by_its_own_names() -> None:
    rules = {
        "items": {"css": "li"},
        "fields": {
            "code": {"from": {"xpath": "string(//li/@id)"}},
            "amount": {"from": {"css": "i"}, "type": "money", "locale": "en"},
        },
    }
    options = {"extract": rules, "dataset": "shop.price", "key": ["code"], "fields": {"price": "amount"}}
    items = convert(PAGE, options)
    assert [(one.key, one.data) for one in items if isinstance(one, Record)] == [
        ("b", {"price": 4}),
        ("a", {"price": 3}),
    ]
    reasons = [(one.reason, one.detail[:21]) for one in items if isinstance(one, Rejected)]
    assert reasons[0] == ("invalid", "price: Input should b")


def test_a_wall_is_no_page() -> None:
    wall = "<title>Just a moment...</title><script src='/cdn-cgi/challenge-platform/h/b.js'></script>"
    with pytest.raises(Refusal) as refused:
        convert(wall, OPTIONS)
    assert refused.value.outcome is Outcome.UNRECOGNISED


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extract": None}, "extract: is missing"),
        ({"key": []}, "key: the page has many items"),
        ({"key": "id"}, "key: 'id' is no field of extract; valid: code, name, price, price_currency, seen, city, url"),
        ({"valid_from": "when"}, "valid_from: 'when' is no field"),
        ({"fields": {"price": "cost"}}, "fields: 'cost' is no field"),
        ({"fields": "price"}, "fields: must name fields"),
        ({"dataset": "shop.nothing"}, "dataset: 'shop.nothing' is not installed"),
        ({"url": 7}, "url: must be the name"),
        ({"zone": "Europe/Fruit"}, "zone: 'Europe/Fruit' is not a time zone"),
        ({"colour": "red"}, "unknown option 'colour'; valid: extract, dataset"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(changes: dict[str, Any], says: str) -> None:
    assert says in str(PagesConverter().options_error({**OPTIONS, **changes}))


def test_it_conforms(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGE, encoding="utf-8")
    assert_conforms(PagesConverter(), [path], OPTIONS, {"json.item": ITEM}, context={"city": "Vaduz"})
