"""A row, cut into its cells."""

from collections.abc import Callable, Sequence
from itertools import chain

from tidemill.football.anchors import DAYS, KIM, TIME
from tidemill.football.blocks import RowWords
from tidemill.football.columns import OUTCOMES, Columns, TextColumns
from tidemill.football.fixtures import parse_event
from tidemill.football.glyphs import Box
from tidemill.football.rows import Price, Row
from tidemill.football.words import Word, box_of, lines_of, phrases_of, text_of


def cut(row: RowWords, origin: float, columns: Columns, last_event: str, place: Callable[[Box], Box]) -> Row:
    """A row, cell by cell; `last_event` is that of the row before, and `place` puts its box on the page."""
    prices = _prices(row, origin, columns)
    kim = _kim(row, origin, columns) if len(prices) == 1 else None
    time = TIME.fullmatch(row.time.text) if row.time else None
    event, market, mark = _cells(row, row.tail, kim, origin, columns)
    mark += [row.mark] if row.mark else []
    day = row.day
    if day is None and time and not time[1]:  # Every row has its day, which stands here if nowhere else.
        day = next((word for word in (*mark, *event[:1]) if word.text in DAYS), None)
        mark, event = ([word for word in words if word is not day] for words in (mark, event))
    overrun = _overrun(event, market, origin, columns.texts, row.height)
    if overrun:
        rest = [word for word in (*event, *market) if word not in overrun]
        if _is_same_event(text_of(rest), last_event):
            event, market, overrun = rest, [word for word in (*event, *market) if word in overrun], []
    anchor = [word for word in (row.time, row.serial) if word]
    everything = [*anchor, *row.words, *row.tail]
    return Row(
        box=place(box_of(everything)),
        raw=text_of(everything),
        day=day.text.rstrip(".") if day else (time[1] or "" if time else ""),
        time=time[2] if time else "",
        serial=row.serial.text if row.serial else "",
        mark=text_of(mark),
        event=text_of(event),
        overrun=text_of(overrun),
        market=text_of(market),
        kim=kim.text if kim else "",
        prices=tuple(
            Price(outcome, float(prices[outcome].text.replace(",", "."))) for outcome in OUTCOMES if outcome in prices
        ),
    )


def texts(row: RowWords, tail: Sequence[Word], origin: float, columns: Columns) -> tuple[str, str]:
    """Event and market of a row if the words of `tail` belonged to it."""
    kim = _kim(row, origin, columns) if len(row.prices) == 1 else None
    event, market, _ = _cells(row, tail, kim, origin, columns)
    return text_of(event), text_of(market)


def _prices(row: RowWords, origin: float, columns: Columns) -> dict[str, Word]:
    """Each price in the nearest column, and one in each."""
    found: dict[str, tuple[float, Word]] = {}
    for word in row.prices:
        right, centre = word.right - origin, word.centre - origin
        distance, outcome = min([(column.distance(right, centre), column.outcome) for column in columns.prices])
        if distance < 5 * row.height and (outcome not in found or distance < found[outcome][0]):
            found[outcome] = distance, word
    return {outcome: word for outcome, (_, word) in found.items()}


def _kim(row: RowWords, origin: float, columns: Columns) -> Word | None:
    centre, reach = columns.kim, 1.2 * row.height
    if centre is None:
        return None
    words = [word for word in row.words if len(word.text) == 2 and KIM.fullmatch(word.text)]
    return next((word for word in reversed(words) if abs(word.centre - origin - centre) < reach), None)


def _cells(
    row: RowWords, tail: Sequence[Word], kim: Word | None, origin: float, columns: Columns
) -> tuple[list[Word], list[Word], list[Word]]:
    """The words of event, market and mark."""
    cells: tuple[list[Word], list[Word], list[Word]] = ([], [], [])
    lines = [row.phrases, *(phrases_of(line) for line in lines_of(tail))] if tail else [row.phrases]
    for phrase in chain.from_iterable(lines):
        words = [word for word in phrase if word is not kim] if kim else phrase
        if words and not (len(words) == 1 and columns.is_placeholder(words[0], origin)):
            _place(words, origin, columns.texts, row.height, cells)
    return cells


def _place(
    phrase: list[Word],
    origin: float,
    columns: TextColumns,
    height: float,
    cells: tuple[list[Word], list[Word], list[Word]],
) -> None:
    event, market, mark = cells
    left, tolerance = phrase[0].left - origin, 0.6 * height
    if len(phrase) > 1 and _begins_with_a_mark(phrase, origin + columns.begin, height):
        mark.append(phrase[0])
        _place(phrase[1:], origin, columns, height, cells)
    elif len(phrase) == 1 and len(phrase[0].text) <= 3 and left < columns.begin - tolerance:
        mark.extend(phrase)
    elif columns.market is None:
        event.extend(phrase)
    else:
        first, second = (event, market) if columns.event < columns.market else (market, event)
        edge = max(columns.event, columns.market)
        if columns.divide is not None:
            at = 0 if (phrase[0].left + phrase[-1].right) / 2 - origin > columns.divide else len(phrase)
        else:
            at = 0 if left >= edge - tolerance else _runs_over(phrase, origin + edge, height)
        first.extend(phrase[:at])
        second.extend(phrase[at:])


def _begins_with_a_mark(phrase: Sequence[Word], begin: float, height: float) -> bool:
    """Whether a short word stands before the edge of a cell so near that only the edge parts it from the text."""
    first, second = phrase[:2]
    return len(first.text) <= 3 and first.right < begin and abs(second.left - begin) < 0.2 * height


def _runs_over(phrase: list[Word], edge: float, height: float) -> int:
    """Where the next cell begins in a phrase: a text that fills its cell touches the next, which begins at its edge."""
    for index, word in enumerate(phrase[1:], 1):
        if abs(word.left - edge) < 0.1 * height and not word.chained:
            return index
    return len(phrase)


def _overrun(
    event: Sequence[Word], market: Sequence[Word], origin: float, columns: TextColumns, height: float
) -> list[Word]:
    """The market in texts of two cells that were set in one run: the second begins at the edge of its cell."""
    if columns.market is None or columns.divide is not None:
        return []
    edge = origin + max(columns.event, columns.market)
    first, second = (event, market) if columns.event < columns.market else (market, event)
    at = next((i for i, word in enumerate(first) if i and abs(word.left - edge) < 0.1 * height), len(first))
    if at == len(first):
        return []
    return [*first[at:], *second] if first is event else list(first[:at])


def _is_same_event(text: str, last: str) -> bool:
    event, known = parse_event(text), parse_event(last)
    return event is not None and known is not None and event.identity == known.identity
