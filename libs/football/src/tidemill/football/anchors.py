"""Where the rows of the offer are: a serial and a time on one line."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from tidemill.football.words import SAME_LINE, Word, by_middle

SERIAL = re.compile(r"\d{5}")
TIME = re.compile(r"(H|K|Sze|Cs|P|Szo|V)?\.?(\d{1,2}:\d{2})")
DAYS = frozenset({"H", "K", "Sze", "Cs", "P", "Szo", "V", "H.", "K.", "Sze.", "Cs.", "P.", "Szo.", "V."})
PRICE = re.compile(r"\d{1,4},\d{2}")
KIM = re.compile(r"\d{2}")

_BOX_LABEL = re.compile(r"(?:sorszám|(?:kezdési)?időpont):", re.IGNORECASE)
_BOX_REACH = 3.5
"""A box prints its label above the value, at most so many heights of the value away."""


_PRICE = r"\d{1,3},\d{2}"
_GLUED = (
    re.compile(r"((?:H|K|Sze|Cs|P|Szo|V)?\.?\d{1,2}:\d{2})(\d{5})"),
    re.compile(r"(\d{2})(\d{3},\d{2})"),
    re.compile(rf"(0\d)({_PRICE})"),
    re.compile(rf"({_PRICE})({_PRICE})({_PRICE})?"),
)
"""Figures of neighbouring cells so narrow that they touch: time and serial, outcome number and price, prices."""


class Anchor(NamedTuple):
    """What makes a row a row."""

    serial: Word
    time: Word

    @property
    def middle(self) -> float:
        return self.serial.middle


def find_anchors(words: Sequence[Word]) -> tuple[list[Anchor], list[Anchor]]:
    """The rows of tables, and those in boxes that print a label above each value.

    `words` from top to bottom; so are the rows.
    """
    serials = [word for word in words if len(word.text) == 5 and SERIAL.fullmatch(word.text)]
    if not serials:
        return [], []
    colons = [word for word in words if ":" in word.text]
    times = [word for word in colons if TIME.fullmatch(word.text)]
    labels = [word for word in colons if _BOX_LABEL.fullmatch(word.text)]
    anchors = _paired(serials, times)
    boxed = [anchor for anchor in anchors if any(_labels(label, anchor) for label in labels)]
    return [anchor for anchor in anchors if anchor not in boxed], boxed


def unglued(word: Word) -> list[Word]:
    """The figures of several cells that touch, apart; any other word alone."""
    for pattern in _GLUED:
        if found := pattern.fullmatch(word.text):
            return list(_cut(word, [part for part in found.groups() if part]))
    return [word]


def _cut(word: Word, parts: Sequence[str]) -> Iterator[Word]:
    """Figures are equally wide, and signs half as wide as a figure."""
    unit = (word.right - word.left) / _breadth(word.text)
    left = word.left
    for part in parts:
        right = left + unit * _breadth(part)
        yield word._replace(text=part, left=left, right=right)
        left = right


def _breadth(text: str) -> float:
    return sum(1.0 if character.isalnum() else 0.5 for character in text)


def _paired(serials: Sequence[Word], times: Sequence[Word]) -> list[Anchor]:
    """Each serial with the time of its row: the nearest on the side where times stand.

    Whatever comes first on a line begins a row, so the page tells whether times stand before serials.
    """
    lines = [(serial, found) for serial in serials if (found := _beside(serial, times))]
    before = [min(t.left for t in found) < min(s.left for s in _beside(serial, serials)) for serial, found in lines]
    usual = 2 * sum(before) >= len(before)
    anchors = []
    for serial, found in lines:
        there = [time for time in found if (time.left < serial.left) == usual] or found
        anchors.append(Anchor(serial, min(there, key=partial(_gap, serial))))
    return anchors


def _beside(serial: Word, words: Sequence[Word]) -> list[Word]:
    """Those on the line of a serial, out of words from top to bottom."""
    tolerance = SAME_LINE * serial.height
    low = bisect_left(words, serial.middle - tolerance, key=by_middle)
    high = bisect_right(words, serial.middle + tolerance, key=by_middle)
    return list(words[low:high])


def _gap(one: Word, other: Word) -> float:
    return abs(one.centre - other.centre)


def _labels(label: Word, anchor: Anchor) -> bool:
    below = anchor.serial.top - label.top
    height = anchor.serial.height
    left = min(anchor.serial.left, anchor.time.left) - 2 * height
    right = max(anchor.serial.right, anchor.time.right) + 2 * height
    return 0 < below < _BOX_REACH * height and left < label.centre < right
