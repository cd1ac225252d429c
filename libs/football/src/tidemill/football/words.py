"""Words of a page, from the places of its glyphs."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
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
    middle: float
    height: float

    @property
    def centre(self) -> float:
        return (self.left + self.right) / 2


# By position: a third faster than by name, and every word of a page is sorted several times.
by_middle = itemgetter(Word._fields.index("middle"))
by_left = itemgetter(Word._fields.index("left"), Word._fields.index("start"))
_new = tuple.__new__
"""Half the time of the class's own constructor, a thousand times a page."""


def find_words(glyphs: Glyphs) -> list[Word]:
    """Words in the order of the document: a word ends at a blank, a gap, or a jump.

    A glyph printed twice in nearly one place (bold by double strike) counts once, and ends the word: `whole` mends it.
    """
    words: list[Word] = []
    text, left, right, bottom = glyphs.text, glyphs.left, glyphs.right, glyphs.bottom
    start = last = -1
    overlap = touch = level = 0.0
    for index, character in enumerate(text):
        if character <= " ":
            if start >= 0:
                words.append(_word(glyphs, start, last + 1, words))
                start = -1
            continue
        if start >= 0:
            if overlap < left[index] - right[last] < touch and -level < bottom[index] - bottom[last] < level:
                last = index
                continue
            if _is_ligature(glyphs, last, index):
                last = index
                continue
            words.append(_word(glyphs, start, last + 1, words))
            if _is_struck_twice(glyphs, last, index):
                start = -1
                continue
        start = last = index
        height = glyphs.top[index] - bottom[index]
        overlap, touch, level = -OVERLAP * height, TOUCH * height, OVERLAP * height
    if start >= 0:
        words.append(_word(glyphs, start, last + 1, words))
    return words


def _is_ligature(glyphs: Glyphs, one: int, other: int) -> bool:
    """The letters of a ligature have one box."""
    return (glyphs.left[one], glyphs.right[one], glyphs.bottom[one]) == (
        glyphs.left[other],
        glyphs.right[other],
        glyphs.bottom[other],
    )


def _is_struck_twice(glyphs: Glyphs, one: int, other: int) -> bool:
    breadth, height = glyphs.right[one] - glyphs.left[one], glyphs.top[one] - glyphs.bottom[one]
    return (
        glyphs.text[one] == glyphs.text[other]
        and abs(glyphs.left[one] - glyphs.left[other]) < breadth / 2
        and abs(glyphs.bottom[one] - glyphs.bottom[other]) < OVERLAP * height
    )


def _word(glyphs: Glyphs, start: int, stop: int, words: list[Word]) -> Word:
    left, right = glyphs.left[start], glyphs.right[stop - 1]
    top, bottom = glyphs.ceiling - glyphs.top[start], glyphs.ceiling - glyphs.bottom[start]
    height = bottom - top
    last = words[-1] if words else None
    chained = (
        last is not None
        and -TOUCH * height < left - last.right < SPACE * height
        and abs(bottom - last.bottom) < OVERLAP * height
    )
    text = glyphs.text[start:stop]
    return _new(Word, (text, left, top, right, bottom, start, chained, (top + bottom) / 2, height))


def lines_of(words: Iterable[Word]) -> list[list[Word]]:
    """Words grouped by line, top to bottom, each line from left to right."""
    lines: list[list[Word]] = []
    middle = 0.0
    for word in sorted(words, key=by_middle):
        if lines and word.middle - middle < SAME_LINE * word.height:
            lines[-1].append(word)
        else:
            lines.append([word])
            middle = word.middle
    for line in lines:
        line.sort(key=by_left)
    return lines


def whole(line: Sequence[Word]) -> list[Word]:
    """A line with the parts of split words put together and double strikes dropped."""
    words = list(line[:1])
    for word in line[1:]:
        last = words[-1]
        gap, near = word.left - last.right, TOUCH * word.height
        if gap >= near:
            words.append(word)
        elif gap > -near and abs(word.height - last.height) < near:
            words[-1] = last._replace(text=last.text + word.text, right=word.right)
        elif word.text != last.text or word.left >= last.centre:
            words.append(word)
    return words


def phrases_of(line: Iterable[Word]) -> list[list[Word]]:
    """The phrases of one line: words a space apart. Where two cells overprint each other, runs stay together."""
    phrases: list[list[Word]] = []
    open_phrases: list[list[Word]] = []
    for word in line:
        reach = word.left - SPACE * word.height
        if len(open_phrases) != 1 or open_phrases[0][-1].right <= reach:
            open_phrases = [phrase for phrase in open_phrases if phrase[-1].right > reach]
        home = _continued(open_phrases, word) if open_phrases else None
        if home is None:
            home = [word]
            phrases.append(home)
            open_phrases.append(home)
        else:
            home.append(word)
    return phrases


def _continued(phrases: list[list[Word]], word: Word) -> list[Word] | None:
    touch = TOUCH * word.height
    if len(phrases) == 1:  # As nearly always.
        return phrases[0] if phrases[0][-1].right - touch < word.left else None
    near = [phrase for phrase in phrases if phrase[-1].right - touch < word.left]
    if len(near) > 1 and word.chained:
        return max(near, key=lambda phrase: phrase[-1].start if phrase[-1].start < word.start else -1)
    return max(near, key=lambda phrase: phrase[-1].right) if near else None


def text_of(words: Sequence[Word]) -> str:
    """The text of a cell of one or several lines."""
    if len(words) < 2:
        return words[0].text if words else ""
    middle, tolerance = words[0].middle, 0.3 * words[0].height
    middles = list(map(by_middle, words))
    if middle - min(middles) < tolerance and max(middles) - middle < tolerance:
        return " ".join([word.text for word in sorted(words, key=by_left)])
    text = ""
    for line in lines_of(words):
        glued = not text or text[-1] == "/" or (text[-1] == "-" and text[-2:-1] != " ")
        text += ("" if glued else " ") + " ".join([word.text for word in line])
    return text


def box_of(words: Sequence[Word]) -> Box:
    """The smallest box around some words."""
    _, lefts, tops, rights, bottoms, *_ = zip(*words, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
