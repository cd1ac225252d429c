import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidemill.converter.json_converter import RECORD_BYTES, JsonConverter
from tidemill.converter.json_items import LINE_BYTES, STRING_BYTES, Guarded
from tidemill.plugin import Accounting, Described, Document, Item, Outcome, Progress, Record, Refusal, Rejected
from tidemill.plugin.conformance import assert_conforms


class Converted:
    """What came of a document, sorted."""

    def __init__(self, content: bytes, options: dict[str, Any], source: str) -> None:
        self.items: list[Item] = []
        self.refusal: Refusal | None = None
        document = Document(io.BytesIO(content), "0" * 64, len(content), "x", datetime.now(UTC), source)
        try:
            for item in JsonConverter().convert(document, options):
                self.items.append(item)
        except Refusal as refusal:
            self.refusal = refusal

    @property
    def outcome(self) -> Outcome:
        return Outcome.CONVERTED if self.refusal is None else self.refusal.outcome

    @property
    def reason(self) -> str:
        return "" if self.refusal is None else self.refusal.reason

    @property
    def records(self) -> list[Record]:
        return [item for item in self.items if isinstance(item, Record)]

    @property
    def data(self) -> list[Any]:
        return [record.data for record in self.records]

    @property
    def rejected(self) -> list[Rejected]:
        return [item for item in self.items if isinstance(item, Rejected)]

    @property
    def warnings(self) -> list[str]:
        return [item.warning for item in self.items if isinstance(item, Progress) and item.warning]

    @property
    def accounting(self) -> Accounting:
        [accounting] = [item for item in self.items if isinstance(item, Accounting)]
        assert accounting.balanced()
        assert (accounting.accepted, accounting.rejected) == (len(self.records), len(self.rejected))
        return accounting

    @property
    def described(self) -> Described:
        first = self.items[0]
        assert isinstance(first, Described)
        return first


def convert(content: bytes | str, *, source: str = "", **options: Any) -> Converted:
    assert JsonConverter().options_error(options) is None
    return Converted(content.encode() if isinstance(content, str) else content, options, source)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "plugin")


PRICES = (
    '{"shop": {"name": "Corner"}, "offers": [{"id": 7, "sku": {"name": "Tea"}, "price": "2.50", "at": "2025-08-15"}]}'
)


def test_every_item_at_a_path_is_a_record() -> None:
    result = convert(PRICES, items="offers.item", key="id")
    assert [(r.dataset, r.key, r.data["price"], r.position.item) for r in result.records] == [
        ("json.item", "7", "2.50", 0)
    ]
    assert result.accounting.seen == 1


def test_a_list_at_the_top_needs_no_options() -> None:
    result = convert('[{"a": 1}, [2], "three", null]')
    assert result.data == [{"a": 1}, {"value": [2]}, {"value": "three"}, {"value": None}]
    assert len({record.key for record in result.records}) == 4


def test_an_item_without_key_is_known_by_its_content_whatever_the_order_of_its_members() -> None:
    first, second = convert('[{"a": 1, "b": 2}, {"b": 2, "a": 1}]').records
    assert first.key == second.key


def test_generic_keys_start_with_the_source_so_that_sources_do_not_meet() -> None:
    assert convert('[{"id": 7}]', source="corner-shop", key="id").records[0].key == "corner-shop/7"


def test_a_key_of_several_paths_cannot_be_mistaken_for_another() -> None:
    result = convert('[{"a": "x/y", "b": true}, {"a": "x", "b": "y/true"}]', key=["a", "b"])
    assert [record.key for record in result.records] == ["x%2Fy/true", "x/y%2Ftrue"]


@pytest.mark.parametrize("value", ["null", '""', "[1]", "{}"])
def test_an_item_without_its_key_is_rejected(value: str) -> None:
    result = convert(f'[{{"id": {value}}}, {{"id": 1}}]', key="id")
    assert [(r.reason, r.position.item) for r in result.rejected] == [("no_key", 0)]
    assert result.rejected[0].raw == f'{{"id":{value}}}'
    assert len(result.records) == 1
    assert result.accounting.rejected == 1


@pytest.mark.usefixtures("shop")
def test_items_are_mapped_to_a_dataset_by_its_name() -> None:
    result = convert(
        PRICES,
        items="offers.item",
        dataset="shop.price",
        key="id",
        fields={"product": "sku.name", "amount": {"path": "price", "type": "number"}, "currency": {"const": "HUF"}},
        valid_from={"path": "at", "zone": "Europe/Budapest"},
    )
    [record] = result.records
    assert record.data == {"product": "Tea", "amount": 2.5, "currency": "HUF"}
    assert record.valid_from == datetime(2025, 8, 14, 22, tzinfo=UTC)
    assert record.key == "7"


@pytest.mark.usefixtures("shop")
def test_what_does_not_fit_the_datasets_model_is_rejected_with_the_field() -> None:
    offers = '[{"product": "Tea", "amount": "x"}, {"product": "Tea"}, {"product": "Tea", "amount": 1, "size": 3}, 5]'
    result = convert(offers, dataset="shop.price", key="product")
    assert [rejected.detail.partition(":")[0] for rejected in result.rejected] == [
        "amount",
        "amount",
        "size",
        "there is no product",
    ]
    assert {rejected.reason for rejected in result.rejected} == {"invalid", "no_key"}


@pytest.mark.usefixtures("shop")
def test_a_field_that_is_not_said_stays_unsaid() -> None:
    result = convert('[{"product": "Tea", "amount": 1}]', dataset="shop.price", key="product")
    assert result.data == [{"product": "Tea", "amount": 1.0}]


@pytest.mark.parametrize(
    ("kind", "said", "read"),
    [
        ("string", "12345678901234567890123", "12345678901234567890123"),
        ("string", "1.50", "1.5"),
        ("string", '"x"', "x"),
        ("integer", '" 12 "', 12),
        ("integer", "12.0", 12),
        ("number", '"3.6"', 3.6),
        ("number", "3", 3),
        ("boolean", '"true"', True),
        ("boolean", "false", False),
        ("date", '"2025-08-15"', "2025-08-15"),
        ("datetime", '"2025-08-15T12:00:00+02:00"', "2025-08-15T10:00:00+00:00"),
        ("datetime", '"2025-08-15T12:00:00Z"', "2025-08-15T12:00:00+00:00"),
        ("any", '{"deep": [1.5]}', {"deep": [1.5]}),
        ("integer", "null", None),
    ],
)
def test_a_field_is_read_as_the_type_it_has(kind: str, said: str, read: Any) -> None:
    result = convert(f'[{{"x": {said}}}]', fields={"x": {"path": "x", "type": kind}})
    assert result.data == [{"x": read}]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("string", "true"),
        ("string", "[]"),
        ("integer", "1.5"),
        ("integer", "true"),
        ("integer", '"1.5"'),
        ("integer", "[1]"),
        ("number", "true"),
        ("number", '"NaN"'),
        ("number", '"3,6"'),
        ("number", "{}"),
        ("boolean", "1"),
        ("date", '"15.08.2025"'),
        ("date", "20250815"),
        ("datetime", '"2025-08-15T12:00:00"'),
        ("datetime", "1755252000"),
    ],
)
def test_a_field_that_is_not_of_its_type_rejects_the_item(kind: str, said: str) -> None:
    result = convert(f'[{{"x": {said}}}]', fields={"x": {"path": "x", "type": kind}})
    [rejected] = result.rejected
    assert rejected.reason == "invalid"
    assert rejected.detail.startswith("x: ")


def test_a_required_field_may_not_be_missing() -> None:
    result = convert('[{"y": 1}]', fields={"x": {"path": "x", "required": True}, "y": "y"})
    assert [(r.reason, r.detail) for r in result.rejected] == [("missing", "there is no x for x")]


def test_paths_lead_into_lists_by_index() -> None:
    assert convert('[{"a": [{"b": 1}, {"b": 2}]}]', fields={"x": "a.1.b", "y": "a.9.b"}).data == [{"x": 2, "y": None}]


def test_an_unreadable_time_rejects_the_item_and_a_missing_one_does_not() -> None:
    result = convert('[{"at": "soon"}, {}, {"at": "2025-08-15T00:00:00Z"}]', valid_from="at")
    assert [(r.reason, r.position.item) for r in result.rejected] == [("invalid", 0)]
    assert [record.valid_from for record in result.records] == [None, datetime(2025, 8, 15, tzinfo=UTC)]


def test_the_document_may_state_its_own_time_before_its_items() -> None:
    said = '{"meta": {"at": "2025-08-15T10:00:00"}, "items": [{"a": 1}]}'
    result = convert(said, items="items.item", document_valid_from={"path": "meta.at", "zone": "UTC"})
    assert result.described.valid_from == datetime(2025, 8, 15, 10, tzinfo=UTC)
    assert result.data == [{"a": 1}]


@pytest.mark.parametrize(
    ("said", "warning"),
    [
        ('{"items": [{}], "at": "2025-08-15T10:00:00Z"}', "no at before its items"),
        ('{"at": "soon", "items": [{}]}', "'soon' is no time"),
        ('{"at": ', "no at before its items"),
    ],
)
def test_a_document_time_that_cannot_be_read_is_a_warning(said: str, warning: str) -> None:
    result = convert(said, items="items.item", document_valid_from="at")
    assert result.described.valid_from is None
    assert warning in result.warnings[0]


@pytest.mark.parametrize(
    ("content", "outcome", "reason"),
    [
        (b" \n\t ", Outcome.EMPTY, "white space"),
        (b"%PDF-1.7", Outcome.WRONG_TYPE, "%PDF"),
        (b"<html>", Outcome.WRONG_TYPE, "<html>"),
        (b"\x1f\x8b\x08\x01", Outcome.WRONG_TYPE, ""),
        ('[{"a": 1}]'.encode("utf-16"), Outcome.UNREADABLE, "UTF-16"),
        ('[{"a": 1}]'.encode("utf-16-be"), Outcome.UNREADABLE, "UTF-16"),
        ('[{"a": 1}]'.encode("utf-32"), Outcome.UNREADABLE, "UTF-16 or UTF-32"),
        (b'["\xff"]', Outcome.UNREADABLE, "UTF8"),
        (b'["\xed\xb0\x80"]', Outcome.UNREADABLE, "surrogate"),
        (b"[NaN]", Outcome.UNREADABLE, "invalid char"),
        (b"[1,]", Outcome.INCOMPLETE, "unallowed token"),
        (b"// no\n[]", Outcome.WRONG_TYPE, "//"),
        (b'{"a": [1', Outcome.TRUNCATED, "cut off"),
        (b'{"a": {"b": [[1]]}}', Outcome.UNRECOGNISED, "there are items at a.b.item, a.b.item.item"),
        (b'"text"', Outcome.UNRECOGNISED, "no list"),
        (b"[" * 100_000, Outcome.TOO_LARGE, "nested"),
        (b'{"a":' * 100_000, Outcome.TOO_LARGE, "nested"),
        (b'["' + b"x" * (STRING_BYTES + 100_000), Outcome.TOO_LARGE, "a string of more than"),
    ],
)
def test_a_document_that_cannot_be_read_says_why(content: bytes, outcome: Outcome, reason: str) -> None:
    result = convert(content)
    assert (result.outcome, reason in result.reason) == (outcome, True), result.reason


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize(
    ("said", "read"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\udc00", "\ufffd"),
        (r"\ud83d\u00e9", "\ufffdé"),
        (r"\uD83D\uD83D\uDE00", "\ufffd😀"),
        (r"\\\ud83d\n", "\\\ufffd\n"),
        (r"\\ud83d", r"\ud83d"),
    ],
)
def test_half_of_a_surrogate_pair_costs_one_letter_and_no_more(form: str, said: str, read: str) -> None:
    items = ['{"n": "' + said + '"}', '{"n": "b"}']
    content = "\n".join(items) if form == "jsonl" else f"[{','.join(items)}]"
    result = convert(content)
    assert (result.data, result.outcome) == ([{"n": read}, {"n": "b"}], Outcome.CONVERTED)


@given(st.text(), st.integers(1, 40))
def test_where_the_file_is_cut_for_the_parser_changes_no_letter(text: str, size: int) -> None:
    content = json.dumps([text]).encode()
    guarded = Guarded(io.BytesIO(content))
    read = b"".join(iter(lambda: guarded.read(size), b""))
    assert json.loads(read) == [text]


@pytest.mark.parametrize("size", range(1, 16))
def test_wherever_the_file_is_cut_for_the_parser_halves_are_found(size: int) -> None:
    guarded = Guarded(io.BytesIO(rb'["\\\ud83d\ud83d\ude00\udc00\\ud83d"]'))
    read = b"".join(iter(lambda: guarded.read(size), b""))
    assert read == rb'["\\\ufffd\ud83d\ude00\ufffd\\ud83d"]'


def test_an_item_with_half_of_a_pair_is_still_measured() -> None:
    deep = "[" * 600 + r'"\ud83d"' + "]" * 600
    wide = '{"n": "' + r"\ud83d" + "x" * RECORD_BYTES + '"}'
    result = convert("\n".join(['{"n": 1}', deep, wide]))
    assert [row.reason for row in result.rejected] == ["too_deep", "too_large"]


def test_numbers_without_any_quote_are_not_a_long_string() -> None:
    numbers = b"1.25, " * (STRING_BYTES // 5)
    result = convert(b'{"numbers": [' + numbers + b'true], "items": [1]}', items="items.item")
    assert result.data == [{"value": 1}]


@pytest.mark.parametrize("content", ["[]", '{"a": {"b": []}}', '{"a": []}'])
def test_an_empty_list_is_a_document_without_records(content: str) -> None:
    path = "item" if content == "[]" else "a.b.item" if "b" in content else "a.item.b.item"
    result = convert(content, items=path)
    assert (result.outcome, result.accounting.seen) == (Outcome.CONVERTED, 0)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert convert(b'\xef\xbb\xbf[{"a": 1}]').data == [{"a": 1}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"a": 1}, {"a": 2}, {"a"', "It is cut off. Items before: 2."),
        ('[{"a": 1}, {"a": 2}] [', "trailing garbage. Items before: 2."),
        ('[{"a": 1}, {"a": 2}, {"a" 3}]', "Items before: 2."),
        ('{"a": 1}\n{"a": 2}\n{"a"', "The last line is cut off. Items before: 2."),
    ],
)
def test_what_stands_before_a_break_stays_and_the_document_is_incomplete(content: str, reason: str) -> None:
    result = convert(content)
    assert result.data == [{"a": 1}, {"a": 2}]
    assert result.outcome is Outcome.INCOMPLETE
    assert result.reason.endswith(reason)
    assert result.accounting.accepted == 2


def test_numbers_too_large_for_a_record_reject_their_item_alone() -> None:
    result = convert('[{"a": 1.5}, {"a": 1e999}, {"a": [123456789012345678901234567890]}, {"a": 18446744073709551615}]')
    assert result.data == [{"a": 1.5}, {"a": 18446744073709551615}]
    assert [(r.reason, r.position.item) for r in result.rejected] == [("invalid", 1), ("invalid", 2)]


def test_a_break_after_a_large_number_is_still_a_break() -> None:
    result = convert('[{"a": 123456789012345678901234567890}, {"a": 1.5}, {')
    assert result.data == [{"a": 1.5}]
    assert result.outcome is Outcome.INCOMPLETE


def test_an_item_nested_too_deeply_or_too_large_is_rejected() -> None:
    deep = "[" * 300 + "]" * 300
    deep_exact = "[" * 1500 + "1.5" + "]" * 1500
    large = json.dumps({"text": "x" * RECORD_BYTES})
    result = convert(f"[{deep}, {large}, 1e999, {deep_exact}, 1]")
    assert [rejected.reason for rejected in result.rejected] == ["too_deep", "too_large", "invalid", "too_deep"]
    assert result.data == [{"value": 1}]
    assert all(len(rejected.raw) <= 2_000 for rejected in result.rejected)


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_of_a_member_that_comes_twice_the_last_one_holds_unless_that_is_refused(form: str) -> None:
    items = ['{"x": {"a": 1.5, "a": 2}}', '{"x": {"a": 3}, "y": [{"b": 1e2}]}']
    content = f"[{','.join(items)}]" if form == "json" else "\n".join(items)
    assert convert(content, format=form).data[0] == {"x": {"a": 2}}
    strict = convert(content, format=form, duplicate_keys="reject")
    assert [(r.reason, r.detail, r.position.item) for r in strict.rejected] == [("duplicate_key", "'a' comes twice", 0)]
    assert strict.data == [{"x": {"a": 3}, "y": [{"b": 100.0}]}]


def test_json_lines_are_recognised_by_the_first_two() -> None:
    assert convert('{"a": 1}\n{"a": 2}\n').data == [{"a": 1}, {"a": 2}]
    assert convert('{"a": 1}\n\n').outcome is Outcome.UNRECOGNISED
    assert convert('{"a": 1}\n', format="jsonl").data == [{"a": 1}]


def test_bad_lines_are_rejected_one_by_one() -> None:
    content = '{"a": 1.25}\n\nnonsense\n{"a": NaN}\n{"a": 2}\n[1e999]\n' + "[" * 5000 + "\n"
    result = convert(content, format="jsonl")
    assert result.data == [{"a": 1.25}, {"a": 2}]
    assert [(r.reason, r.position.item, r.raw[:10]) for r in result.rejected] == [
        ("unreadable", 2, "nonsense"),
        ("unreadable", 3, '{"a": NaN}'),
        ("invalid", 5, ""),
        ("too_deep", 6, "[" * 10),
    ]
    assert result.accounting.ignored == {"blank": 1}
    assert result.outcome is Outcome.CONVERTED


def test_a_line_that_is_too_long_is_skipped_to_its_end() -> None:
    long = '{"a": "' + "x" * (2 * LINE_BYTES) + '"}'
    result = convert(f'{{"a": 1}}\n{long}\n{{"a": 2}}\n', format="jsonl")
    assert result.data == [{"a": 1}, {"a": 2}]
    assert [(r.reason, r.position.item) for r in result.rejected] == [("too_large", 1)]


def test_progress_is_told_in_bytes() -> None:
    result = convert(json.dumps([{"n": n} for n in range(2500)]))
    progress = [item for item in result.items if isinstance(item, Progress)]
    assert len(progress) == 2
    assert 0 < progress[0].done <= (progress[0].total or 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"item": "x"}, "option: unknown key 'item'; valid: format, items,"),
        ({"format": "xml"}, "format: 'xml' is not valid; valid: json, jsonl"),
        ({"items": "a..b"}, "items: 'a..b' is not a path"),
        ({"items": 3}, "items: 3 is not a path"),
        ({"dataset": "shop.prize"}, "dataset: 'shop.prize' is not installed; installed: "),
        ({"dataset": "shop.price"}, "key: shop.price needs the path"),
        ({"key": {"a": 1}}, "key: must be a path, or a list of paths"),
        ({"key": [""]}, "key: '' is not a path"),
        ({"fields": ["a"]}, "fields: must name each field"),
        ({"fields": {"a": 1}}, "fields.a: must be a path, or have the keys"),
        ({"fields": {"a": {}}}, "fields.a: must have either path or const"),
        ({"fields": {"a": {"path": "x", "const": 1}}}, "fields.a: must have either path or const"),
        ({"fields": {"a": {"path": "x", "typ": 1}}}, "fields.a: unknown key 'typ'; valid: path,"),
        ({"fields": {"a": {"path": "x", "type": "money"}}}, "fields.a.type: 'money' is not valid; valid: any,"),
        ({"fields": {"a": {"path": "x", "required": 1}}}, "fields.a.required: must be true or false"),
        ({"fields": {"a": {"path": "x", "zone": "Pest"}}}, "fields.a.zone: 'Pest' is not a time zone"),
        ({"valid_from": 3}, "valid_from: must be the path of a time"),
        ({"valid_from": {"zone": "UTC"}}, "valid_from: must be the path of a time"),
        ({"format": "jsonl", "items": "a.item"}, "JSON lines have one item a line"),
        ({"duplicate_keys": "first"}, "duplicate_keys: 'first' is not valid; valid: last, reject"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_wrong_options_are_explained(options: dict[str, Any], sentence: str) -> None:
    error = JsonConverter().options_error(options)
    assert error is not None
    assert sentence in error


def test_the_converter_conforms(tmp_path: Path) -> None:
    whole, lines = tmp_path / "whole.json", tmp_path / "lines.jsonl"
    whole.write_text(json.dumps([{"id": n, "price": n / 3, "tags": ["a", None]} for n in range(50)] + ["odd", {}]))
    lines.write_text("".join(json.dumps({"id": n}) + "\n" for n in range(50)) + "\nodd\n")
    assert_conforms(JsonConverter(), [whole, lines], {"key": "id"})
    assert_conforms(JsonConverter(), [whole], {"duplicate_keys": "reject"})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.unmeasured
@given(st.lists(st.dictionaries(st.text(), values, max_size=5), max_size=8))
def test_every_item_of_a_valid_document_arrives_as_it_is(items: list[dict[str, Any]]) -> None:
    for content in (json.dumps(items), json.dumps(items, ensure_ascii=False, indent=1)):
        assert convert(content).data == items


@pytest.mark.unmeasured
@given(st.lists(st.dictionaries(st.text(), values, max_size=5), min_size=2, max_size=8))
def test_every_line_of_valid_json_lines_arrives_as_it_is(items: list[dict[str, Any]]) -> None:
    assert convert("\n".join(map(json.dumps, items))).data == items


@pytest.mark.unmeasured
@given(st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), min_size=1, max_size=5), st.data())
def test_a_document_cut_anywhere_is_never_called_complete(items: list[dict[str, Any]], data: st.DataObject) -> None:
    content = json.dumps(items).encode()
    end = data.draw(st.integers(1, len(content) - 1))
    result = convert(content[:end], format="json")
    assert result.outcome in (Outcome.INCOMPLETE, Outcome.TRUNCATED)
    assert result.data == items[: len(result.data)]


@pytest.mark.unmeasured
@given(st.binary(max_size=200))
@example(b"[1]\xff")
@example(b'{"":0}\n[')
def test_any_bytes_give_items_or_a_refusal_and_the_same_again(content: bytes) -> None:
    first, second = convert(content), convert(content)
    assert first.items == second.items
    assert first.outcome is second.outcome
