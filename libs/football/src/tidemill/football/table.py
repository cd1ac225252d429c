"""The offer on one page: rows and headings in reading order, from the places of its words."""

from collections.abc import Callable, Sequence
from itertools import chain, takewhile

from tidemill.football.anchors import Anchor, find_anchors
from tidemill.football.blocks import Block, RowWords, find_blocks
from tidemill.football.cells import cut
from tidemill.football.columns import Columns, learn_columns
from tidemill.football.dates import parse_day_heading
from tidemill.football.glyphs import Box
from tidemill.football.headings import names_a_sport, parse_heading, without_page_reference
from tidemill.football.rows import Line, Row
from tidemill.football.words import Word, box_of, lines_of, phrases_of, text_of
from tidemill.football.wraps import Alignment, settle

_WRAPPED_HEADING = 1.7
"""The second line of a heading is at most so many heights below the first; a row or another heading is further."""


class TableReader:
    """Reads the pages of one document in order; what a page does not tell is taken from those before it."""

    def __init__(self) -> None:
        self._columns: Columns | None = None
        self._alignment = Alignment.TOP
        self._origins: list[float] = []
        self._event = ""

    def read(self, words: Sequence[Word], place: Callable[[Box], Box]) -> list[Row | Line]:
        """The rows and lines of a page's table, column of rows after column of rows; empty for a page without one.

        `words` are whole words, from top to bottom; `place` tells where a box lies on the un-rotated page.
        """
        anchors, boxed = find_anchors(words)
        day = _opening_day(words, anchors)
        read = {id(word) for word in chain(day, *boxed)}
        blocks = find_blocks([word for word in words if id(word) not in read], anchors, self._origins)
        items: list[Row | Line] = [_boxed_row(anchor, place) for anchor in boxed]
        if day:
            items.append(Line(place(box_of(day)), text_of(day)))
        if blocks:
            self._origins = [block.origin for block in blocks]
            self._columns = learn_columns(blocks, self._columns)
            self._alignment = settle(blocks, self._columns, self._alignment)
            for block in blocks:
                items.extend(_in_order(block, self._columns, self._event, place))
                self._event = next((item.event for item in reversed(items) if isinstance(item, Row)), "")
        return items


def _opening_day(words: Sequence[Word], anchors: Sequence[Anchor]) -> list[Word]:
    """The words of a day heading alone above all rows, on its line and beside it: it holds for the whole page."""
    highest = min((anchor.serial.top - anchor.serial.height for anchor in anchors), default=0.0)
    above = list(takewhile(lambda word: word.middle < highest, words))
    for line in lines_of(above):
        if parse_day_heading(text_of(line)):
            beside = sum(abs(word.middle - line[0].middle) < line[0].height for word in above)
            return line if beside == len(line) and len(phrases_of(line)) == 1 else []
    return []


def _in_order(block: Block, columns: Columns, last_event: str, place: Callable[[Box], Box]) -> list[Row | Line]:
    stack: list[tuple[float, RowWords | list[Word]]] = [(row.middle, row) for row in block.rows]
    stack += [(line[0].middle, line) for line in block.loose]
    items: list[Row | Line] = []
    heading_ends = 0.0
    for middle, item in sorted(stack, key=lambda pair: pair[0]):
        if isinstance(item, RowWords):
            row = cut(item, block.origin, columns, last_event, place)
            last_event = row.event
            items.append(row)
            heading_ends = 0.0
            continue
        line = Line(place(box_of(item)), text_of(item))
        last = items[-1] if items else None
        if isinstance(last, Line) and middle < heading_ends and _may_end_a_heading(line.text):
            items[-1] = Line(last.box, f"{without_page_reference(last.text)} {line.text}")
            continue
        items.append(line)
        heading_ends = middle + _WRAPPED_HEADING * item[0].height if parse_heading(line.text) else 0.0
    return items


def _may_end_a_heading(text: str) -> bool:
    """No league follows a league without a row between them; `Eb, női, rájátszás` only looks like one."""
    is_tail = parse_heading(text) is None or not (parse_day_heading(text) or names_a_sport(text))
    return is_tail and " - " not in text


def _boxed_row(anchor: Anchor, place: Callable[[Box], Box]) -> Row:
    serial, time = anchor
    return Row(place(box_of(anchor)), f"{time.text} {serial.text}", time=time.text, serial=serial.text, boxed=True)
