"""Which words a reader can see: false rows hide in text that is drawn and does not show."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, repeat
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

_Colour = tuple[int, int, int, int]
"""Red, green, blue and opacity, each of 255."""
_BLACK: _Colour = (0, 0, 0, 255)
_Point = tuple[float, float]
_Area = tuple[float, float, float, float]
"""(left, bottom, right, top) in PDF coordinates."""


class _Paint(NamedTuple):
    """How a text object is painted."""

    shows: bool
    luminance: float
    window: _Area | None
    """The area it is clipped to."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The words of a page, parted."""

    visible: list[Word]
    hidden: list[Word]


class Sight:
    """Parts what shows from what does not, page after page of one document."""

    def __init__(self) -> None:
        self._painter = _Painter()

    def part(self, page: Any, textpage: Any, glyphs: Glyphs, words: Sequence[Word]) -> Seen:
        """Part the words that show from those off the page, tiny, transparent, clipped away, or without contrast."""
        objects = _objects(textpage, words)
        paints = self._painter.paints(list({pointer for pointer in objects if pointer}))
        fit = _fit(words, glyphs)
        if paints:
            grounds = _Grounds(page, self._painter)
            for index, (word, pointer) in enumerate(zip(words, objects, strict=True)):
                if not fit[index] or pointer not in paints:
                    continue
                if word.chained:  # A text that begins in its cell is read, though its end be clipped.
                    fit[index] = fit[index - 1]
                else:
                    fit[index] = _shows(paints[pointer], _centre(textpage, word), pointer, grounds)
        if all(fit):
            return Seen(list(words), [])
        return Seen(list(compress(words, fit)), [word for word, shows in zip(words, fit, strict=True) if not shows])


def _objects(textpage: Any, words: Sequence[Word]) -> list[int]:
    """The text object of each word; words of one run are of one object."""
    handle = ctypes.c_void_p(ctypes.cast(textpage, ctypes.c_void_p).value)
    firsts = iter(list(map(_text_object, repeat(handle), [word.start for word in words if not word.chained])))
    objects: list[int] = []
    for word in words:
        objects.append(objects[-1] if word.chained else next(firsts))
    return objects


def _shows(paint: _Paint, centre: _Point, pointer: int, grounds: "_Grounds") -> bool:
    if not paint.shows or (paint.window is not None and not _inside(paint.window, centre)):
        return False
    return paint.luminance < _PALE or grounds.contrasts(pointer, paint.luminance, centre)


def _fit(words: Sequence[Word], glyphs: Glyphs) -> list[bool]:
    """Which words are large enough and on the page: nearly always all."""
    if not words:
        return []
    _, lefts, _, rights, _, _, _, middles, heights = zip(*words, strict=True)
    smallest = max(1.5, _TINY * median(heights))
    on_page = min(lefts) >= 0 and max(rights) <= glyphs.width and min(middles) >= 0 and max(middles) <= glyphs.height
    if on_page and min(heights) >= smallest:
        return [True] * len(words)
    return [_fits(word, smallest, glyphs) for word in words]


def _fits(word: Word, smallest: float, glyphs: Glyphs) -> bool:
    """Whether most of a word is on the page, and it is large enough. One letter of an upright text lies on its side."""
    size = word.height if len(word.text) > 1 else max(word.height, word.right - word.left)
    return size >= smallest and 0 <= word.centre <= glyphs.width and 0 <= word.middle <= glyphs.height


def _inside(area: _Area, point: _Point) -> bool:
    left, bottom, right, top = area
    return left <= point[0] <= right and bottom <= point[1] <= top


def _centre(textpage: Any, word: Word) -> _Point:
    """The middle of a word's first glyph, in PDF coordinates."""
    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(textpage, word.start, box)
    return (box.left + box.right) / 2, (box.bottom + box.top) / 2


class _Painter:
    """Asks pdfium how objects are painted, many at a time: the answers go to one array that is kept."""

    def __init__(self) -> None:
        self._channels: Any = (ctypes.c_uint * 0)()
        self._slots: list[list[Any]] = []

    def paints(self, pointers: Sequence[int]) -> dict[int, _Paint]:
        """The paint of text objects, but for those in plain dark ink, which are most."""
        items = [ctypes.c_void_p(pointer) for pointer in pointers]
        colours = self.colours(items)
        modes, clips = list(map(_render_mode, items)), list(map(_clip_path, items))
        if set(colours) <= {_BLACK} and set(modes) <= {0} and not any(clips):
            return {}
        paints = {}
        for item, colour, mode, clip in zip(items, colours, modes, clips, strict=True):
            count = _clip_count(ctypes.c_void_p(clip)) if clip else 0
            if count <= 0 and colour == _BLACK and mode not in _PAINT_NOTHING:
                continue
            luminance, opacity = _brightness(colour)
            shows = mode not in _PAINT_NOTHING and opacity > _FAINT
            paints[item.value or 0] = _Paint(shows, luminance, _window(clip, count) if count > 0 else None)
        return paints

    def colours(self, items: Sequence[ctypes.c_void_p]) -> list[_Colour]:
        """The fill of each object; opaque black for one that has none of its own."""
        count = len(items)
        if 4 * count > len(self._channels):
            self._channels = (ctypes.c_uint * (4 * count))()
            self._slots = [[ctypes.byref(self._channels, 16 * i + 4 * k) for i in range(count)] for k in range(4)]
        found = list(map(_fill_colour, items, *self._slots))
        channels = self._channels[: 4 * count]
        filled = zip(channels[0::4], channels[1::4], channels[2::4], channels[3::4], strict=True)
        return [colour if known else _BLACK for colour, known in zip(filled, found, strict=True)]


def _brightness(colour: _Colour) -> tuple[float, int]:
    """Luminance and opacity."""
    red, green, blue, opacity = colour
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
        self._known: dict[int, bool] = {}
        self._edges = (ctypes.c_float * 4)()
        self._slots = [ctypes.byref(self._edges, 4 * side) for side in range(4)]

    def contrasts(self, pointer: int, luminance: float, point: _Point) -> bool:
        """Whether a text object of this luminance shows on what was painted below it; bare paper is white."""
        if pointer not in self._known:
            ground = self._luminance_below(pointer, point)
            self._known[pointer] = ground is None or abs(ground - luminance) > _CONTRAST
        return self._known[pointer]

    @cached_property
    def _objects(self) -> list[int]:
        """The page's objects in the order of painting."""
        page = ctypes.c_void_p(ctypes.cast(self._page, ctypes.c_void_p).value)
        return list(map(_object, repeat(page), range(pdfium.FPDFPage_CountObjects(self._page))))

    def _luminance_below(self, pointer: int, point: _Point) -> float | None:
        """Of what was painted last below a point; None for a picture, which may have any colour."""
        objects = self._objects
        order = objects.index(pointer) if pointer in objects else len(objects)
        for item in map(ctypes.c_void_p, reversed(objects[:order])):
            kind = _type(item)
            if kind == pdfium.FPDF_PAGEOBJ_TEXT or not _inside(self._bounds_of(item), point):
                continue
            if kind != pdfium.FPDF_PAGEOBJ_PATH:
                return None
            luminance, opacity = _brightness(self._painter.colours([item])[0])
            if opacity > _FAINT and _is_filled(item):
                return luminance
        return _WHITE

    def _bounds_of(self, item: ctypes.c_void_p) -> _Area:
        _bounds(item, *self._slots)
        left, bottom, right, top = self._edges
        return left, bottom, right, top


def _is_filled(path: ctypes.c_void_p) -> bool:
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    _draw_mode(path, ctypes.byref(mode), ctypes.byref(stroked))
    return bool(mode.value != pdfium.FPDF_FILLMODE_NONE)
