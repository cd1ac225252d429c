"""What a column of the printed offer holds, from top to bottom: rows, and lines that are none."""

from dataclasses import dataclass

from tidemill.football.glyphs import Box


@dataclass(frozen=True, slots=True)
class Price:
    """A price and the outcome column (H, D or V) it stands in."""

    column: str
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """One printed row, cell by cell; an empty cell is an empty string."""

    box: Box
    raw: str
    day: str = ""
    time: str = ""
    serial: str = ""
    mark: str = ""
    """The `M.k.` cell."""
    event: str = ""
    overrun: str = ""
    """What may as well be the market in a text that fills both cells, by the edge between them."""
    market: str = ""
    kim: str = ""
    prices: tuple[Price, ...] = ()
    boxed: bool = False
    """In a box of its own that repeats a row of the table (`szuper odds`)."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a column that is no row: a heading, or something the offer does not concern."""

    box: Box
    text: str
