import io
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.converter import frames
from tidemill.plugin import Accounting, Described, Position, Record, Rejected

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
positions = st.builds(
    Position,
    st.none() | st.integers(1, 99),
    st.none() | st.tuples(numbers, numbers, numbers, numbers),
    st.none() | st.integers(0, 99),
)
records = st.builds(
    Record,
    dataset=texts,
    key=texts,
    data=st.dictionaries(texts, values, max_size=4),
    position=positions,
    valid_from=st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    parent=st.none() | st.tuples(texts, texts),
    raw=texts,
    quality=st.floats(0, 1),
)
rows = st.builds(Rejected, texts, texts, texts, positions)


@given(records)
def test_a_record_crosses_the_pipe_as_it_is(record: Record) -> None:
    assert frames.decode_record(orjson.loads(frames.encode_record(record))) == record


@given(rows)
def test_a_rejected_row_crosses_the_pipe_as_it_is(row: Rejected) -> None:
    assert frames.decode_rejected(orjson.loads(frames.encode_rejected(row))) == row


@given(st.lists(records, max_size=3), st.lists(rows, max_size=3))
def test_a_part_holds_what_was_put_into_it(some: list[Record], others: list[Rejected]) -> None:
    part = orjson.loads(
        frames.encode_part([frames.encode_record(one) for one in some], [frames.encode_rejected(one) for one in others])
    )
    assert [frames.decode_record(one) for one in part["records"]] == some
    assert [frames.decode_rejected(one) for one in part["rejected"]] == others


def test_what_a_document_says_of_itself_and_its_accounts_cross_the_pipe() -> None:
    described = Described(datetime(2025, 8, 15, tzinfo=UTC), 29, "Issue", {"issue": 65, "of": [1]})
    assert frames.decode_described(orjson.loads(frames.encode_described(described))["about"]) == described
    assert frames.decode_described(orjson.loads(frames.encode_described(Described()))["about"]) == Described()
    account = Accounting(3, 5, 3, 1, {"blank": 1})
    tally = orjson.loads(frames.encode_tally([account], ["careful"], 3, {"no_key": 1}))
    assert frames.decode_accounting(tally["accounting"][0]) == account
    assert (tally["warnings"], tally["records"], tally["rejected"]) == (["careful"], 3, {"no_key": 1})


def test_a_job_crosses_the_pipe() -> None:
    job = frames.Job("/x", "0" * 64, 5, "x.pdf", datetime(2025, 1, 1, tzinfo=UTC), "a:B", "s", {"k": [1]}, pages=3)
    assert frames.decode_job(orjson.loads(frames.encode_job(job))["job"]) == job


def test_frames_follow_one_another_and_end_with_the_pipe() -> None:
    pipe = io.BytesIO()
    frames.write_frame(pipe, b"[1]")
    frames.write_frame(pipe, b"{}")
    pipe.seek(0)
    assert [frames.read_frame(pipe) for _ in range(3)] == [[1], {}, None]


def test_any_mapping_may_be_data() -> None:
    record = Record("a.b", "k", MappingProxyType({"x": MappingProxyType({"y": 1})}))
    assert frames.decode_record(orjson.loads(frames.encode_record(record))).data == {"x": {"y": 1}}


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        ({"a": "\x00"}, {"a": "\ufffd"}),
        ({"\x00": ["x\ud800y"]}, {"\ufffd": ["x\ufffdy"]}),
        ({"a": "\\u0000"}, {"a": "\\u0000"}),
        ({"a": "\\\x00"}, {"a": "\\\ufffd"}),
    ],
)
def test_texts_that_no_database_holds_are_made_storable(data: dict[str, Any], stored: dict[str, Any]) -> None:
    assert frames.decode_record(orjson.loads(frames.encode_record(Record("a.b", "k", data)))).data == stored


@pytest.mark.parametrize(
    "item",
    [
        Record("a.b", "k", {"x": object()}),
        Record("a.b", "k", {"x": 2**64}),
        Record("a.b", "k", {1: 2}),  # type: ignore[dict-item]
        Record("a.b", "k", {"x": "y" * frames.ITEM_BYTES}),
        Record("a.b", "k", {}, valid_from=datetime(2025, 1, 1)),  # noqa: DTZ001
    ],
)
def test_what_is_not_json_or_too_large_is_refused_by_name(item: Record) -> None:
    with pytest.raises(frames.Unsendable, match="record 'k'"):
        frames.encode_record(item)
