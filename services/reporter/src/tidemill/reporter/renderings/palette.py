"""Colours of charts: for a page that knows its reader's theme by CSS, and for paper."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    ink: str
    muted: str
    rule: str
    surface: str
    line: str
    band: str
    bad: str
    new: str
    changed: str
    back: str
    gone: str
    font: str


PAGE = Palette(
    **{name: f"var(--{name})" for name in "ink muted rule surface line band bad new changed back gone".split()},
    font="system-ui, sans-serif",
)
"""A chart drawn so follows the theme, and turns light on paper, without being drawn again."""

PAPER = Palette(
    ink="#16212b",
    muted="#5a6872",
    rule="#dfe5e8",
    surface="#ffffff",
    line="#0b6b7a",
    band="#cfe6ea",
    bad="#b3261e",
    new="#0b6b7a",
    changed="#d08a1d",
    back="#7a5ea8",
    gone="#7d8790",
    font="Liberation Sans",
)
"""Its font is one that vl-convert brings along."""
