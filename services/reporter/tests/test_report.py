"""The report model: one JSON form, both ways."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from pydantic import ValidationError

from tidemill.reporter.report import (
    ColumnOf,
    Correction,
    Freshness,
    Point,
    Report,
    Series,
    Table,
    Trust,
    ValueType,
    json_schema,
)

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "report.schema.json"
DAY = date(2025, 6, 17)


def report(**given: Any) -> Report:
    return Report.model_validate(
        {
            "kind": "day",
            "subject": DAY.isoformat(),
            "day": DAY,
            "zone": "Europe/Budapest",
            "made_from": "9f86d081",
            "summary": "Nothing new.",
            "complete": True,
            "trust": {"verdict": "trusted"},
            **given,
        }
    )


def column(type: ValueType) -> Table:
    return Table(title="Values", columns=(ColumnOf(name="value", title="Value", type=type),))


def kept(type: ValueType, value: Any) -> Any:
    return Table.model_validate({**column(type).model_dump(), "rows": [[value]]}).rows[0][0]


def test_a_report_comes_back_from_its_json_as_it_was() -> None:
    moment = datetime(2025, 6, 17, 21, 30, tzinfo=ZoneInfo("Europe/Budapest"))
    table = Table.model_validate({**column("money").model_dump(), "rows": [[Decimal("3.10")], [None]]})
    made = report(
        breakdowns=(table,),
        trust=Trust(verdict="doubtful", freshness=(Freshness(name="a", newest=moment),)),
        series=(Series(name="new", labels={"b": "2", "a": "1"}, points=(Point(day=DAY, value=3),)),),
        corrections=(Correction(where="Changes", name="new", type="integer", before=1, after=None),),
    )
    content = made.canonical_json()
    again = Report.from_json(content)
    assert again == made
    assert again.canonical_json() == content


def test_the_order_of_labels_and_the_kind_of_number_make_no_other_bytes() -> None:
    first = report(series=(Series(name="n", labels={"a": "1", "b": "2"}, points=(Point(day=DAY, value=3),)),))
    other = report(series=(Series(name="n", labels={"b": "2", "a": "1"}, points=(Point(day=DAY, value=3.0),)),))
    assert first.canonical_json() == other.canonical_json()


@pytest.mark.parametrize(
    ("type", "given", "expected"),
    [
        ("text", "a", "a"),
        ("integer", Decimal(3), 3),
        ("decimal", 3, 3.0),
        ("money", Decimal("3.10"), 3.1),
        ("percent", -0.0, 0.0),
        ("date", DAY, "2025-06-17"),
        ("time", datetime(2025, 6, 17, 4, tzinfo=UTC), "2025-06-17T04:00:00Z"),
        ("time", "2025-06-17T06:00:00+02:00", "2025-06-17T04:00:00Z"),
        ("duration", timedelta(minutes=1), 60.0),
        ("bytes", 10, 10),
        ("bytes", None, None),
    ],
)
def test_a_value_is_kept_as_json_has_it(type: ValueType, given: Any, expected: Any) -> None:
    assert (kept(type, given), str(kept(type, given))) == (expected, str(expected))


@pytest.mark.parametrize(
    ("type", "given"),
    [
        ("text", 1),
        ("integer", 1.5),
        ("integer", True),
        ("integer", "1"),
        ("decimal", float("nan")),
        ("percent", "half"),
        ("money", Decimal("Infinity")),
        ("date", "17.06.2025"),
        ("date", datetime(2025, 6, 17, tzinfo=UTC)),
        ("time", datetime(2025, 6, 17)),  # noqa: DTZ001 - A time without a zone is what is refused.
        ("duration", "long"),
        ("bytes", float("inf")),
    ],
)
def test_what_does_not_suit_its_column_is_refused(type: ValueType, given: Any) -> None:
    with pytest.raises(ValidationError, match=f"is no {type}"):
        kept(type, given)


def test_a_row_has_as_many_values_as_there_are_columns() -> None:
    with pytest.raises(ValidationError, match="a row of 2 values under 1 columns"):
        Table.model_validate({**column("text").model_dump(), "rows": [["a", "b"]]})


def test_a_report_on_a_day_names_that_day() -> None:
    with pytest.raises(ValidationError, match="has it as its subject"):
        report(subject="2025-06-18")


def test_a_series_has_one_point_a_day_in_order() -> None:
    with pytest.raises(ValidationError, match="one a day, in order"):
        Series(name="new", points=(Point(day=DAY), Point(day=DAY)))


@pytest.mark.parametrize(
    ("age", "limit", "stale"), [(10, 20, False), (30, 20, True), (30, None, False), (None, 20, False)]
)
def test_what_is_older_than_its_limit_is_stale(age: float | None, limit: float | None, stale: bool) -> None:
    newest = datetime(2025, 6, 17, tzinfo=UTC)
    assert Freshness(name="a", newest=newest, age_seconds=age, limit_seconds=limit).stale is stale


def test_a_dataset_without_anything_is_stale() -> None:
    assert Freshness(name="a", newest=None).stale


def test_the_schema_in_docs_is_what_the_model_says() -> None:
    expected = "renew it: python -m tidemill.reporter.report > docs/schema/report.schema.json"
    assert SCHEMA.read_text(encoding="utf-8") == json_schema(), expected
    assert "Report" in orjson.loads(json_schema())["title"]
