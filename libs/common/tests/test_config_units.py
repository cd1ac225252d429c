from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tidemill.common.config import ByteSize, Duration, duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("2s", timedelta(seconds=2)),
        ("1.5h", timedelta(minutes=90)),
        (" 5 m ", timedelta(minutes=5)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta(0)),
    ],
)
def test_a_length_of_time_is_read_with_its_unit(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("1B", 1), ("64KB", 64_000), ("512mb", 512_000_000), ("1GiB", 2**30), ("1.5 KiB", 1536)]
)
def test_an_amount_of_bytes_is_read_with_its_unit(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-2s", "1h30m", "s", "2S", "١s", "nan s", "1e3s"])
def test_a_length_of_time_in_another_form_is_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="500ms, 2s, 5m, 1h or 7d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "5M", "-1KB", "KB", "1 XB", "0x1B"])
def test_an_amount_of_bytes_in_another_form_is_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="64KB, 512MB"):
        parse_size(text)


def test_a_length_of_time_beyond_all_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than time"):
        parse_duration("9" * 30 + "d")


@given(st.integers(0, 10**12))
def test_a_length_of_time_survives_writing_and_reading(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(duration_text(value)) == value


@given(st.integers(0, 2**60))
def test_an_amount_of_bytes_survives_writing_and_reading(size: int) -> None:
    assert parse_size(size_text(size)) == size


def test_the_shortest_whole_form_is_written() -> None:
    assert [duration_text(timedelta(seconds=s)) for s in (90, 300, 86400, 0.25, 0)] == [
        "90s",
        "5m",
        "1d",
        "250ms",
        "0s",
    ]
    assert [size_text(size) for size in (0, 1, 1234, 200_000_000, 2**30)] == ["0B", "1B", "1234B", "200MB", "1GiB"]


@pytest.mark.parametrize("value", [5, 2.5, 0])
def test_a_bare_number_is_refused_with_the_form_to_write(value: float) -> None:
    with pytest.raises(ValidationError, match=rf"{value} has no unit; write a number and its unit: 500ms"):
        TypeAdapter(Duration).validate_python(value)
    with pytest.raises(ValidationError, match=rf"{value} has no unit; write a number and its unit: 512B"):
        TypeAdapter(ByteSize).validate_python(value)


def test_true_is_no_amount_of_anything() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(True, strict=True)
    with pytest.raises(ValidationError):
        TypeAdapter(ByteSize).validate_python(True, strict=True)
