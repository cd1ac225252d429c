"""Which words a reader can see: false rows hide in text that is drawn and does not show."""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
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

_object = unchecked(pdfium.FPDFPage_GetObject, ctypes.c_void_p)
_type = unchecked(pdfium.FPDFPageObj_GetType)
_bounds = unchecked(pdfium.FPDFPageObj_GetBounds)
_draw_mode = unchecked(pdfium.FPDFPath_GetDrawMode)

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
    """Part the words that show from those outside the page, tiny, transparent, clipped away, or without contrast."""
    if not words:
        return Seen([], [])
    handle = ctypes.c_void_p(ctypes.cast(textpage, ctypes.c_void_p).value)
    objects = list(map(_text_object, repeat(handle), [word.start for word in words]))
    painter = _Painter()
    paints = painter.paints({pointer for pointer in objects if pointer})
    smallest = max(1.5, _TINY * median([word.height for word in words]))
    ground = _Grounds(page, painter)
    width, height = glyphs.width, glyphs.height
    seen = Seen([], [])
    for word, pointer in zip(words, objects, strict=True):
        shows = (
            (word.height >= smallest or _is_upright_letter(word, smallest))
            and 0 <= word.centre <= width
            and 0 <= word.middle <= height
        )
        if shows and pointer in paints:
            paint = paints[pointer]
            centre = _centre(textpage, word)
            shows = (
                paint.shows
                and (paint.window is None or _inside(paint.window, centre))
                and (paint.luminance < _PALE or ground.contrasts(pointer, paint.luminance, centre))
            )
        (seen.visible if shows else seen.hidden).append(word)
    return seen


def _is_upright_letter(word: Word, smallest: float) -> bool:
    """One letter of a text that runs upwards: its box lies on its side."""
    return len(word.text) == 1 and word.right - word.left >= smallest


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
        self._channels = (ctypes.c_uint * 4)()
        self._slots = [ctypes.byref(self._channels, 4 * index) for index in range(4)]

    def paints(self, pointers: Iterable[int]) -> dict[int, _Paint]:
        """The paint of text objects, but for those in plain dark ink, which are most."""
        items = [ctypes.c_void_p(pointer) for pointer in pointers]
        paints = {}
        for item, mode, clip in zip(items, map(_render_mode, items), map(_clip_path, items), strict=True):
            luminance, opacity = self.colour(item)
            count = _clip_count(ctypes.c_void_p(clip)) if clip else 0
            if mode in _PAINT_NOTHING or count > 0 or luminance >= _PALE or opacity <= _FAINT:
                shows = mode not in _PAINT_NOTHING and opacity > _FAINT
                paints[item.value or 0] = _Paint(shows, luminance, _window(clip, count) if count > 0 else None)
        return paints

    def colour(self, item: Any) -> tuple[float, int]:
        """Luminance and opacity of an object's fill; black where it has none of its own."""
        if not _fill_colour(item, *self._slots):
            return 0.0, 255
        red, green, blue, opacity = self._channels
        return 0.299 * red + 0.587 * green + 0.114 * blue, opacity


def _window(path: int, count: int) -> _Area:
    """What all the clipping paths of an object leave open, each taken as its bounding box."""
    handle = ctypes.cast(ctypes.c_void_p(path), pdfium.FPDF_CLIPPATH)
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
        edges = (ctypes.c_float * 4)()
        slots = [ctypes.byref(edges, 4 * index) for index in range(4)]
        page = ctypes.c_void_p(ctypes.cast(self._page, ctypes.c_void_p).value)
        count = pdfium.FPDFPage_CountObjects(self._page)
        items = [ctypes.c_void_p(pointer) for pointer in map(_object, repeat(page), range(count))]
        for order, (item, kind) in enumerate(zip(items, map(_type, items), strict=True)):
            if kind == pdfium.FPDF_PAGEOBJ_TEXT:
                self._order[item.value or 0] = order
            elif kind != pdfium.FPDF_PAGEOBJ_PATH or _is_filled(item):
                luminance, opacity = self._painter.colour(item)
                if opacity > _FAINT and _bounds(item, *slots):
                    left, bottom, right, top = edges
                    known = luminance if kind == pdfium.FPDF_PAGEOBJ_PATH else None
                    yield _Ground(order, (left, bottom, right, top), known)


def _is_filled(path: ctypes.c_void_p) -> bool:
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    _draw_mode(path, ctypes.byref(mode), ctypes.byref(stroked))
    return bool(mode.value != pdfium.FPDF_FILLMODE_NONE)
