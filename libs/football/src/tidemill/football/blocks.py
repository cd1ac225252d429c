"""The columns of rows on a page: one wide table, or several beside one another."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from operator import itemgetter
from statistics import median_low

from tidemill.football.anchors import DAYS, PRICE, SERIAL, TIME, Anchor
from tidemill.football.headings import parse_heading
from tidemill.football.words import SAME_LINE, Word, by_left, by_middle, lines_of, phrases_of, text_of

_LABELS = {"H": "H", "D": "D", "V": "V", "1": "H", "X": "D", "2": "V", "Hazai": "H", "Döntetlen": "D", "Vendég": "V"}
_LABEL_SETS = ({"H", "D", "V"}, {"1", "X", "2"}, {"Hazai", "Döntetlen", "Vendég"})
_TITLES = {"Kezdési", "idő", "Sorszám", "Fogadási", "esemény", "Kim", "M.k"}
_TURNED_MARK = {"M", "k", ".", ".k", ".k.M"}
"""What the head `M.k.` falls into where it is turned by a quarter."""


@dataclass(slots=True)
class RowWords:
    """A row before it is cut into cells. One without serial or time is damaged, and still a row."""

    serial: Word | None
    time: Word | None
    middle: float
    height: float
    words: list[Word] = field(default_factory=list)
    """Those of its own line besides serial and time."""
    tail: list[Word] = field(default_factory=list)
    """Those of further lines of its cells."""
    day: Word | None = None
    mark: Word | None = None
    prices: list[Word] = field(default_factory=list)
    """From left to right, as are the phrases."""
    phrases: list[list[Word]] = field(default_factory=list)
    """What is neither day, mark nor price."""

    def sort_out(self, mark: float | None) -> None:
        """Tell day, mark, prices and texts of the line apart, by their form; `mark` is the centre of that cell."""
        self.words.sort(key=by_left)
        self.day = self._find_day()
        texts = []
        for word in self.words:
            if "," in word.text and PRICE.fullmatch(word.text):
                self.prices.append(word)
            elif mark is not None and len(word.text) <= 3 and abs(word.centre - mark) < 0.6 * self.height:
                self.mark = word
            elif word is not self.day:
                texts.append(word)
        self.phrases = phrases_of(texts)

    def _find_day(self) -> Word | None:
        """The day letter stands beside the time, or in a cell of its own, where it is not part of its word."""
        if self.time is None or not self.time.text[0].isdigit():
            return None
        letters = [word for word in self.words if word.text in DAYS]
        if not letters:
            return None
        centre, reach = self.time.centre, 6 * self.height
        near = [word for word in letters if abs(word.centre - centre) < reach]
        texts = phrases_of(word for word in self.words if not PRICE.fullmatch(word.text))
        alone = [phrase[0] for phrase in texts if len(phrase) == 1 and phrase[0] in letters]
        return min(near or alone, key=lambda word: abs(word.centre - centre), default=None)


@dataclass(slots=True)
class Head:
    """The printed head of a block: which outcome column stands where."""

    outcomes: list[tuple[str, float]] = field(default_factory=list)
    """(H, D or V; centre) from left to right."""
    kim: float | None = None
    mark: float | None = None


@dataclass(slots=True)
class Block:
    """One column of rows with what stands between them. Lengths count from `origin`, the left edge of its serials."""

    origin: float
    left: float
    rows: list[RowWords]
    loose: list[list[Word]] = field(default_factory=list)
    """Lines that hold no anchor, from top to bottom."""
    head: Head = field(default_factory=Head)


def find_blocks(words: Sequence[Word], anchors: Sequence[Anchor], origins: Collection[float] = ()) -> list[Block]:
    """The blocks of a page from left to right, each with its words; `origins` are those of the page before.

    A single row is a block only below a head, or where rows stood on the page before: else it is a line of prose.
    """
    groups = [group for group in _groups(anchors) if any(_is_priced(words, anchor) for anchor in group)]
    headed = {"H", "D", "V"} <= {word.text for word in words}
    if not groups or not (headed or any(len(group) > 1 or _stood(group[0], origins) for group in groups)):
        return []
    blocks = [Block(median_low(anchor.serial.left for anchor in group), 0.0, _rows(group)) for group in groups]
    blocks.sort(key=lambda block: block.origin)
    _bound(blocks, words)
    _distribute(blocks, words)
    return blocks


def _stood(anchor: Anchor, origins: Collection[float]) -> bool:
    return any(abs(anchor.serial.left - origin) < anchor.serial.height for origin in origins)


def _rows(group: Sequence[Anchor]) -> list[RowWords]:
    return [RowWords(serial, time, serial.middle, serial.height) for serial, time in group]


def _is_priced(words: Sequence[Word], anchor: Anchor) -> bool:
    line = _on_line(words, anchor.serial.middle, anchor.serial.height)
    return any(PRICE.fullmatch(word.text) for word in line)


def _groups(anchors: Sequence[Anchor]) -> list[list[Anchor]]:
    """Rows whose serials stand below one another."""
    groups: list[list[Anchor]] = []
    for anchor in sorted(anchors, key=lambda anchor: anchor.serial.left):
        if groups and anchor.serial.left - groups[-1][-1].serial.left < anchor.serial.height:
            groups[-1].append(anchor)
        else:
            groups.append([anchor])
    return [sorted(group, key=lambda anchor: anchor.middle) for group in groups]


def _bound(blocks: list[Block], words: Sequence[Word]) -> None:
    """Find where each block begins: as far left of its serials as the first block does, in the gutter before it.

    The blocks of a page are alike, and nothing stands left of the first one.
    """
    first = blocks[0]
    lefts = sorted(min(word.left for word in _line(words, row)) for row in first.rows)
    reach = first.origin - lefts[len(lefts) // 10]
    first.left = lefts[0] - first.rows[0].height
    for last, block in pairwise(blocks):
        begin = block.origin - reach
        before = [
            word.right
            for row in (*last.rows, *block.rows)
            for word in _line(words, row)
            if last.origin < word.left < begin - row.height / 2
        ]
        block.left = (begin + min(begin, max(before, default=begin - block.rows[0].height))) / 2


def _line(words: Sequence[Word], row: RowWords) -> list[Word]:
    return _on_line(words, row.middle, row.height)


def _on_line(words: Sequence[Word], middle: float, height: float) -> list[Word]:
    tolerance = SAME_LINE * height
    low = bisect_right(words, middle - tolerance, key=by_middle)
    high = bisect_right(words, middle + tolerance, key=by_middle)
    return list(words[low:high])


def _distribute(blocks: list[Block], words: Sequence[Word]) -> None:
    lefts = [block.left for block in blocks]
    shares: list[list[Word]] = [[] for _ in blocks]
    for word in words:
        index = bisect_right(lefts, word.centre) - 1
        if index >= 0:
            shares[index].append(word)
    for block, share in zip(blocks, shares, strict=True):
        _fill(block, share)


def _fill(block: Block, words: list[Word]) -> None:
    middles = [row.middle for row in block.rows]
    loose: list[Word] = []
    for word in words:
        index = bisect_right(middles, word.middle)
        if index == len(middles) or (index and word.middle - middles[index - 1] < middles[index] - word.middle):
            index -= 1
        near = block.rows[index]
        if abs(near.middle - word.middle) >= SAME_LINE * near.height:
            loose.append(word)
        elif word is not near.serial and word is not near.time:
            near.words.append(word)
    block.loose = lines_of(loose)
    _take_head(block)
    block.loose = [line for line in block.loose if not _is_head(line)]
    _take_damaged(block)


def _take_head(block: Block) -> None:
    """Read the head above the rows, and drop what stands above it, but for headings that it follows.

    The head of a column that is empty may follow on the same line: the first labels are ours.
    """
    block.head.mark = _mark(block)
    for index, line in enumerate(block.loose):
        texts = {word.text for word in line}
        if line[0].middle > block.rows[-1].middle:
            return
        if any(labels <= texts for labels in _LABEL_SETS):
            found = {_LABELS[w.text]: w.centre - block.origin for w in reversed(line) if w.text in _LABELS}
            block.head.outcomes = sorted(found.items(), key=itemgetter(1))
            block.head.kim = next((w.centre - block.origin for w in line if w.text.rstrip(".") == "Kim"), None)
            if line[0].middle > block.rows[0].middle:
                return
            above = [other for other in block.loose[:index] if not _is_head(other)]
            headings = list(takewhile(_is_heading, reversed(above)))
            block.loose = [*reversed(headings), *block.loose[index + 1 :]]
            return


def _is_heading(line: Sequence[Word]) -> bool:
    return parse_heading(text_of(line)) is not None


def _is_head(line: Sequence[Word]) -> bool:
    """Whether a line is (a part of) a head, which may be printed once more below a heading."""
    texts = {word.text.rstrip(".") or "." for word in line}
    others = texts - _TITLES - _TURNED_MARK
    return not others or others in _LABEL_SETS


def _mark(block: Block) -> float | None:
    """Where the head `M.k.` stands, which is printed upright or turned by a quarter, letter by letter."""
    above = [w for line in block.loose for w in line if w.middle < block.rows[0].middle and w.text[0] in "Mk"]
    for word in above:
        if word.text.rstrip(".") == "M.k":
            return word.centre - block.origin
        for other in above:
            if word.text[0] == "M" and other.text[0] == "k" and len(word.text) + len(other.text) < 5:
                close = abs(word.centre - other.centre) + abs(word.middle - other.middle) < 2 * word.height
                if close:
                    return word.centre - block.origin
    return None


def _take_damaged(block: Block) -> None:
    """Lines with a price and only one of serial and time are rows too, to be rejected by name."""
    kept = []
    for line in block.loose:
        serial = next((w for w in line if SERIAL.fullmatch(w.text) and abs(w.left - block.origin) < w.height), None)
        time = next((w for w in line if TIME.fullmatch(w.text)), None)
        if (serial or time) and any(PRICE.fullmatch(word.text) for word in line):
            anchor = serial or time or line[0]
            words = [word for word in line if word is not serial and word is not time]
            block.rows.append(RowWords(serial, time, anchor.middle, anchor.height, words))
        else:
            kept.append(line)
    block.loose = kept
    block.rows.sort(key=lambda row: row.middle)
