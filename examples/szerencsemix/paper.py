"""Lays an issue out: the offer as a table in any number of columns, and the matter around it that is no offer."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Any

from pdf_writer import Page, save, width

MONTHS = "január február március április május június július augusztus szeptember október november december".split()
DAYS = "Hétfő Kedd Szerda Csütörtök Péntek Szombat Vasárnap".split()
LABELS = {"time": "Kezdési idő", "serial": "Sorszám", "mark": "M.k.", "event": "Fogadási esemény", "kim": "Kim."}
CELLS = ("time", "serial", "mark", "event", "market", "kim", "H", "D", "V")
WIDTHS = {"time": 17, "serial": 12, "mark": 4, "event": 52, "market": 58, "kim": 6, "H": 10, "D": 10, "V": 10}

Row = dict[str, Any]
"""The cells of a printed row by name; prices under H, D and V."""


@dataclass(frozen=True)
class Heading:
    """A line between rows: a day, or a sport and league."""

    text: str
    is_day: bool = False
    pages: str = ""


@dataclass(frozen=True)
class Style:
    """How an offer may be set. Each field is one thing that a reader takes in their stride."""

    page: tuple[float, float] = (595, 842)
    corner: tuple[float, float] = (0, 0)
    rotate: int = 0
    turned: int = 0
    margin: float = 26
    columns: int = 1
    gutter: float = 14
    fonts: tuple[str, str] = ("Helvetica", "Helvetica-Bold")
    size: float = 6.5
    padding: float = 2.2
    leading: float = 1.12
    order: tuple[str, ...] = CELLS
    widths: dict[str, float] = field(default_factory=lambda: dict(WIDTHS))
    prices: str = "right"
    texts: str = "left"
    """How prices and texts stand in their cells: left, right or centre."""
    empty: str = ""
    """What stands in a cell without a price."""
    day_over_all: bool = False
    """The first day heading stands above all columns of the page."""
    wraps: str = "top"
    """How one-line cells stand beside a wrapped one: top, middle or bottom."""
    ruled: bool = True
    head: str = "each"
    """A head on `each` column, on the `first` column of the paper alone, on `none`, or `split` over two lines."""
    headings: str = "event"
    """Where league headings begin: event, left or centre."""
    narrow_headings: bool = False
    """They are no wider than the cell of the event, and may take several lines."""
    folio: bool = True
    dash: str = "-"
    blank: str = " "
    ligatures: bool = False
    spaceless: bool = False
    """Words are placed one by one, without glyphs for the spaces between them."""
    pieces: int = 0
    """Cut each run into pieces of so many characters."""
    shuffled: bool = False
    readable: bool = True
    offer_only: bool = False


@dataclass
class Paper:
    """An issue to print: what the offer says, and when it came out."""

    number: int
    date: str
    items: list[Heading | Row]
    boxes: list[dict[str, Any]] = field(default_factory=list)
    outrights: list[dict[str, Any]] = field(default_factory=list)


def day_in_words(iso: str) -> str:
    year, month, day = iso.split("-")
    return f"{year}. {MONTHS[int(month) - 1]} {int(day)}."


def print_paper(paper: Paper, style: Style) -> bytes:
    """The PDF of an issue."""
    return bind(lay_out(paper, style), style)


def lay_out(paper: Paper, style: Style) -> list[Page]:
    """The pages of an issue."""
    layout = _Layout(paper, style)
    pages = list(layout.offer_pages())
    return pages if style.offer_only else [layout.front_page(), *pages, layout.standings_page(), layout.last_page()]


def bind(pages: Sequence[Page], style: Style, seed: int = 57) -> bytes:
    """The PDF of some pages."""
    order = random.Random(seed) if style.shuffled else None
    return save(pages, {"F1": style.fonts[0], "F2": style.fonts[1]}, order=order, readable=style.readable)


class _Layout:
    def __init__(self, paper: Paper, style: Style) -> None:
        self.paper = paper
        self.style = style
        self.regular, self.bold = style.fonts
        self.line = style.size * style.leading

    # The offer

    def offer_pages(self) -> Iterator[Page]:
        style = self.style
        wide = (style.page[0] - 2 * style.margin - (style.columns - 1) * style.gutter) / style.columns
        waiting = list(self.paper.items[1:] if style.day_over_all else self.paper.items)
        number = 0
        while waiting:
            number += 1
            page = self._new_page()
            top = self._top_of_offer(page, number)
            for column in range(style.columns):
                left = style.margin + column * (wide + style.gutter)
                y = top
                if style.head == "each" or (style.head == "first" and number == 1 and column == 0):
                    y = self._head(page, left, y, wide)
                elif style.head == "split":
                    y = self._split_head(page, left, y, wide)
                self._fill(page, left, y, wide, waiting)
            yield page

    def _top_of_offer(self, page: Page, number: int) -> float:
        style = self.style
        y = style.margin
        if style.folio:
            page.text(style.margin, y, day_in_words(self.paper.date), "F1", style.size + 1)
            folio = f"Ajánlat: {number}"
            page.text(style.page[0] - style.margin - width(folio, self.bold, 9), y, folio, "F2", 9)
        y += 16
        if number == 1:
            y = self._boxes(page, y)
        title = "fogadási ajánlat"
        for index, letter in enumerate(title):
            page.text(style.page[0] / 2 - 60 + 9 * index, y + 10, letter, "F2", 12)
        if number == 1 and style.day_over_all:
            heading = self._first_day()
            y += 14
            page.text((style.page[0] - width(heading, self.bold, 10)) / 2, y + 10, heading, "F2", 10)
        return y + 20

    def _first_day(self) -> str:
        heading = self.paper.items[0]
        assert isinstance(heading, Heading)
        return heading.text

    def _fill(self, page: Page, left: float, top: float, wide: float, waiting: list[Heading | Row]) -> None:
        bottom = self.style.page[1] - self.style.margin
        y = top
        shaded = False
        while waiting:
            item = waiting[0]
            high = self._height(item, wide)
            # A heading does not stand alone at the foot of a column.
            needed = high + sum(self._height(other, wide) for other in waiting[1:2] if isinstance(item, Heading))
            if y + needed > bottom:
                return
            waiting.pop(0)
            if isinstance(item, Heading):
                self._heading(page, item, left, y, wide, high)
                shaded = False
            else:
                self._row(page, item, left, y, wide, high, shaded)
                shaded = not shaded
            y += high

    def _height(self, item: Heading | Row, wide: float) -> float:
        cells = {"": self._heading_lines(item, wide)} if isinstance(item, Heading) else self._cells(item, wide)
        lines = max(len(lines) for lines in cells.values())
        return lines * self.line + self.style.padding

    def _columns(self, left: float, wide: float) -> dict[str, tuple[float, float]]:
        """Left and right edge of each cell."""
        total = sum(self.style.widths[name] for name in self.style.order)
        edges = {}
        for name in self.style.order:
            right = left + self.style.widths[name] / total * wide
            edges[name] = left, right
            left = right
        return edges

    def _cells(self, row: Row, wide: float) -> dict[str, list[str]]:
        edges = self._columns(0, wide)
        cells = {}
        for name in self.style.order:
            text = self._spelt(str(row.get(name) or (self.style.empty if name in "HDV" else "")))
            limit = edges[name][1] - edges[name][0] - 2
            cells[name] = self._wrapped(text, limit) if name in ("event", "market") else [text]
        return cells

    def _spelt(self, text: str) -> str:
        style = self.style
        text = text.replace("-", style.dash) if style.dash != "-" else text
        if style.ligatures:
            text = text.replace("fi", "ﬁ").replace("fl", "ﬂ")
        return text.replace(" ", style.blank)

    def _wrapped(self, text: str, limit: float) -> list[str]:
        blank = self.style.blank
        lines = [""]
        for word in text.split(blank):
            longer = f"{lines[-1]}{blank}{word}" if lines[-1] else word
            if lines[-1] and width(longer, self.regular, self.style.size) > limit:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def _row(self, page: Page, row: Row, left: float, y: float, wide: float, high: float, shaded: bool) -> None:
        style = self.style
        edges = self._columns(left, wide)
        cells = self._cells(row, wide)
        if style.ruled:
            page.box(left, y, wide, high, 0.92 if shaded else None, stroke=True)
        most = max(len(lines) for lines in cells.values())
        for name, lines in cells.items():
            spare = (most - len(lines)) * self.line
            first = y + style.padding / 2 + style.size * 0.8
            first += {"top": 0.0, "middle": spare / 2, "bottom": spare}[style.wraps]
            for index, text in enumerate(lines):
                x = self._aligned(name, text, *edges[name])
                self.say(page, x, first + index * self.line, text)

    def _aligned(self, name: str, text: str, left: float, right: float) -> float:
        long = width(text, self.regular, self.style.size)
        place = {"event": self.style.texts, "market": self.style.texts, "time": "left", "serial": "left"}.get(name)
        if place is None:
            place = self.style.prices if name in "HDV" else "centre"
        return {"left": left + 2, "centre": (left + right - long) / 2, "right": right - 2 - long}[place]

    def say(self, page: Page, x: float, baseline: float, text: str, font: str = "F1", size: float = 0) -> None:
        """A text in as many runs as the style asks for."""
        style = self.style
        size = size or style.size
        base = self.bold if font == "F2" else self.regular
        parts = [text]
        if style.spaceless:
            parts = text.replace(style.blank, " ").split(" ")
        for part in parts:
            step = style.pieces or max(1, len(part))
            at = x
            for start in range(0, len(part), step):
                piece = part[start : start + step]
                if piece.strip():
                    page.text(at, baseline, piece, font, size)
                at += width(piece, base, size)
            x = at + width(" ", base, size)

    def _heading(self, page: Page, heading: Heading, left: float, y: float, wide: float, high: float) -> None:
        style = self.style
        baseline = y + style.padding / 2 + style.size * 0.8
        text = self._spelt(heading.text)
        long = width(text, self.bold, style.size)
        if heading.is_day:
            if style.ruled:
                page.box(left, y, wide, high, 0.25)
            page.text(left + (wide - long) / 2, baseline, text, "F2", style.size, colour=1 if style.ruled else 0)
            return
        if style.ruled:
            page.box(left, y, wide, high, 0.8, stroke=True)
        event = self._columns(left, wide)["event"][0] + 2
        x = {"event": event, "left": left + 2, "centre": left + (wide - long) / 2}[style.headings]
        lines = self._heading_lines(heading, wide)
        for index, line in enumerate(lines):
            self.say(page, x, baseline + index * self.line, line, "F2")
        if heading.pages:
            x += width(lines[0], self.bold, style.size)
            self.say(page, x + 3, baseline, f"\uf153 : {heading.pages}. oldal")

    def _heading_lines(self, heading: Heading, wide: float) -> list[str]:
        """A league's name may be longer than the cell of the event."""
        style = self.style
        start, stop = self._columns(0, wide)["event"]
        limit = stop - start - 2 if style.narrow_headings and not heading.is_day else 10 * wide
        return self._wrapped(self._spelt(heading.text), limit)

    def _head(self, page: Page, left: float, y: float, wide: float) -> float:
        high = self.line + 3
        if self.style.ruled:
            page.box(left, y, wide, high, 0.85, stroke=True)
        self._labels(page, left, y + self.style.size, wide, self.style.order)
        return y + high

    def _split_head(self, page: Page, left: float, y: float, wide: float) -> float:
        """Time, serial and mark above the others, as the real paper has it."""
        upper = ("time", "serial", "mark")
        self._labels(page, left, y + self.style.size, wide, upper)
        y += 2 * self.line
        self._labels(page, left, y + self.style.size, wide, [name for name in self.style.order if name not in upper])
        return y + self.line + 3

    def _labels(self, page: Page, left: float, baseline: float, wide: float, names: Sequence[str]) -> None:
        size = self.style.size * 0.85
        for name, (start, stop) in self._columns(left, wide).items():
            if name not in names or name == "market":
                continue
            label = LABELS.get(name, name)
            if name == "mark":
                page.text((start + stop) / 2 + size / 2, baseline + 2, label, "F2", size * 0.6, upward=True)
            elif name in ("kim", *"HDV"):
                page.text((start + stop - width(label, self.bold, size)) / 2, baseline, label, "F2", size)
            else:
                page.text(start + 2, baseline, label, "F2", size)

    def _boxes(self, page: Page, y: float) -> float:
        """Rows of the table once more, as advertisements with a label above each value."""
        style = self.style
        for box in self.paper.boxes:
            left = style.margin + 30
            page.box(left, y, style.page[0] / 2, 34, 0.95, stroke=True)
            page.text(left + 5, y + 9, f"szuper odds – {box['league']}", "F2", 8)
            labels = [("Kezdési időpont:", 5), ("Sorszám:", 60), ("Fogadási esemény:", 100)]
            for label, x in labels:
                page.text(left + x, y + 18, label, "F1", 5.5)
            page.text(left + 150, y + 18, box["event"], "F2", 7)
            page.text(left + 5, y + 29, f"{box['day']} {box['time']}", "F2", 8)
            page.text(left + 60, y + 29, box["serial"], "F1", 8)
            for index, price in enumerate(box["prices"]):
                page.text(left + 150 + 40 * index, y + 29, price, "F2", 8)
            y += 38
        return y

    # What is no offer

    def _new_page(self) -> Page:
        style = self.style
        return Page(style.page, style.corner, style.rotate, style.turned)

    def _prose(self, page: Page, x: float, y: float, lines: Sequence[str], size: float = 7) -> float:
        for line in lines:
            page.text(x, y, line, "F1", size)
            y += size * 1.25
        return y

    def front_page(self) -> Page:
        style = self.style
        page = self._new_page()
        page.text(style.margin, 40, "Mintamix", "F2", 30)
        page.text(style.margin, 52, "a képzelt hírlapkiadó mintapéldánya", "F1", 8)
        number = f"XXIV. évfolyam {self.paper.number}. szám"
        page.text(style.page[0] - style.margin - 100, 30, number, "F1", 8)
        page.text(style.page[0] - style.margin - 100, 40, day_in_words(self.paper.date), "F1", 8)
        for shift in (0, 0.3):  # Bold by double strike.
            page.text(style.margin + shift, 70, "NYEREMÉNYEK:", "F2", 12)
        self._prose(page, style.margin, 84, _WINNERS)
        self._prose(page, style.page[0] / 2 + 8, 87.3, _LOTTERY)
        return page

    def standings_page(self) -> Page:
        page = self._new_page()
        page.text(self.style.margin, 36, f"8 {day_in_words(self.paper.date)}", "F1", 8)
        page.text(self.style.margin, 52, "Képzelt bajnokság, Ráj.", "F2", 9)
        self._prose(page, self.style.margin, 64, _STANDINGS)
        self._prose(page, self.style.page[0] / 2, 67.7, _RESULTS)
        return page

    def last_page(self) -> Page:
        style = self.style
        page = self._new_page()
        page.text(style.page[0] / 2 - 20, 36, "egyéb", "F2", 12)
        y = 56.0
        for outright in self.paper.outrights:
            y = self._outright(page, style.margin, y, outright)
        self._builder(page, style.page[0] / 2 + 20, 60)
        page.text(style.page[0] / 2 + 20, 200, "Totó", "F2", 14)
        self._prose(page, style.page[0] / 2 + 20, 214, _POOLS)
        return page

    def _outright(self, page: Page, x: float, y: float, outright: dict[str, Any]) -> float:
        page.box(x, y - 8, 200, 11, 0.3)
        page.text(x + 5, y, "Hosszútávú fogadás (outright)", "F2", 7.5, colour=1)
        for line in outright["title"]:
            y += 10
            page.text(x + 2, y, line, "F2", 7)
        y += 9
        page.text(x + 2, y, f"Sorszám: {outright['serial']}", "F1", 6.5)
        page.text(x + 140, y, "Kimenetel", "F1", 6.5)
        page.text(x + 180, y, "Odds", "F1", 6.5)
        for name, kim, price in outright["outcomes"]:
            y += 8
            page.text(x + 2, y, name, "F1", 6.5)
            page.text(x + 152, y, kim, "F1", 6.5)
            page.text(x + 196 - width(price, self.regular, 6.5), y, price, "F1", 6.5)
        return y + 20

    def _builder(self, page: Page, x: float, y: float) -> None:
        """A bet of several picks, with the serials set apart digit by digit."""
        page.box(x, y, 200, 80, 0.95, stroke=True)
        page.text(x + 4, y + 12, "FOGADÁSKÉSZÍTŐ", "F2", 9)
        page.text(x + 4, y + 22, "Labdarúgás - Képzelt bajnokság", "F1", 6.5)
        page.text(x + 4, y + 32, "Alsófalva - Felsőfalva", "F2", 7.5)
        for index, (pick, column) in enumerate([("1X2", "V"), ("Gólszám 2,5", "H"), ("1. félidő - 1X2", "V")]):
            page.text(x + 4, y + 44 + 9 * index, f"4 5 5 3 {index}", "F1", 6.5)
            page.text(x + 50, y + 44 + 9 * index, pick, "F1", 6.5)
            page.text(x + 180, y + 44 + 9 * index, column, "F2", 6.5)
        page.text(x + 4, y + 74, "ODDS:", "F2", 7)
        page.text(x + 170, y + 74, "3,13", "F2", 9)


_WINNERS = (
    "VáRHATó FőNyEREMéNy Képzelt lottó - 29. HÉT",
    "7 találatos: 1 db 479 593 535 Ft, 6 találatos: 68 db 245 125 Ft",
    "egy alsófalvai játékos 1 300 ft-os téttel, 3-as kötéssel 1 376 375 ft-ot nyert",
    "labdarúgás alsófalva - Felsőfalva hendikep 0:1 döntetlen 3,75 Nyertes",
    "Labdarúgás képzelt tC - Minta sE 1X2 + Gólszám 3,5 döntetlen és több",
    "8,75 nyertes",
    "kosárlabda Alsófalva - Középfalva (élő) A mérkőzés győztese alsófalva 1,62 nyertes",
    "Virtuális Labdarúgás Vörös Malmok - Kék Ágyúk 1X2 Vörös Malmok 2,35 Nyertes",
    "Az akció időtartama: június 16. - július 13. P 12:30 12345 1,50 2,50 3,50 nem ajánlat",
)
_LOTTERY = (
    "ELSő (GéPI) SORSOLáS 3 5 15 19 30 31 34",
    "2025. július 15. (kedd) 2 3 5 6 6 8 16 20 1 5 8 12",
    "KENó - 29. HéT 60 72 67 24 34 36 53 19 64 57",
    "MILLIó FORINT 4x10 millió Ft Labdarúgás Minta sE - képzelt tC 1,14 nyertes",
    "Minden nyertesünknek szívből gratulálunk!",
)
_STANDINGS = (
    "Ráj. 1.Alsófalva 16 9 6 1 24:9 33 3-3-0",
    "2.Felsőfalva 16 8 5 3 21:12 29 2-2-1",
    "3.Középfalva14 7 2 5 18:14 23 1-1-2",
    "14.Minta SE 16 0 2 14 25:22 -14 0-1-5",
)
_RESULTS = (
    "Július 2. Alsófalva - Felsőfalva 0:1",
    "Július 5. Középfalva - Minta SE 2:2",
    "Július 19. 18:00 Felsőfalva - Középfalva",
)
_POOLS = (
    "forduló eredményei",
    "1.Alsófalva - Felsőfalva Képzelt bajnokság 3-0 1",
    "2.Középfalva - Minta SE Képzelt bajnokság 0-0 X",
    "Fogadási ajánlat",
    "3.Felsőfalva - Középfalva Képzelt bajnokság 2025. júl. 19. 18:00",
    "4.Minta SE - Alsófalva Képzelt bajnokság 2025. júl. 20. 19:30",
)


def offer_items(matches: Sequence[dict[str, Any]], others: Sequence[Heading | Row] = ()) -> list[Heading | Row]:
    """Headings and rows of matches in the form of the truth file, in their order; `others` close the first day."""
    items: list[Heading | Row] = []
    for number, (section, of_day) in enumerate(groupby(matches, key=lambda match: match["section_date"])):
        weekday = DAYS[date.fromisoformat(section).weekday()]
        items.append(Heading(f"{weekday} ({day_in_words(section)})", is_day=True))
        for index, (league, played) in enumerate(groupby(of_day, key=lambda match: match["league"])):
            items.append(Heading(f"Labdarúgás, {league}", pages="9" if index % 2 else "13,14"))
            items.extend(row for match in played for row in match_rows(match))
        if number == 0:
            items.extend(others)
    return items


def match_rows(match: dict[str, Any]) -> Iterator[Row]:
    """The rows of a match. Only the first prints country marks and the ground."""
    plain = " - ".join(re.sub(r" \([A-Z]{3}\)$", "", match[side]) for side in ("home", "away"))
    venue = f" (Helyszín: {match['venue']})" if match["venue"] else ""
    for index, market in enumerate(match["markets"]):
        event = f"{match['home']} - {match['away']}{venue}" if index == 0 else plain
        prices = [f"{price:.2f}".replace(".", ",") for price in market["odds"]]
        yield {
            "time": f"{match['day']} {match['time']}",
            "serial": market["serial"],
            "event": event,
            "market": market["market_text"],
            "kim": market["kim"],
            **dict(zip(market["cols"], prices, strict=True)),
        }
