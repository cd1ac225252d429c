"""Long-term bets: a title, one serial, and a row of outcome, number and price for each answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from tidemill.football.anchors import KIM, PRICE, SERIAL
from tidemill.football.datasets import OUTRIGHT_NAME
from tidemill.football.glyphs import Box
from tidemill.football.headings import FOOTBALL
from tidemill.football.spelling import clean, fold
from tidemill.football.words import Word, box_of, lines_of, text_of
from tidemill.plugin import Position, Record

_BANNER = "hosszutavu fogadas"
_STEP = 2.5
"""The next line of a list is at most so many heights away."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer and its price."""

    box: Box
    name: str
    kim: str
    price: float


@dataclass(slots=True)
class Outright:
    """One long-term bet."""

    title: str
    serial: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def is_football(self) -> bool:
        return fold(self.title.partition(",")[0]) == FOOTBALL

    def records(self, page: int) -> Iterator[Record]:
        for outcome in self.outcomes:
            yield Record(
                OUTRIGHT_NAME,
                f"{self.serial}/{fold(self.title)}/{fold(outcome.name)}",
                {
                    "title": self.title,
                    "serial": self.serial,
                    "outcome": outcome.name,
                    "kim": outcome.kim,
                    "odds": outcome.price,
                },
                Position(page, outcome.box),
                raw=f"{outcome.name} {outcome.kim} {outcome.price:.2f}".replace(".", ","),
            )


@dataclass(frozen=True, slots=True)
class _Head:
    """The line above the answers: `Sorszám: 18432 … Kimenetel … Odds`."""

    label: Word
    serial: Word
    kim: Word
    odds: Word


def find_outrights(words: Sequence[Word], place: Callable[[Box], Box]) -> list[Outright]:
    """The long-term bets of a page; `words` are its words in any order, `place` says where a box is on it."""
    return [_read(head, words, place) for head in _heads(words)]


def _heads(words: Sequence[Word]) -> Iterator[_Head]:
    for label in words:
        if label.text[-1] != ":" or fold(label.text) != "sorszam:":
            continue
        line = [w for w in words if abs(w.middle - label.middle) < label.height / 2 and w.left > label.left]
        line.sort(key=lambda word: word.left)
        own = list(takewhile(lambda word: fold(word.text) != "sorszam:", line))
        serial = next((word for word in own if SERIAL.fullmatch(word.text)), None)
        kim = next((word for word in own if fold(word.text).startswith("kimenetel")), None)
        odds = next((word for word in own if fold(word.text) == "odds"), None)
        if serial and kim and odds:
            yield _Head(label, serial, kim, odds)


def _read(head: _Head, words: Sequence[Word], place: Callable[[Box], Box]) -> Outright:
    left, right = head.label.left - head.label.height, head.odds.right + head.odds.height
    lines = lines_of(word for word in words if left <= word.left and word.right <= right)
    at = next(index for index, line in enumerate(lines) if head.label in line)
    title = _title(lines[:at], head.label)
    outright = Outright(clean(" ".join(title)), head.serial.text)
    middle = head.label.middle
    for line in lines[at + 1 :]:
        outcome = _outcome(line, head, place)
        if outcome is None or line[0].middle - middle > _STEP * line[0].height:
            break
        outright.outcomes.append(outcome)
        middle = line[0].middle
    return outright


def _title(above: Sequence[list[Word]], label: Word) -> list[str]:
    """The lines between the banner, or the list before, and the head."""
    title: list[str] = []
    middle = label.middle
    for line in reversed(above):
        text = text_of(line)
        ended = _BANNER in fold(text) or any(PRICE.fullmatch(word.text) for word in line)
        if ended or middle - line[0].middle > _STEP * line[0].height:
            break
        title.insert(0, text)
        middle = line[0].middle
    return title


def _outcome(line: list[Word], head: _Head, place: Callable[[Box], Box]) -> Outcome | None:
    price = next((w for w in reversed(line) if PRICE.fullmatch(w.text) and w.right > head.odds.left), None)
    near = 3 * head.kim.height
    kim = next((w for w in reversed(line) if KIM.fullmatch(w.text) and abs(w.centre - head.kim.centre) < near), None)
    if price is None or kim is None:
        return None
    name = clean(text_of([word for word in line if word.right <= kim.left]))
    return Outcome(place(box_of(line)), name, kim.text, float(price.text.replace(",", "."))) if name else None
