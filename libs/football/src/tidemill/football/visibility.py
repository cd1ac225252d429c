"""Which words a reader can see: false rows hide in text that is drawn and does not show."""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from typing import Any, NamedTuple

import pypdfium2.raw as pdfium

from tidemill.football.glyphs import Glyphs, unchecked
from tidemill.football.words import Word

_PAINT_NOTHING = {3, 7}
"""Text render modes: invisible, and clip only."""
_FAINT = 25
"""Opacity (of 255) below which text does not show."""
_PALE = 180
"""Luminance (of 255) from which text needs a darker ground to show."""
_CONTRAST = 30
_TINY = 0.3
"""Of the page's usual height of type; and type below a point and a half is tiny anywhere."""
_WHITE = 255.0

_text_object = unchecked(pdfium.FPDFText_GetTextObject, ctypes.c_void_p)
_render_mode = unchecked(pdfium.FPDFTextObj_GetTextRenderMode)
_fill_colour = unchecked(pdfium.FPDFPageObj_GetFillColor)
_clip_path = unchecked(pdfium.FPDFPageObj_GetClipPath, ctypes.c_void_p)
_clip_count = unchecked(pdfium.FPDFClipPath_CountPaths)

_Area = tuple[float, float, float, float]
"""(left, bottom, right, top) in PDF coordinates."""


class _Paint(NamedTuple):
    """How a text object is painted."""

    shows: bool
    luminance: float
    window: _Area | None
    """The area it is clipped to."""


class _Ground(NamedTuple):
    """Something painted below text."""

    order: int
    area: _Area
    luminance: float | None
    """None for a picture: it may have any colour."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The words of a page, parted."""

    visible: list[Word]
    hidden: list[Word]


def part_hidden(page: Any, textpage: Any, glyphs: Glyphs, words: Sequence[Word]) -> Seen:
    """Part the words that show from those outside the page, too small, transparent, clipped away, or without contrast."""
    if not words:
        return Seen([], [])
    handle = ctypes.c_void_p(ctypes.cast(textpage, ctypes.c_void_p).value)
    objects = list(map(_text_object, repeat(handle), [word.start for word in words]))
    painter = _Painter()
    paints = {pointer: painter.paint(pointer) for pointer in set(objects) if pointer}
    smallest = max(1.5, _TINY * median(word.height for word in words))
    ground = _Grounds(page, painter)
    seen = Seen([], [])
    for word, pointer in zip(words, objects, strict=True):
        shows = word.height >= smallest and _on_page(word, glyphs)
        paint = paints.get(pointer)
        if shows and paint:
            shows = paint.shows and (
                (paint.window is None or _inside(paint.window, _centre(textpage, word)))
                and (paint.luminance < _PALE or ground.contrasts(pointer, paint.luminance, _centre(textpage, word)))
            )
        (seen.visible if shows else seen.hidden).append(word)
    return seen


def _on_page(word: Word, glyphs: Glyphs) -> bool:
    return 0 <= word.centre <= glyphs.width and 0 <= word.middle <= glyphs.height


def _inside(area: _Area, point: tuple[float, float]) -> bool:
    left, bottom, right, top = area
    return left <= point[0] <= right and bottom <= point[1] <= top


def _centre(textpage: Any, word: Word) -> tuple[float, float]:
    """The middle of a word's first glyph, in PDF coordinates."""
    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(textpage, word.start, box)
    return (box.left + box.right) / 2, (box.bottom + box.top) / 2


class _Painter:
    """Asks pdfium how objects are painted."""

    def __init__(self) -> None:
        self._channels = tuple(ctypes.c_uint() for _ in range(4))
        self._slots = tuple(ctypes.byref(channel) for channel in self._channels)

    def paint(self, pointer: int) -> _Paint:
        item = ctypes.c_void_p(pointer)
        luminance, opacity = self.colour(item)
        shows = _render_mode(item) not in _PAINT_NOTHING and opacity > _FAINT
        path = _clip_path(item)
        count = _clip_count(ctypes.c_void_p(path)) if path else 0
        return _Paint(shows, luminance, _window(ctypes.c_void_p(path), count) if count > 0 else None)

    def colour(self, item: Any) -> tuple[float, int]:
        """Luminance and opacity of an object's fill; black where it has none of its own."""
        if not _fill_colour(item, *self._slots):
            return 0.0, 255
        red, green, blue, opacity = (channel.value for channel in self._channels)
        return 0.299 * red + 0.587 * green + 0.114 * blue, opacity


def _window(path: Any, count: int) -> _Area:
    """What all the clipping paths of an object leave open, each taken as its bounding box."""
    handle = ctypes.cast(path, pdfium.FPDF_CLIPPATH)
    left = bottom = float("-inf")
    right = top = float("inf")
    x, y = ctypes.c_float(), ctypes.c_float()
    for index in range(count):
        points = []
        for part in range(pdfium.FPDFClipPath_CountPathSegments(handle, index)):
            segment = pdfium.FPDFClipPath_GetPathSegment(handle, index, part)
            pdfium.FPDFPathSegment_GetPoint(segment, x, y)
            points.append((x.value, y.value))
        if points:
            left, right = max(left, min(x for x, _ in points)), min(right, max(x for x, _ in points))
            bottom, top = max(bottom, min(y for _, y in points)), min(top, max(y for _, y in points))
    return left, bottom, right, top


class _Grounds:
    """What lies below the text of a page; looked up only for pale text."""

    def __init__(self, page: Any, painter: _Painter) -> None:
        self._page = page
        self._painter = painter
        self._order: dict[int, int] = {}
        self._layers: list[_Ground] | None = None

    def contrasts(self, pointer: int, luminance: float, point: tuple[float, float]) -> bool:
        """Whether text of this luminance shows on what was painted below it; bare paper is white."""
        if self._layers is None:
            self._layers = list(self._find_layers())
        order = self._order.get(pointer, len(self._order) + len(self._layers))
        below = [layer for layer in self._layers if layer.order < order and _inside(layer.area, point)]
        ground = below[-1].luminance if below else _WHITE
        return ground is None or abs(ground - luminance) > _CONTRAST

    def _find_layers(self) -> Iterator[_Ground]:
        left, bottom, right, top = (ctypes.c_float() for _ in range(4))
        for order in range(pdfium.FPDFPage_CountObjects(self._page)):
            item = pdfium.FPDFPage_GetObject(self._page, order)
            kind = pdfium.FPDFPageObj_GetType(item)
            if kind == pdfium.FPDF_PAGEOBJ_TEXT:
                self._order[ctypes.cast(item, ctypes.c_void_p).value or 0] = order
            elif kind != pdfium.FPDF_PAGEOBJ_PATH or _is_filled(item):
                pdfium.FPDFPageObj_GetBounds(item, left, bottom, right, top)
                luminance, opacity = self._painter.colour(item)
                if opacity > _FAINT:
                    known = luminance if kind == pdfium.FPDF_PAGEOBJ_PATH else None
                    yield _Ground(order, (left.value, bottom.value, right.value, top.value), known)


def _is_filled(path: Any) -> bool:
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(path, mode, stroked)
    return mode.value != pdfium.FPDF_FILLMODE_NONE
