"""One page of a document: what it says, or why it cannot be read."""

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import pypdfium2.raw as pdfium

from tidemill.football.anchors import find_anchors, unglued
from tidemill.football.glyphs import Box, GlyphReader, Glyphs, read_text, unchecked
from tidemill.football.imprint import Imprint, read_imprint
from tidemill.football.legibility import is_language
from tidemill.football.outrights import Outright, find_outrights
from tidemill.football.rows import Line, Row
from tidemill.football.table import TableReader
from tidemill.football.visibility import Sight
from tidemill.football.words import by_middle, find_words, lines_of, whole


class State(StrEnum):
    """Whether a page could be read."""

    READ = "read"
    BLANK = "blank"
    PICTURE = "picture"
    """A picture, or hardly any text that shows."""
    UNREADABLE = "unreadable"
    """Its fonts do not tell which letters they draw."""
    LOST = "lost"
    """It is not in the file, or broken."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds."""

    number: int
    state: State
    items: Sequence[Row | Line] = ()
    outrights: Sequence[Outright] = ()
    outside: dict[str, int] = field(default_factory=dict)
    """Rows that stand outside the table of the offer and are no records, by kind."""
    imprint: Imprint = field(default_factory=Imprint)

    @property
    def has_rows(self) -> bool:
        return any(isinstance(item, Row) and not item.boxed for item in self.items)


_FIGURES = re.compile(r"[A-Za-z]{0,3}\.?[\d:,]+")
_CONTROL = re.compile("[\x01\x03-\x08\x0e-\x1f\x7f-\x9f\ufffd]")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_SERIAL = re.compile(r"\d{5}")
_PRICE = re.compile(r"\d,\d\d")
_MANY_PRICES = 10
_LONG_WORD = 5
_FEW_LONG_WORDS = 0.1
"""Of a text whose words come in pieces and out of order, hardly any is longer; of others, a third."""
_FEW_WORDS = 30
"""A page with fewer words and a large picture is a picture with a folio."""
_LARGE = 0.5
"""Share of the page that a large picture covers."""

_map_error = unchecked(pdfium.FPDFText_HasUnicodeMapError)


class PageReader:
    """Reads the pages of one document, in order."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._glyphs = GlyphReader()
        self._sight = Sight()
        self._table = TableReader()

    def read(self, number: int) -> Page:
        """A page by its number, from 1."""
        page = pdfium.FPDF_LoadPage(self._document, number - 1)
        textpage = pdfium.FPDFText_LoadPage(page) if page else None
        try:
            return self._read(number, page, textpage) if textpage else Page(number, State.LOST)
        finally:
            if textpage:
                pdfium.FPDFText_ClosePage(textpage)
            if page:
                pdfium.FPDF_ClosePage(page)

    def _read(self, number: int, page: Any, textpage: Any) -> Page:
        text = read_text(textpage)
        if _is_soup(textpage, text):
            return Page(number, State.UNREADABLE)
        if not _may_hold_rows(text):
            return _page_without_rows(number, page, text)
        glyphs = self._glyphs.read(textpage, text, page_box(page))
        seen = self._sight.part(page, textpage, glyphs, find_words(glyphs))
        hidden = sum(map(len, find_anchors(sorted(seen.hidden, key=by_middle))))
        outside = {"invisible": hidden} if hidden else {}
        if not seen.visible or (len(seen.visible) < _FEW_WORDS and _is_picture(page)):
            return Page(number, State.PICTURE, outside=outside)
        lines = [whole(line) for line in lines_of(seen.visible)]
        words = [word for line in lines for word in line]
        glued = [word for word in words if len(word.text) > _LONG_WORD and _FIGURES.fullmatch(word.text)]
        if glued:
            words = [part for word in words for part in (unglued(word) if word in glued else (word,))]
        words.sort(key=by_middle)
        place = partial(_placed, glyphs)
        items = self._table.read(words, place)
        if not items and (elsewhere := sum(_looks_like_a_row([word.text for word in line]) for line in lines)):
            outside["not_offer"] = elsewhere
        return Page(
            number,
            State.READ,
            items,
            find_outrights(words, place),
            outside,
            read_imprint(lines),
        )


def _may_hold_rows(text: str) -> bool:
    """Whether geometry has anything to find: a serial, a title page, many prices, or text in pieces and out of order.

    Serials come in pieces too, where a writer cuts its runs; prices that are put together again tell then.
    """
    if _SERIAL.search(text) or "vfolyam" in text.lower():
        return True
    words = text.split()
    if len(_PRICE.findall("".join(words))) >= _MANY_PRICES:
        return True
    return sum(len(word) > _LONG_WORD for word in words) < _FEW_LONG_WORDS * len(words)


def _page_without_rows(number: int, page: Any, text: str) -> Page:
    words = text.split()
    if len(words) < _FEW_WORDS and _is_picture(page):
        return Page(number, State.PICTURE)
    if not words:
        return Page(number, State.BLANK)
    elsewhere = sum(_looks_like_a_row(line.split()) for line in text.splitlines())
    return Page(number, State.READ, outside={"not_offer": elsewhere} if elsewhere else {})


def page_box(page: Any) -> Box:
    """The visible part of a page, (left, bottom, right, top) in PDF coordinates."""
    box = pdfium.FS_RECTF()
    pdfium.FPDF_GetPageBoundingBox(page, box)
    return box.left, box.bottom, box.right, box.top


def _placed(glyphs: Glyphs, box: Box) -> Box:
    left, top, right, bottom = glyphs.page_box(box)
    return round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)


def _is_soup(textpage: Any, text: str) -> bool:
    """Whether the fonts leave more than a few characters without a meaning, or give them a wrong one."""
    if not text:
        return False
    sample = range(0, len(text), max(1, len(text) // 300))
    unmapped = sum(_map_error(textpage, index) == 1 for index in sample)
    controls, icons = len(_CONTROL.findall(text)), len(_PRIVATE.findall(text))
    undecoded = unmapped > 0.015 * len(sample) or controls > 0.005 * len(text) or icons > 0.1 * len(text)
    return undecoded or not is_language(text)


def _is_picture(page: Any) -> bool:
    x0, y0, x1, y1 = page_box(page)
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    for index in range(pdfium.FPDFPage_CountObjects(page)):
        item = pdfium.FPDFPage_GetObject(page, index)
        if pdfium.FPDFPageObj_GetType(item) == pdfium.FPDF_PAGEOBJ_IMAGE:
            pdfium.FPDFPageObj_GetBounds(item, left, bottom, right, top)
            area = (right.value - left.value) * (top.value - bottom.value)
            if area > _LARGE * (x1 - x0) * (y1 - y0):
                return True
    return False


def _looks_like_a_row(words: Sequence[str]) -> bool:
    """Two names and a figure, on a page that is not of the offer."""
    return "-" in words and any(word[-1].isdigit() for word in words)
