"""Figures and texts as people read them."""

import pytest

from tidemill.reporter.renderings.figures import counted, figure
from tidemill.reporter.renderings.sheets import sheet_names
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.table import Value, ValueType


@pytest.mark.parametrize(
    ("value", "type", "unit", "shown"),
    [
        (None, "integer", "", "–"),
        (1234567, "integer", "", "1,234,567"),
        (212.78, "integer", "", "212.8"),
        (-3, "integer", "pages", "-3 pages"),
        (1.07, "decimal", "", "1.07"),
        (12.0, "decimal", "", "12"),
        (7057.206, "decimal", "EUR/m²", "7,057.2 EUR/m²"),
        (600.0, "decimal", "", "600"),
        (0.00012, "decimal", "", "0.00012"),
        (0.953, "percent", "", "95.3 %"),
        (1.0, "percent", "", "100 %"),
        (-0.0004, "percent", "", "0 %"),
        (5200.5, "money", "EUR/m²", "5,200.50 EUR/m²"),
        (4480.0, "money", "EUR", "4,480 EUR"),
        (0.25, "duration", "", "0.25 s"),
        (59.7, "duration", "", "1 min 00 s"),
        (2210.4, "duration", "", "36 min 50 s"),
        (-7500.0, "duration", "", "-2 h 05 min"),
        (200_000.0, "duration", "", "2 d 7 h"),
        (0, "bytes", "", "0 B"),
        (999_600, "bytes", "", "1 MB"),
        (1_234_567, "bytes", "", "1.23 MB"),
        (5 * 10**15, "bytes", "", "5,000 TB"),
        ("2026-11-28", "date", "", "2026-11-28"),
        ("2026-11-28T23:30:00Z", "time", "", "2026-11-29 00:30"),
        ("a\x00b", "text", "", "a␀b"),
    ],
)
def test_a_figure_is_shown_as_people_write_it(value: Value, type: ValueType, unit: str, shown: str) -> None:
    assert figure(value, type, unit, "Europe/Budapest") == shown


def test_what_is_counted_agrees_with_its_number() -> None:
    assert [counted(n, "query", "queries") for n in (0, 1, 2)] == ["0 queries", "1 query", "2 queries"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bell\x07\x7f", "bell␇␡"),
        ("one\r\n two\tthree", "one  two three"),
        ("\u202eevil\u202c", "�evil�"),
        ("👩‍👩‍👧 مرحبا", "👩‍👩‍👧 مرحبا"),
    ],
)
def test_no_character_acts_on_the_page(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_text_is_cut_visibly() -> None:
    assert (shortened("abcdef", 4), shortened("abcd", 4)) == ("abc…", "abcd")


def test_sheets_have_the_names_that_excel_takes() -> None:
    long = "A title that is much too long for a sheet"
    names = sheet_names(["What changed", "what CHANGED", "a/b:c", "", "'x'", "History", long, long, "🏟️" * 20])
    assert names[:6] == ["What changed", "what CHANGED 2", "a b c", "Table", "x", "History 2"]
    assert names[6:8] == ["A title that is mu… for a sheet", "A title that is… for a sheet 2"]
    assert sheet_names(["Odds of matches, one record per row by city"]) == ["Odds of matche… per row by city"]
    assert len(set(names)) == len(names)
    assert all(len(name.encode("utf-16-le")) <= 62 for name in names)
