"""Words of a page, from the places of its glyphs."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidemill.football.glyphs import Box, Glyphs

# All in heights of the type, which pdfium's loose boxes give as the font size.
TOUCH = 0.12
"""Glyphs closer than this belong to one word: kerning, and letters set a little apart."""
OVERLAP = 0.35
"""A glyph that starts further back than this does not continue the word."""
SPACE = 0.8
"""Words closer than this may belong to one phrase; a wider gap is a gap between cells."""
SAME_LINE = 0.45
"""Middles of words on one line differ by less."""


class Word(NamedTuple):
    """Glyphs without a gap between them."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    start: int
    """Index of its first glyph in the page."""
    chained: bool
    """Set in the same run as the word before it, a space away."""

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def centre(self) -> float:
        return (self.left + self.right) / 2

    @property
    def height(self) -> float:
        return self.bottom - self.top


def find_words(glyphs: Glyphs) -> list[Word]:
    """Words in the order of the document: a word ends at a space, a gap, or a jump.

    A glyph printed twice within a third of its height (bold by double strike) counts once.
    """
    words: list[Word] = []
    left, right, top, bottom = glyphs.left, glyphs.right, glyphs.top, glyphs.bottom
    start = -1
    end_of_last, base_of_last = -1.0, -1.0
    edge = base = height = 0.0

    def close(stop: int) -> None:
        nonlocal end_of_last, base_of_last
        size = bottom[start] - top[start]
        gap = left[start] - end_of_last
        chained = -TOUCH * size < gap < SPACE * size and abs(bottom[start] - base_of_last) < 0.3 * size
        words.append(
            Word(glyphs.text[start:stop], left[start], top[start], right[stop - 1], bottom[start], start, chained)
        )
        end_of_last, base_of_last = right[stop - 1], bottom[start]

    for index, character in enumerate(glyphs.text):
        if character <= " " or character == "\xa0":
            if start >= 0:
                close(index)
                start = -1
            continue
        if start < 0:
            start = index
        elif not -OVERLAP * height < left[index] - edge < TOUCH * height or abs(bottom[index] - base) > 0.3 * height:
            if character == glyphs.text[index - 1] and abs(left[index] - left[index - 1]) < OVERLAP * height:
                continue
            close(index)
            start = index
        edge, base = right[index], bottom[index]
        height = base - top[index]
    if start >= 0:
        close(len(glyphs.text))
    return words


def joined(words: Sequence[Word]) -> list[Word]:
    """Words of one line from left to right, with the parts of split words put together and double strikes dropped."""
    line: list[Word] = []
    for word in sorted(words, key=lambda word: (word.left, word.start)):
        if line:
            last = line[-1]
            gap = word.left - last.right
            if word.text == last.text and abs(word.left - last.left) < OVERLAP * word.height:
                continue
            if -TOUCH * word.height < gap < TOUCH * word.height and abs(word.height - last.height) < 0.1 * word.height:
                line[-1] = Word(
                    last.text + word.text, last.left, last.top, word.right, last.bottom, last.start, last.chained
                )
                continue
        line.append(word)
    return line


def lines_of(words: Iterable[Word]) -> list[list[Word]]:
    """Words grouped by line, top to bottom, each line from left to right."""
    lines: list[list[Word]] = []
    middle = 0.0
    for word in sorted(words, key=lambda word: word.middle):
        if lines and word.middle - middle < SAME_LINE * word.height:
            lines[-1].append(word)
        else:
            lines.append([word])
            middle = word.middle
    return [joined(line) for line in lines]


def phrases_of(line: Sequence[Word]) -> list[list[Word]]:
    """The phrases of one line: words a space apart. Where two cells overprint each other, runs stay together."""
    phrases: list[list[Word]] = []
    for word in line:
        home = _continued(phrases, word)
        if home is None:
            phrases.append([word])
        else:
            home.append(word)
    return phrases


def _continued(phrases: list[list[Word]], word: Word) -> list[Word] | None:
    near = [p for p in phrases if -TOUCH * word.height < word.left - p[-1].right < SPACE * word.height]
    if len(near) > 1 and word.chained:
        return max(near, key=lambda phrase: phrase[-1].start if phrase[-1].start < word.start else -1)
    return min(near, key=lambda phrase: word.left - phrase[-1].right) if near else None


def text_of(words: Iterable[Word]) -> str:
    """The text of a cell of one or several lines."""
    text = ""
    for line in lines_of(words):
        for word in line:
            glued = text.endswith("/") or (text.endswith("-") and not text.endswith(" -"))
            text += word.text if not text or (glued and word is line[0]) else f" {word.text}"
    return text


def box_of(words: Iterable[Word]) -> Box:
    """The smallest box around some words."""
    boxes = list(words)
    return (
        min(word.left for word in boxes),
        min(word.top for word in boxes),
        max(word.right for word in boxes),
        max(word.bottom for word in boxes),
    )
