"""Where the cells of a row begin, learnt from what the rows of a page have in common."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from statistics import median

from tidemill.football.anchors import KIM, TIME
from tidemill.football.blocks import Block, RowWords
from tidemill.football.fixtures import parse_event
from tidemill.football.rows import Price, Row
from tidemill.football.words import Word, box_of, lines_of, phrases_of, text_of

_OUTCOMES = ("H", "D", "V")


@dataclass(frozen=True, slots=True)
class PriceColumn:
    """One of the columns H, D and V: where its prices end, and where their middle is."""

    outcome: str
    right: float
    centre: float

    def distance(self, word: Word, origin: float) -> float:
        """Prices are set flush right, or centred: whichever it is, the other one varies little."""
        return abs(word.right - origin - self.right) + abs(word.centre - origin - self.centre)


@dataclass(frozen=True, slots=True)
class Columns:
    """The cells of a block, from the left edge of its serials."""

    prices: tuple[PriceColumn, ...]
    event: float
    """Left edge of the event text."""
    market: float | None
    """Left edge of the market text; None where no row has one."""
    kim: float | None
    """Centre of the outcome number."""
    mark: float | None
    """Centre of the `M.k.` cell."""

    @property
    def text_begins(self) -> float:
        return self.event if self.market is None else min(self.event, self.market)


def learn_columns(blocks: Sequence[Block], known: Columns | None) -> Columns:
    """The columns of a page's blocks, which are alike; what they do not tell is taken from an earlier page."""
    mark = next((b.head.mark for b in blocks if b.head.mark is not None), known.mark if known else None)
    for block in blocks:
        for row in block.rows:
            row.sort_out(None if mark is None else block.origin + mark)
    phrases = [
        (phrase, phrase[0].left - block.origin, row.height)
        for block in blocks
        for row in block.rows
        for phrase in row.phrases
    ]
    prices = _price_columns(blocks, known)
    kim = _kim_column(blocks, known)
    event = _event_edge(phrases, known)
    market = _market_edge(phrases, event, known)
    return Columns(prices, event, market, kim, mark)


def _price_columns(blocks: Sequence[Block], known: Columns | None) -> tuple[PriceColumn, ...]:
    labels = next((block.head.outcomes for block in blocks if block.head.outcomes), [])
    order = tuple(outcome for outcome, _ in labels) or (tuple(c.outcome for c in known.prices) if known else _OUTCOMES)
    full = [
        [(word.right - block.origin, word.centre - block.origin) for word in row.prices]
        for block in blocks
        for row in block.rows
        if len(row.prices) == len(_OUTCOMES)
    ]
    if full:
        return tuple(
            PriceColumn(outcome, median(row[k][0] for row in full), median(row[k][1] for row in full))
            for k, outcome in enumerate(order)
        )
    return known.prices if known else _sparse_price_columns(blocks, labels)


def _sparse_price_columns(blocks: Sequence[Block], labels: Sequence[tuple[str, float]]) -> tuple[PriceColumn, ...]:
    """The columns of a page without a row of three prices: the filled ones, named by the nearest labels in order."""
    groups: list[list[tuple[float, float]]] = []
    prices = [(w.right - b.origin, w.centre - b.origin, w.height) for b in blocks for r in b.rows for w in r.prices]
    for right, centre, height in sorted(prices):
        if groups and right - groups[-1][-1][0] < height:
            groups[-1].append((right, centre))
        else:
            groups.append([(right, centre)])
    found = [(median(right for right, _ in group), median(centre for _, centre in group)) for group in groups][:3]
    if not labels:
        names: tuple[str, ...] = {1: ("H",), 2: ("H", "V")}.get(len(found), _OUTCOMES)
    else:
        nearest = min(
            combinations(labels, len(found)),
            key=lambda chosen: sum(abs(x - c) for (_, x), (_, c) in zip(chosen, found, strict=True)),
        )
        names = tuple(outcome for outcome, _ in nearest)
    return tuple(PriceColumn(name, right, centre) for name, (right, centre) in zip(names, found, strict=True))


def _kim_column(blocks: Sequence[Block], known: Columns | None) -> float | None:
    label = next((block.head.kim for block in blocks if block.head.kim is not None), None)
    centres: Counter[int] = Counter()
    for block in blocks:
        for row in block.rows:
            if len(row.prices) == 1:
                centres.update({round(w.centre - block.origin) for w in row.words if KIM.fullmatch(w.text)})
    if centres and label is not None:
        return float(min(centres, key=lambda centre: abs(centre - label)))
    if centres and centres.most_common(1)[0][1] > 1:
        return float(centres.most_common(1)[0][0])
    return label if label is not None else known.kim if known else None


_Placed = tuple[list[Word], float, float]
"""A phrase, its left edge from the serials', and the height of its row."""


def _event_edge(phrases: Sequence[_Placed], known: Columns | None) -> float:
    """Where the texts begin that hold ` - ` in most rows: every event does, few markets do."""
    edges = Counter(_rounded(left) for phrase, left, _ in phrases if any(word.text == "-" for word in phrase[1:]))
    if not edges:
        return known.event if known else 0.0
    return _usual(edges)


def _market_edge(phrases: Sequence[_Placed], event: float, known: Columns | None) -> float | None:
    """Where the other texts begin. Marks and outcome numbers are shorter than any market."""
    edges = Counter(
        _rounded(left)
        for phrase, left, height in phrases
        if abs(left - event) > height and sum(len(word.text) for word in phrase) > 3
    )
    if not edges:
        return known.market if known else None
    return _usual(edges)


def _rounded(length: float) -> float:
    return round(length * 2) / 2


def _usual(edges: Counter[float]) -> float:
    """The most frequent edge, with those half a point beside it."""
    return max(edges, key=lambda edge: (edges[edge] + edges[edge - 0.5] + edges[edge + 0.5], edges[edge], -edge))


def cut(row: RowWords, origin: float, columns: Columns, last_event: str = "") -> Row:
    """A row, cell by cell; `last_event` is that of the row before."""
    prices = _prices(row, origin, columns)
    kim = _kim(row, origin, columns) if len(prices) == 1 else None
    event, market, mark = _cells(row, row.tail, kim, origin, columns)
    mark += [row.mark] if row.mark else []
    overrun = _overrun(event, market, origin, columns, row.height)
    if overrun:
        rest = [word for word in (*event, *market) if word not in overrun]
        if _is_same_event(text_of(rest), last_event):
            event, market, overrun = rest, [word for word in (*event, *market) if word in overrun], []
    time = TIME.fullmatch(row.time.text) if row.time else None
    anchor = [word for word in (row.time, row.serial) if word]
    everything = [*anchor, *row.words, *row.tail]
    return Row(
        box=box_of(everything),
        raw=text_of(everything),
        day=row.day.text.rstrip(".") if row.day else (time[1] or "" if time else ""),
        time=time[2] if time else "",
        serial=row.serial.text if row.serial else "",
        mark=text_of(mark),
        event=text_of(event),
        overrun=text_of(overrun),
        market=text_of(market),
        kim=kim.text if kim else "",
        prices=tuple(
            Price(outcome, float(prices[outcome].text.replace(",", "."))) for outcome in _OUTCOMES if outcome in prices
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
        distance, outcome = min((column.distance(word, origin), column.outcome) for column in columns.prices)
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
        words = [word for word in phrase if word is not kim]
        if words:
            _place(words, origin, columns, row.height, cells)
    return cells


def _place(
    phrase: list[Word],
    origin: float,
    columns: Columns,
    height: float,
    cells: tuple[list[Word], list[Word], list[Word]],
) -> None:
    event, market, mark = cells
    left, tolerance = phrase[0].left - origin, 0.6 * height
    if len(phrase) == 1 and len(phrase[0].text) <= 3 and left < columns.text_begins - tolerance:
        mark.extend(phrase)
    elif columns.market is None:
        event.extend(phrase)
    else:
        first, second = (event, market) if columns.event < columns.market else (market, event)
        edge = max(columns.event, columns.market)
        at = 0 if left >= edge - tolerance else _runs_over(phrase, origin + edge, height)
        first.extend(phrase[:at])
        second.extend(phrase[at:])


def _runs_over(phrase: list[Word], edge: float, height: float) -> int:
    """Where the next cell begins in a phrase: a text that fills its cell touches the next, which begins at its edge."""
    for index, word in enumerate(phrase[1:], 1):
        if abs(word.left - edge) < 0.1 * height and not word.chained:
            return index
    return len(phrase)


def _overrun(
    event: Sequence[Word], market: Sequence[Word], origin: float, columns: Columns, height: float
) -> list[Word]:
    """The market in texts of two cells that were set in one run: the second begins at the edge of its cell."""
    if columns.market is None:
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
