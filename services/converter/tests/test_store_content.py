"""Records are checked by their model, and made canonical, before anything is stored."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.converter.content import NameKey, check_records, load, storable
from tidemill.plugin import Record

from .store_kit import ALL, Fixture, Price, day, price, sale

DATASETS = {dataset.name: dataset for dataset in ALL}


def check_one(record: Record) -> str:
    """Why it is rejected; empty if it is not."""
    checked = check_records([record], DATASETS)
    return checked.rejected[0].detail if checked.rejected else ""


def test_the_hash_is_of_the_content_and_nothing_else() -> None:
    one, other = price("a", 1, raw="a 1", quality=0.5), price("b", 1, valid_from=day(3))
    found = check_records([one, other, price("a", 2)], DATASETS).records
    assert found[0].hash == found[1].hash
    assert found[0].hash != found[2].hash


def test_the_order_of_fields_is_no_content() -> None:
    odds = {"home": "A", "kickoff": "2025-06-01T12:00:00Z", "extra": {"b": 1, "a": 2}}
    turned = {"extra": {"a": 2, "b": 1}, "kickoff": "2025-06-01T12:00:00Z", "home": "A"}
    found = check_records([Record("sport.fixture", "x", values) for values in (odds, turned)], DATASETS).records
    assert found[0].data == found[1].data


def test_a_field_that_says_nothing_is_no_content() -> None:
    found = check_records([price("a", 1), Record("shop.price", "a", {"price": 1, "note": None})], DATASETS).records
    assert found[0].data == found[1].data == '{"price":1}'


def test_what_was_stored_is_loaded_as_the_model_that_it_was() -> None:
    assert load(Price, '{"price":1}') == Price(price=1)
    data = '{"home":"A","kickoff":"2025-06-01T12:00:00Z","odds":["1.50"]}'
    assert load(Fixture, data) == Fixture.model_validate_json(data)


def test_names_are_found_in_the_fields_that_are_declared() -> None:
    (found,) = check_records([sale("1", "Apple")], DATASETS).records
    assert found.names == (NameKey("shop.fruit", "Apple", "garden"),)
    (blank,) = check_records([sale("1", "")], DATASETS).records
    assert blank.names == ()


def test_a_rejection_says_what_is_wrong_and_with_which_value() -> None:
    assert check_one(price("a", 1)) == ""
    assert check_one(Record("shop.price", "a", {"price": "dear"})).startswith("price: Input should be a valid integer")
    assert check_one(Record("shop.price", "a", {"price": "dear"})).endswith("not 'dear'")
    many = Record("shop.price", "a", {f"f{n}": 1 for n in range(5)})
    assert check_one(many).endswith("; and 3 more")
    assert "there is no dataset 'x.y'; installed: shop.price" in check_one(Record("x.y", "a", {}))
    assert "no time zone" in check_one(price("a", 1, valid_from=day(1).replace(tzinfo=None)))
    assert "quality" in check_one(price("a", 1, quality=float("nan")))
    deep: dict[str, object] = {}
    for _ in range(2000):
        deep = {"a": deep}
    assert check_one(Record("sport.fixture", "x", {"home": "A", "kickoff": "2025-06-01T12:00:00Z", "extra": deep}))


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert check_one(Record("shop.price", "a", {"price": 1, "note": "\\u0000"})) == ""
    assert "U+0000" in check_one(Record("shop.price", "a", {"price": 1, "note": "\\\x00"}))


@given(st.text(st.characters(), max_size=20))
def test_any_text_is_kept_or_rejected_and_never_lost(text: str) -> None:
    checked = check_records([Record("shop.price", "a", {"price": 1, "note": text}, raw=text)], DATASETS)
    assert len(checked.records) + len(checked.rejected) == 1
    for kept in (*checked.records, *checked.rejected):
        assert kept.raw == storable(text) or not text
        assert "\x00" not in kept.raw
        kept.raw.encode()
