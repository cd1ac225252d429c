"""The characters of a PDF page and their boxes, read from pdfium in one sweep."""

import ctypes
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pypdfium2.raw as pdfium

from tidemill.plugin import Outcome, Refusal

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in points, origin at the top left."""
_Boxes = tuple[list[float], list[float], list[float], list[float]]
"""Left, top, right and bottom edges of characters, upwards."""

_FOLDED = (
    *((mark, "-") for mark in "\x02\ufffe"),  # How pdfium marks a hyphen at the end of a line.
    *((dash, "-") for dash in "\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212"),
    *((blank, " ") for blank in "\x00\xa0\u3000\ufeff"),
    *((chr(blank), " ") for blank in (*range(0x2000, 0x2010), *range(0x2028, 0x2030), *range(0x205F, 0x2065))),
    ("\u2019", "'"),
)
"""Characters that are set for another's sake, each for one; those without a width part no word in two."""
_ACCENT = re.compile("[\u0300-\u036f]")
_ACCENTED = re.compile("[^\\W\\d_][\u0300-\u036f]+")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of one page in reading orientation, as parallel columns; their boxes as in PDF, upwards.

    `turn` says by how many quarter turns clockwise the un-rotated page must be turned until its text
    runs from left to right; `width` and `height` are those of the turned page.
    """

    text: str
    left: Sequence[float]
    top: Sequence[float]
    right: Sequence[float]
    bottom: Sequence[float]
    ceiling: float
    """Height of the page's upper edge in the coordinates of the boxes."""
    width: float
    height: float
    turn: int = 0

    def page_box(self, box: Box) -> Box:
        """A box of the turned page, on the un-rotated page."""
        left, top, right, bottom = box
        match self.turn:
            case 1:
                return top, self.width - right, bottom, self.width - left
            case 2:
                return self.width - right, self.height - bottom, self.width - left, self.height - top
            case 3:
                return self.height - bottom, left, self.height - top, right
        return box


def unchecked(function: Any, result: Any = ctypes.c_int) -> Callable[..., int]:
    """The same C function without ctypes' checks of its arguments, and without giving up the interpreter's lock: a
    quarter of the time, over 10,000 calls a page."""
    return ctypes.PYFUNCTYPE(result)(ctypes.cast(function, ctypes.c_void_p).value or 0)


_loose_box = unchecked(pdfium.FPDFText_GetLooseCharBox)
_RECT_BYTES = ctypes.sizeof(pdfium.FS_RECTF)


_MOST_GLYPHS = 100_000
"""A crowded page of a newspaper has ten thousand."""


class GlyphReader:
    """Reads page after page into one buffer that grows with the largest page."""

    def __init__(self) -> None:
        self._numbers: Any = (ctypes.c_float * 0)()
        self._slots: list[Any] = []

    def read(self, textpage: Any, text: str, page_box: Box) -> Glyphs:
        """The glyphs of a text page and its text; `page_box` is (left, bottom, right, top) in PDF coordinates."""
        return _oriented(text, self._boxes(textpage, len(text)), page_box, _turn(textpage, text))

    def _boxes(self, textpage: Any, count: int) -> _Boxes:
        if count > len(self._slots):
            room = max(count, 2 * len(self._slots))
            self._numbers = (ctypes.c_float * (4 * room))()
            self._slots = list(map(ctypes.byref, repeat(self._numbers), range(0, _RECT_BYTES * room, _RECT_BYTES)))
        handle = ctypes.c_void_p(ctypes.cast(textpage, ctypes.c_void_p).value)
        deque(map(_loose_box, repeat(handle), range(count), self._slots), maxlen=0)
        left, top, right, bottom = (self._numbers[side : 4 * count : 4] for side in range(4))
        return left, top, right, bottom


def read_text(textpage: Any) -> str:
    """One character for each glyph of a text page, in the order of the document."""
    count = pdfium.FPDFText_CountChars(textpage)
    if count > _MOST_GLYPHS:
        raise Refusal(Outcome.TOO_LARGE, f"A page holds {count} characters; the limit is {_MOST_GLYPHS}.")
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium.FPDFText_GetText(textpage, 0, count, buffer) - 1
    text = bytes(buffer)[: 2 * count].decode("utf-16-le", "replace")
    if written != count or len(text) != count:  # Beyond the basic plane, or characters that pdfium leaves out.
        text = "".join(map(_character, (pdfium.FPDFText_GetUnicode(textpage, index) for index in range(count))))
    return folded(text)


def folded(text: str) -> str:
    """One dash, one blank, and accents that are glyphs of their own on their letters; as long as before."""
    for printed, plain in _FOLDED:
        text = text.replace(printed, plain)
    return _ACCENTED.sub(_composed, text) if _ACCENT.search(text) else text


def _composed(letter: re.Match[str]) -> str:
    """A letter with the accents that are glyphs of their own, and a blank for each of those."""
    return unicodedata.normalize("NFC", letter[0]).ljust(len(letter[0]))


def _character(code: int) -> str:
    return chr(code) if 0 < code < 0xD800 or 0xDFFF < code < 0x110000 else " "


def _turn(textpage: Any, text: str) -> int:
    """Quarter turns of most of the text, by a sample."""
    votes = [0, 0, 0, 0]
    for index in _sample(text, 40):
        angle = pdfium.FPDFText_GetCharAngle(textpage, index)
        votes[round(angle / 1.5707963) % 4] += 1
    # pdfium measures the angle clockwise on the page; turning the page back by as much makes the text level.
    return (4 - votes.index(max(votes))) % 4


def _sample(text: str, size: int) -> Iterator[int]:
    step = max(1, len(text) // size)
    return (index for index in range(0, len(text), step) if not text[index].isspace())


def _oriented(text: str, boxes: _Boxes, page_box: Box, turn: int) -> Glyphs:
    left, top, right, bottom = boxes
    x0, y0, x1, y1 = page_box
    width, height = x1 - x0, y1 - y0
    match turn:
        case 0:
            if x0:
                left, right = [x - x0 for x in left], [x - x0 for x in right]
            return Glyphs(text, left, top, right, bottom, y1, width, height)
        case 1:  # What points up, points right.
            sides = [y - y0 for y in bottom], [-x for x in left], [y - y0 for y in top], [-x for x in right]
            return Glyphs(text, *sides, -x0, height, width, turn)
        case 2:
            sides = [x1 - x for x in right], [-y for y in bottom], [x1 - x for x in left], [-y for y in top]
            return Glyphs(text, *sides, -y0, width, height, turn)
        case _:  # What points up, points left.
            sides = [y1 - y for y in top], right, [y1 - y for y in bottom], left
            return Glyphs(text, *sides, x1, height, width, turn)
