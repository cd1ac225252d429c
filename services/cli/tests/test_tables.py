"""Tables for people: in the width there is, a row on each line."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tidemill.cli.tables import GAP, UNLIMITED, Column, fit

NAMES = ("id", "name", "remark", "count")
CELLS = st.lists(st.tuples(*[st.text(max_size=60)] * len(NAMES)), max_size=5)


def test_columns_without_room_are_left_out_by_what_matters_and_named() -> None:
    columns = [Column(name) for name in NAMES]
    rows = [["1" * 30, "n" * 18, "r" * 30, "7"]]
    fitted = fit(columns, rows, 40, important=("name", "count"))
    assert (fitted.head, fitted.lines) == ("name                count", ["n" * 18 + "  7"])
    assert fitted.left_out == ["id", "remark"]
    assert fit(columns, rows, 79, important=("name", "count")).left_out == []


def test_room_that_is_left_goes_to_what_matters() -> None:
    fitted = fit([Column("a"), Column("b")], [["a" * 30, "b" * 30]], 50, important=("b",))
    assert fitted.lines == ["a" * 17 + "…  " + "b" * 30]


def test_what_somebody_copies_is_never_cut() -> None:
    fitted = fit([Column("id", whole=True), Column("b")], [["i" * 100, "b"]], 80)
    assert (fitted.lines, fitted.left_out) == (["i" * 100], ["b"])


def test_numbers_stand_below_each_other() -> None:
    assert fit([Column("n", right=True)], [["1"], ["1,000"]], 80).lines == ["    1", "1,000"]


@given(CELLS, st.integers(1, 200))
def test_a_row_is_one_line_that_no_letter_leaves(rows: list[tuple[str, ...]], width: int) -> None:
    fitted = fit([Column(name) for name in NAMES], rows, width)
    assert len(fitted.lines) == len(rows)
    for line in fitted.lines:
        assert line.isprintable()
        assert cell_len(line) <= max(width, 40)
    assert set(fitted.head.split()).isdisjoint(fitted.left_out)


@given(CELLS)
def test_where_there_is_room_for_everything_nothing_is_missing(rows: list[tuple[str, ...]]) -> None:
    fitted = fit([Column(name, most=100) for name in NAMES], rows, UNLIMITED)
    assert fitted.left_out == []
    for line, row in zip(fitted.lines, rows, strict=True):
        shown = ["".join(letter if letter.isprintable() else " " for letter in cell) for cell in row]
        assert [part for part in line.split() if part] == " ".join(shown).split()
    assert GAP == 2
