"""Where the rows of the offer are: a serial and a time on one line."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tidemill.football.words import SAME_LINE, Word

SERIAL = re.compile(r"\d{5}")
TIME = re.compile(r"(H|K|Sze|Cs|P|Szo|V)?\.?(\d{1,2}:\d{2})")
DAY = re.compile(r"(H|K|Sze|Cs|P|Szo|V)\.?")
PRICE = re.compile(r"\d{1,4},\d{2}")
KIM = re.compile(r"\d{2}")

_BOX_LABEL = re.compile(r"(?:sorszám|(?:kezdési)?időpont):", re.IGNORECASE)
_BOX_REACH = 3.5
"""A box prints its label above the value, at most so many heights of the value away."""


class Anchor(NamedTuple):
    """What makes a row a row."""

    serial: Word
    time: Word

    @property
    def middle(self) -> float:
        return self.serial.middle


def find_anchors(words: Sequence[Word]) -> tuple[list[Anchor], list[Anchor]]:
    """The rows of tables, and those in boxes that print a label above each value, both from top to bottom."""
    serials = [word for word in words if len(word.text) == 5 and SERIAL.fullmatch(word.text)]
    if not serials:
        return [], []
    times = [word for word in words if ":" in word.text and TIME.fullmatch(word.text)]
    labels = [word for word in words if word.text.endswith(":") and _BOX_LABEL.fullmatch(word.text)]
    anchors = _paired(serials, times)
    boxed = [anchor for anchor in anchors if any(_labels(label, anchor) for label in labels)]
    return [anchor for anchor in anchors if anchor not in boxed], boxed


def _paired(serials: Sequence[Word], times: Sequence[Word]) -> list[Anchor]:
    """Each serial with the time of its line; where a line holds several of both, those on the usual side of it."""
    on_line = [(serial, [time for time in times if _same_line(serial, time)]) for serial in serials]
    alone = [(serial, found[0]) for serial, found in on_line if len(found) == 1]
    nearest = [(serial, min(found, key=lambda t, s=serial: _gap(s, t))) for serial, found in on_line if found]  # type: ignore[misc]
    votes = sum(1 if time.left < serial.left else -1 for serial, time in (alone or nearest))
    anchors = []
    for serial, found in on_line:
        usual = [time for time in found if (time.left < serial.left) == (votes >= 0)]
        if found:
            time = min(usual or found, key=lambda time: _gap(serial, time))
            anchors.append(Anchor(serial, time))
    return sorted(anchors, key=lambda anchor: anchor.middle)


def _same_line(one: Word, other: Word) -> bool:
    return abs(one.middle - other.middle) < SAME_LINE * max(one.height, other.height)


def _gap(one: Word, other: Word) -> float:
    return abs(one.centre - other.centre)


def _labels(label: Word, anchor: Anchor) -> bool:
    below = anchor.serial.top - label.top
    height = anchor.serial.height
    left = min(anchor.serial.left, anchor.time.left) - 2 * height
    right = max(anchor.serial.right, anchor.time.right) + 2 * height
    return 0 < below < _BOX_REACH * height and left < label.centre < right
