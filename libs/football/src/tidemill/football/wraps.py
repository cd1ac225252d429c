"""Lines between rows: which belong to a wrapped cell, and which stand for themselves."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from tidemill.football.anchors import PRICE
from tidemill.football.blocks import Block, RowWords
from tidemill.football.cells import texts
from tidemill.football.columns import Columns, TextColumns
from tidemill.football.headings import names_a_sport, parse_heading
from tidemill.football.spelling import fold
from tidemill.football.words import Word, phrases_of, text_of

_MOST_LINES = 5
"""Of one cell."""
_REACH = 2.2
"""The next line of a cell is at most so many heights away from the last."""
_SAME_TYPE = 0.2
"""The lines of a cell are set in one size; titles and folios are larger."""
_NOTES = ("rovidites", "megjegyzes", "ezt a fogadasi ajanlat")
"""How the notes below the last row of the offer begin."""


class Alignment(Enum):
    """How the one-line cells of a row stand beside a wrapped one."""

    TOP = "top"
    MIDDLE = "middle"
    BOTTOM = "bottom"


@dataclass(eq=False, slots=True)
class _Loose:
    """A line without an anchor."""

    words: list[Word]
    middle: float
    height: float
    may_continue: bool


_Item = RowWords | _Loose
_Owners = dict[int, RowWords]
"""Row by the identity of the line it owns."""


def settle(blocks: Sequence[Block], columns: Columns, usual: Alignment) -> Alignment:
    """Move the further lines of wrapped cells from the blocks' loose lines to their rows; return the alignment found.

    Of the ways in which a table may be set, the one is taken under which the cells read right.
    """
    stacks = [(block, _stack(block, columns)) for block in blocks if block.loose]
    stacks = [(block, stack) for block, stack in stacks if any(isinstance(i, _Loose) and i.may_continue for i in stack)]
    best, lowest = usual, _cost(stacks, columns, usual)
    for alignment in Alignment:
        if lowest and alignment is not usual:
            cost = _cost(stacks, columns, alignment)
            if cost < lowest:
                best, lowest = alignment, cost
    for block, stack in stacks:
        owners = _owners(stack, best)
        for line in block.loose:
            if id(line) in owners:
                owners[id(line)].tail.extend(line)
        block.loose = [line for line in block.loose if id(line) not in owners]
    return best


def _stack(block: Block, columns: Columns) -> list[_Item]:
    """Rows and loose lines of a block, from top to bottom."""
    size = _size_of_type(block)
    lines = [
        _Loose(line, line[0].middle, line[0].height, _may_continue(block, line, columns, size)) for line in block.loose
    ]
    stack: list[_Item] = sorted([*block.rows, *lines], key=lambda item: item.middle)
    for above, line, below in zip(stack, stack[1:], stack[2:], strict=False):
        if isinstance(above, _Loose) and isinstance(line, _Loose) and _ends_a_heading(above, line, below):
            line.may_continue = False
    return stack


def _ends_a_heading(above: _Loose, line: _Loose, below: _Item) -> bool:
    """Whether a line is the second one of a heading: it is nearer to that than to what comes next."""
    nearer = line.middle - above.middle < below.middle - line.middle - 0.02 * line.height
    is_heading = not above.may_continue and parse_heading(text_of(above.words)) is not None
    return nearer and is_heading and all(word.text != "-" for word in line.words)


def _size_of_type(block: Block) -> float:
    """Of most events and markets."""
    heights = [phrase[0].height for row in block.rows for phrase in row.phrases]
    return median(heights) if heights else block.rows[0].height


def _may_continue(block: Block, line: list[Word], columns: Columns, size: float) -> bool:
    left, height = line[0].left - block.origin, line[0].height
    if left < columns.texts.begin - height or any(PRICE.fullmatch(word.text) for word in line):
        return False
    if abs(height - size) > _SAME_TYPE * size or _crosses_cells(line, block.origin, columns.texts):
        return False
    text = text_of(line)
    if fold(text).startswith(_NOTES):
        return False
    if parse_heading(text) is None:
        return True
    at_market = columns.texts.market is not None and abs(left - columns.texts.market) < 0.2 * height
    return at_market and not names_a_sport(text)


def _crosses_cells(line: Sequence[Word], origin: float, columns: TextColumns) -> bool:
    """Whether a text begins in the first cell and runs on into the second: no cell is as wide, a notice is."""
    if columns.market is None or columns.divide is not None:
        return False
    edge, height = origin + max(columns.event, columns.market), line[0].height
    if any(abs(word.left - edge) < 0.2 * height for word in line):
        return False
    return any(phrase[0].left < edge - height and phrase[-1].right > edge + height for phrase in phrases_of(line))


def _owners(stack: Sequence[_Item], alignment: Alignment) -> _Owners:
    owners: _Owners = {}
    for index, item in enumerate(stack):
        if isinstance(item, _Loose) and item.may_continue:
            row = _owner(stack, index, item, alignment)
            if row:
                owners[id(item.words)] = row
    return owners


def _owner(stack: Sequence[_Item], index: int, item: _Loose, alignment: Alignment) -> RowWords | None:
    above = _next_row(stack, index, -1) if alignment is not Alignment.BOTTOM else None
    below = _next_row(stack, index, 1) if alignment is not Alignment.TOP else None
    if above and below:
        return above if item.middle - above.middle <= below.middle - item.middle else below
    return above or below


def _next_row(stack: Sequence[_Item], index: int, step: int) -> RowWords | None:
    """The row that is reached from a line in a few steps, without a jump and without passing a heading."""
    for _ in range(_MOST_LINES):
        if not 0 <= index + step < len(stack):
            return None
        here, there = stack[index], stack[index + step]
        if abs(there.middle - here.middle) > _REACH * here.height:
            return None
        if isinstance(there, RowWords):
            return there
        if not there.may_continue:
            return None
        index += step
    return None


def _cost(stacks: Sequence[tuple[Block, list[_Item]]], columns: Columns, alignment: Alignment) -> int:
    """How many cells beside loose lines read wrong under an alignment."""
    cost = 0
    for block, stack in stacks:
        tails: dict[int, list[Word]] = defaultdict(list)
        for index, item in enumerate(stack):
            if isinstance(item, _Loose) and item.may_continue:
                row = _owner(stack, index, item, alignment)
                cost += row is None
                if row:
                    tails[id(row)].extend(item.words)
        for row in _beside(stack):
            event, market = texts(row, tails.get(id(row), []), block.origin, columns)
            cost += _misreads(market) + (" - " not in event)
    return cost


def _beside(stack: Sequence[_Item]) -> list[RowWords]:
    near = {index + step for index, item in enumerate(stack) if isinstance(item, _Loose) for step in (-1, 1)}
    return [item for index, item in enumerate(stack) if index in near and isinstance(item, RowWords)]


def _misreads(market: str) -> bool:
    is_cut = market[:1] in {"(", ")", "+", "/"} or market[:1].islower() or market[-1:] in {"+", "/", ","}
    return is_cut or market.count("(") != market.count(")")
