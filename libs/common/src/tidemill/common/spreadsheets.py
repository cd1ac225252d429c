"""What spreadsheet programs can hold, and what they must not be handed as it is."""

from datetime import date, datetime

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A text that begins so is a formula to a spreadsheet, which may run it."""
SHEET_ROWS = 1_048_576
CELL_LETTERS = 32_767
EXACT_INTEGER = 2**53
"""Excel's numbers are floats."""
EXCEL_BEGINS = date(1900, 3, 1)
"""Before this day its calendar has a leap day too many."""


def harmless(text: str) -> str:
    """With a `'` before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def in_excels_calendar(value: date) -> bool:
    day = value.date() if isinstance(value, datetime) else value
    return day >= EXCEL_BEGINS
