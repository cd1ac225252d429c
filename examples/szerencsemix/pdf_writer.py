"""A small PDF writer that does exactly what it is told: every run of text where, how and in which order we say."""

import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from reportlab.pdfbase import _fontdata

_EXTRA = {
    "ő": "otilde",
    "ű": "ucircumflex",
    "Ő": "Otilde",
    "Ű": "Ucircumflex",
    "ﬁ": "fi",
    "ﬂ": "fl",
    "\uf153": "guillemotright",
}
"""Characters beyond the standard fonts, each with the glyph that stands in for it: drawn and meant may differ."""
_EXTRA_CODES = {character: code for code, character in enumerate(_EXTRA, start=1)}

Colour = float
"""Grey, from 0 (black) to 1 (white)."""


@cache
def _widths(font: str) -> dict[int, int]:
    """Width of each character code in thousandths of the size."""
    by_name = _fontdata.widthsByFontGlyph[font]
    names = _fontdata.encodings["WinAnsiEncoding"]
    widths = {code: by_name.get(name, 0) for code, name in enumerate(names) if name}
    for character, code in _EXTRA_CODES.items():
        widths[code] = by_name[_EXTRA[character]]
    return widths


def encode(text: str) -> bytes:
    """Character codes of a text in our fonts."""
    return b"".join(bytes([_EXTRA_CODES[c]]) if c in _EXTRA_CODES else c.encode("cp1252") for c in text)


def width(text: str, font: str, size: float) -> float:
    """Length of a text in points."""
    widths = _widths(font)
    return sum(widths[code] for code in encode(text)) * size / 1000


@dataclass
class Page:
    """One page; lengths count from its top left corner, as one reads."""

    size: tuple[float, float]
    corner: tuple[float, float] = (0.0, 0.0)
    """Where its lower left corner lies in PDF's coordinates."""
    rotate: int = 0
    """`/Rotate`: how a reader shows it, in degrees."""
    turned: int = 0
    """Quarter turns by which everything is drawn, so that it reads upright when shown turned."""
    shapes: list[bytes] = field(default_factory=list)
    runs: list[bytes] = field(default_factory=list)

    def text(
        self,
        x: float,
        baseline: float,
        text: str,
        font: str = "F1",
        size: float = 8,
        *,
        colour: Colour = 0,
        mode: int = 0,
        upward: bool = False,
        opacity: str = "",
        clip: tuple[float, float, float, float] | None = None,
    ) -> None:
        """One run. `upward` sets it turned by a quarter; `mode` is PDF's text render mode."""
        escaped = encode(text).replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        a, b, c, d, e, f = self._matrix(x, baseline, upward)
        window = b""
        if clip:
            left, top, right, bottom = clip
            window = self._rectangle(left, top, right - left, bottom - top) + b" W n "
        state = f"/{opacity} gs ".encode() if opacity else b""
        self.runs.append(
            b"q " + window + state + f"{colour:.2f} g BT /{font} {size:.2f} Tf {mode} Tr ".encode()
            + f"{a} {b} {c} {d} {e:.3f} {f:.3f} Tm (".encode() + escaped + b") Tj ET Q"
        )  # fmt: skip

    def box(self, x: float, y: float, wide: float, high: float, fill: Colour | None, stroke: bool = False) -> None:
        colour = b"" if fill is None else f"{fill:.2f} g ".encode()
        paint = {(True, True): b"B", (True, False): b"f", (False, True): b"S"}.get((fill is not None, stroke), b"n")
        self.shapes.append(b"q 0.3 w " + colour + self._rectangle(x, y, wide, high) + b" " + paint + b" Q")

    def _rectangle(self, x: float, y: float, wide: float, high: float) -> bytes:
        points = [self._place(*corner) for corner in ((x, y), (x + wide, y + high))]
        (x0, y0), (x1, y1) = points
        return f"{min(x0, x1):.3f} {min(y0, y1):.3f} {abs(x1 - x0):.3f} {abs(y1 - y0):.3f} re".encode()

    def _place(self, x: float, y: float) -> tuple[float, float]:
        wide, high = self.size
        match self.turned % 4:
            case 1:
                place = y, x
            case 2:
                place = wide - x, y
            case 3:
                place = high - y, wide - x
            case _:
                place = x, high - y
        return self.corner[0] + place[0], self.corner[1] + place[1]

    def _matrix(self, x: float, baseline: float, upward: bool) -> tuple[int, int, int, int, float, float]:
        turns = (self.turned + upward) % 4
        a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
        return (a, b, -b, a, *self._place(x, baseline))

    @property
    def media_box(self) -> tuple[float, float, float, float]:
        wide, high = self.size if self.turned % 2 == 0 else self.size[::-1]
        return (*self.corner, self.corner[0] + wide, self.corner[1] + high)

    def content(self, order: random.Random | None) -> bytes:
        runs = list(self.runs)
        if order:
            order.shuffle(runs)
        return b"\n".join([*self.shapes, *runs])


def save(
    pages: Iterable[Page],
    fonts: dict[str, str],
    *,
    order: random.Random | None = None,
    readable: bool = True,
) -> bytes:
    """The file. `order` shuffles the runs of each page; `readable=False` leaves the fonts without a key to letters."""
    objects: list[bytes] = [b"", b"<< /Type /Catalog /Pages 1 0 R >>", b"<< /Type /ExtGState /ca 0.02 /CA 0.02 >>"]
    names = []
    for name, base in fonts.items():
        objects.append(_font(base, len(objects) + 2, readable))
        names.append(f"/{name} {len(objects)} 0 R")
        objects.append(_stream(_to_unicode(readable)))
    kids = []
    for page in pages:
        objects.append(_stream(page.content(order)))
        box = " ".join(f"{edge:.2f}" for edge in page.media_box)
        objects.append(
            f"<< /Type /Page /Parent 1 0 R /MediaBox [{box}] /Rotate {page.rotate} /Contents {len(objects)} 0 R "
            f"/Resources << /Font << {' '.join(names)} >> /ExtGState << /G1 3 0 R >> >> >>".encode()
        )
        kids.append(f"{len(objects)} 0 R")
    objects[0] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>".encode()
    return _file(objects)


def _font(base: str, to_unicode: int, readable: bool) -> bytes:
    widths = _widths(base)
    named = " ".join(f"/{_EXTRA[c]}" if readable else f"/g{code}" for c, code in _EXTRA_CODES.items())
    hidden = "" if readable else " 32 " + " ".join(f"/g{code}" for code in range(32, 256))
    listed = " ".join(str(widths.get(code, 0)) for code in range(256))
    return (
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{base} /FirstChar 0 /LastChar 255 /Widths [{listed}] "
        f"/Encoding << /BaseEncoding /WinAnsiEncoding /Differences [1 {named}{hidden}] >> "
        f"/ToUnicode {to_unicode} 0 R >>".encode()
    )


def _to_unicode(readable: bool) -> bytes:
    listed = "\n".join(f"<{code:02x}> <{ord(c):04x}>" for c, code in _EXTRA_CODES.items()) if readable else ""
    count = len(_EXTRA_CODES) if readable else 0
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
        "1 begincodespacerange <00> <ff> endcodespacerange\n"
        f"{count} beginbfchar\n{listed}\nendbfchar\nendcmap end end"
    ).encode()


def _stream(content: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    return f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream"


def _file(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 2 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)
