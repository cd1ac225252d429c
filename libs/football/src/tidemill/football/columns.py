"""Where the cells of rows stand, learnt from what the rows of a page have in common."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import NamedTuple

from tidemill.football.anchors import KIM
from tidemill.football.blocks import Block
from tidemill.football.words import Word

OUTCOMES = ("H", "D", "V")
_FEW_TEXTS = 4
"""Of fewer different texts nobody can tell how they are set."""


@dataclass(frozen=True, slots=True)
class PriceColumn:
    """One of the columns H, D and V: where its prices end, and where their middle is."""

    outcome: str
    right: float
    centre: float

    def distance(self, right: float, centre: float) -> float:
        """Prices are set flush right, or centred: whichever it is, the other one varies little."""
        return abs(right - self.right) + abs(centre - self.centre)


@dataclass(frozen=True, slots=True)
class TextColumns:
    """Where the two texts of a row begin."""

    event: float
    market: float | None
    """None where no row has one."""
    divide: float | None = None
    """What parts them where they are centred or flush right, and `event` and `market` are only about right."""

    @property
    def begin(self) -> float:
        return self.event if self.market is None else min(self.event, self.market)


@dataclass(frozen=True, slots=True)
class Columns:
    """The cells of a block, from the left edge of its serials."""

    prices: tuple[PriceColumn, ...]
    texts: TextColumns
    kim: float | None
    """Centre of the outcome number."""
    mark: float | None
    """Centre of the `M.k.` cell."""

    def is_placeholder(self, word: Word, origin: float) -> bool:
        """A dash or star where a price might stand."""
        return len(word.text) == 1 and any(
            min(abs(word.right - origin - column.right), abs(word.centre - origin - column.centre)) < word.height
            for column in self.prices
        )


class _Placed(NamedTuple):
    """A phrase of a row; edges from the serials' left edge."""

    words: Sequence[Word]
    left: float
    right: float
    height: float
    has_dash: bool
    is_long: bool
    """Marks and outcome numbers are shorter than any event or market."""

    @property
    def edge(self) -> float:
        """The left edge to half a point."""
        return round(self.left * 2) / 2


def learn_columns(blocks: Sequence[Block], known: Columns | None) -> Columns:
    """The columns of a page's blocks, which are alike; what they do not tell is taken from an earlier page."""
    mark = _mark_column(blocks, known)
    for block in blocks:
        for row in block.rows:
            row.sort_out(None if mark is None else block.origin + mark)
    placed = [
        [_place(phrase, block.origin, row.height) for phrase in row.phrases] for block in blocks for row in block.rows
    ]
    prices = _price_columns(blocks, known)
    texts = _text_columns(placed, known.texts if known else None)
    return Columns(prices, texts, _kim_column(blocks, known), mark)


def _mark_column(blocks: Sequence[Block], known: Columns | None) -> float | None:
    inherited = known.mark if known and not any(block.head.outcomes for block in blocks) else None
    return next((block.head.mark for block in blocks if block.head.mark is not None), inherited)


def _place(words: Sequence[Word], origin: float, height: float) -> _Placed:
    texts = [word.text for word in words]
    is_long = len(texts) > 2 or sum(map(len, texts)) > 3
    return _Placed(words, words[0].left - origin, words[-1].right - origin, height, "-" in texts[1:], is_long)


def _price_columns(blocks: Sequence[Block], known: Columns | None) -> tuple[PriceColumn, ...]:
    labels = next((block.head.outcomes for block in blocks if block.head.outcomes), [])
    order = tuple(outcome for outcome, _ in labels) or _known_order(known)
    full = [
        [(word.right - block.origin, word.centre - block.origin) for word in row.prices]
        for block in blocks
        for row in block.rows
        if len(row.prices) == len(OUTCOMES)
    ]
    if full:
        return tuple(
            PriceColumn(outcome, median(row[k][0] for row in full), median(row[k][1] for row in full))
            for k, outcome in enumerate(order)
        )
    if known and _hold_all_prices(known.prices, blocks):
        return known.prices
    return _sparse_price_columns(blocks, labels)


def _known_order(known: Columns | None) -> tuple[str, ...]:
    order = tuple(column.outcome for column in known.prices) if known else ()
    return order if len(order) == len(OUTCOMES) else OUTCOMES


def _hold_all_prices(columns: Sequence[PriceColumn], blocks: Sequence[Block]) -> bool:
    """Whether columns of an earlier page hold the prices of this one, or it is set otherwise."""
    return all(
        any(
            column.distance(word.right - block.origin, word.centre - block.origin) < 2 * row.height
            for column in columns
        )
        for block in blocks
        for row in block.rows
        for word in row.prices
    )


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
        names: tuple[str, ...] = {1: ("H",), 2: ("H", "V")}.get(len(found), OUTCOMES)
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


def _text_columns(rows: Sequence[Sequence[_Placed]], known: TextColumns | None) -> TextColumns:
    """Where events and markets stand, by what is usual: every event holds ` - `, few markets do."""
    phrases = [phrase for row in rows for phrase in row]
    dashed = Counter(phrase.edge for phrase in phrases if phrase.has_dash)
    if not dashed:
        return known or TextColumns(0.0, None)
    event = _usual(dashed)
    others = [phrase for phrase in phrases if phrase.is_long and abs(phrase.left - event) > phrase.height]
    if not others:
        return TextColumns(event, known.market if known else None)
    have_markets = any(sum(phrase.is_long for phrase in row) > 1 for row in rows)
    if not have_markets and 2 * sum(phrase.has_dash for phrase in others) > len(others):
        return _without_markets(others, event, known)
    market = _usual(Counter(phrase.edge for phrase in others))
    if _is_flush_left(phrases, event, market):
        return TextColumns(event, market)
    return _divided(rows, known) or TextColumns(event, market)


def _without_markets(others: Sequence[_Placed], event: float, known: TextColumns | None) -> TextColumns:
    """Columns of a page on which no row has two texts: events that begin elsewhere are centred, or flush right."""
    if known and known.divide is not None:
        return known
    return TextColumns(min(event, *(phrase.left for phrase in others)), known.market if known else None)


def _usual(edges: Counter[float]) -> float:
    """The most frequent edge, with those half a point beside it."""
    return max(edges, key=lambda edge: (edges[edge] + edges[edge - 0.5] + edges[edge + 0.5], edges[edge], -edge))


def _is_flush_left(phrases: Sequence[_Placed], event: float, market: float) -> bool:
    """Whether different texts begin at the same two edges, and not, being centred, each at its own."""
    texts = {tuple(word.text for word in phrase.words): phrase.left for phrase in phrases if phrase.is_long}
    flush = sum(abs(left - event) < 1 or abs(left - market) < 1 for left in texts.values())
    return len(texts) < _FEW_TEXTS or flush > 0.5 * len(texts)


def _divided(rows: Sequence[Sequence[_Placed]], known: TextColumns | None) -> TextColumns | None:
    """Columns of centred or flush right texts, told apart by the gap that most rows with two texts have in common."""
    pairs = [long for row in rows if len(long := [phrase for phrase in row if phrase.is_long]) == 2]
    gaps = [(first.right, second.left) for first, second in pairs if first.right < second.left]
    if not gaps:
        return known
    divide = max((right for right, _ in gaps), key=lambda at: sum(right <= at < left for right, left in gaps))
    divide = median(left for right, left in gaps if right <= divide < left) / 2 + divide / 2
    event_first = sum(first.has_dash for first, _ in pairs) >= sum(second.has_dash for _, second in pairs)
    begin = min(phrase.left - 3 * phrase.height for row in rows for phrase in row if phrase.is_long)
    return TextColumns(*((begin, divide) if event_first else (divide, begin)), divide)
