"""Where the cells of a row begin, learnt from what the rows of a page have in common."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from tidemill.football.anchors import DAY, KIM, PRICE, TIME
from tidemill.football.blocks import Block, RowWords
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
    """The columns of a page's blocks, which are alike; `known` are those of an earlier page, for what this one lacks."""
    prices = _price_columns(blocks, known)
    kim = _kim_column(blocks, known)
    event = _event_edge(blocks, known)
    market = _market_edge(blocks, event, known)
    mark = next((b.head.mark for b in blocks if b.head.mark is not None), known.mark if known else None)
    return Columns(prices, event, market, kim, mark)


def _is_price(word: Word) -> bool:
    return PRICE.fullmatch(word.text) is not None


def _prices_of(row: RowWords) -> list[Word]:
    return [word for word in row.words if _is_price(word)]


def _price_columns(blocks: Sequence[Block], known: Columns | None) -> tuple[PriceColumn, ...]:
    labels = next((block.head.outcomes for block in blocks if block.head.outcomes), [])
    order = tuple(outcome for outcome, _ in labels) or (tuple(c.outcome for c in known.prices) if known else _OUTCOMES)
    full = [
        [(word.right - block.origin, word.centre - block.origin) for word in sorted(prices, key=lambda w: w.left)]
        for block in blocks
        for row in block.rows
        if len(prices := _prices_of(row)) == len(_OUTCOMES)
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
    prices = [
        (w.right - b.origin, w.centre - b.origin, w.height) for b in blocks for r in b.rows for w in _prices_of(r)
    ]
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
            if len(_prices_of(row)) == 1:
                centres.update({round(w.centre - block.origin) for w in row.words if KIM.fullmatch(w.text)})
    if centres and label is not None:
        return float(min(centres, key=lambda centre: abs(centre - label)))
    if centres and centres.most_common(1)[0][1] > 1:
        return float(centres.most_common(1)[0][0])
    return label if label is not None else known.kim if known else None


def _event_edge(blocks: Sequence[Block], known: Columns | None) -> float:
    """Where the texts begin that hold ` - ` in most rows: every event does, few markets do."""
    edges: Counter[float] = Counter()
    for block in blocks:
        for row in block.rows:
            for phrase in _text_phrases(row):
                if any(word.text == "-" for word in phrase[1:]):
                    edges[_rounded(phrase[0].left - block.origin)] += 1
    if not edges:
        return known.event if known else 0.0
    return _usual(edges)


def _market_edge(blocks: Sequence[Block], event: float, known: Columns | None) -> float | None:
    edges: Counter[float] = Counter()
    for block in blocks:
        for row in block.rows:
            for phrase in _text_phrases(row):
                edge = _rounded(phrase[0].left - block.origin)
                if abs(edge - event) > row.height and len(text_of(phrase)) > 3:
                    edges[edge] += 1
    if not edges:
        return known.market if known else None
    return _usual(edges)


def _rounded(length: float) -> float:
    return round(length * 2) / 2


def _usual(edges: Counter[float]) -> float:
    """The most frequent edge, with those half a point beside it."""
    return max(edges, key=lambda edge: (edges[edge] + edges[edge - 0.5] + edges[edge + 0.5], edges[edge], -edge))


def _text_phrases(row: RowWords) -> list[list[Word]]:
    words = [word for word in row.words if not _is_price(word) and not DAY.fullmatch(word.text)]
    return phrases_of(words)


def cut(row: RowWords, origin: float, columns: Columns) -> Row:
    """A row, cell by cell."""
    words = sorted(row.words, key=lambda word: word.left)
    day = _day(row, words)
    prices = _prices(words, origin, columns)
    kim = _kim(words, prices, origin, columns)
    taken = {id(word) for word in (*prices.values(), *kim, *day)}
    rest = [word for word in words if id(word) not in taken] + row.tail
    event, market, mark = _cells(rest, origin, columns, row.height)
    anchor = [word for word in (row.serial, row.time) if word]
    everything = [*anchor, *words, *row.tail]
    time = TIME.fullmatch(row.time.text) if row.time else None
    return Row(
        box=box_of(everything),
        raw=" ".join(word.text for line in lines_of(everything) for word in line),
        day=day[0].text.rstrip(".") if day else (time[1] or "" if time else ""),
        time=time[2] if time else "",
        serial=row.serial.text if row.serial else "",
        mark=text_of(mark),
        event=text_of(event),
        market=text_of(market),
        kim=kim[0].text if kim else "",
        prices=tuple(
            Price(outcome, float(prices[outcome].text.replace(",", "."))) for outcome in _OUTCOMES if outcome in prices
        ),
    )


def _day(row: RowWords, words: Sequence[Word]) -> list[Word]:
    """The day letter stands beside the time."""
    if row.time is None:
        return []
    reach = 4 * row.height
    near = [word for word in words if DAY.fullmatch(word.text) and abs(word.centre - row.time.centre) < reach]
    return [min(near, key=lambda word: abs(word.centre - row.time.centre))] if near else []  # type: ignore[union-attr]


def _prices(words: Sequence[Word], origin: float, columns: Columns) -> dict[str, Word]:
    found: dict[str, Word] = {}
    for word in filter(_is_price, words):
        column = min(columns.prices, key=lambda column: column.distance(word, origin), default=None)
        if column is None or column.distance(word, origin) > 5 * word.height:
            continue
        rival = found.get(column.outcome)
        if rival is None or column.distance(word, origin) < column.distance(rival, origin):
            found[column.outcome] = word
    return found


def _kim(words: Sequence[Word], prices: dict[str, Word], origin: float, columns: Columns) -> list[Word]:
    centre = columns.kim
    if centre is None or len(prices) != 1:
        return []
    return [w for w in words if KIM.fullmatch(w.text) and abs(w.centre - origin - centre) < 1.2 * w.height][-1:]


def texts(row: RowWords, tail: Sequence[Word], origin: float, columns: Columns) -> tuple[str, str]:
    """Event and market of a row if the words of `tail` belonged to it."""
    words = [word for phrase in _text_phrases(row) for word in phrase if not KIM.fullmatch(word.text)]
    event, market, _ = _cells([*words, *tail], origin, columns, row.height)
    return text_of(event), text_of(market)


def _cells(
    words: Iterable[Word], origin: float, columns: Columns, height: float
) -> tuple[list[Word], list[Word], list[Word]]:
    """The words of event, market and mark."""
    event: list[Word] = []
    market: list[Word] = []
    mark: list[Word] = []
    for line in lines_of(words):
        for phrase in phrases_of(line):
            _place(phrase, origin, columns, height, (event, market, mark))
    return event, market, mark


def _place(
    phrase: list[Word],
    origin: float,
    columns: Columns,
    height: float,
    cells: tuple[list[Word], list[Word], list[Word]],
) -> None:
    event, market, mark = cells
    left, tolerance = phrase[0].left - origin, 0.6 * height
    short = len(phrase) == 1 and len(phrase[0].text) <= 3
    under_mark = columns.mark is not None and abs(phrase[0].centre - origin - columns.mark) < height
    if short and (under_mark or left < columns.text_begins - tolerance):
        mark.extend(phrase)
    elif columns.market is None:
        event.extend(phrase)
    elif columns.market < columns.event:
        (event if left >= columns.event - tolerance else market).extend(phrase)
    elif left >= columns.market - tolerance:
        market.extend(phrase)
    else:
        head, tail = _split_at(phrase, origin + columns.market, height)
        event.extend(head)
        market.extend(tail)


def _split_at(phrase: list[Word], edge: float, height: float) -> tuple[list[Word], list[Word]]:
    """An event that fills its cell runs into the market, which begins exactly at the edge of its own."""
    for index, word in enumerate(phrase):
        if index and abs(word.left - edge) < 0.1 * height and not word.chained:
            return phrase[:index], phrase[index:]
    return phrase, []
