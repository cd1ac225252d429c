"""Values beside their labels: definition lists, rows of tables, and anything that stands beside a word."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from selectolax.lexbor import LexborNode

from tidemill.extract.nodes import UNSEEN, select, text_of
from tidemill.extract.text import fold, fold_tidy

Pair = tuple[str, LexborNode]
"""A label as it is printed, and the element with its value."""
Labelled = dict[str, list[Pair]]
"""By folded label, in the order of the page."""

Words = dict[str, list[LexborNode | str]]
LONGEST = 80
"""Characters of a label."""


def labelled(node: LexborNode) -> Labelled:
    """`dt` with the `dd` after it; the cells of rows that have two; columns under a row of `th`."""
    pairs: list[Pair] = []
    for element in node.css("dt, tr"):
        pairs += _of_term(element) if element.tag == "dt" else _of_row(element)
    return _by_label(pairs)


def _by_label(pairs: Iterable[Pair]) -> Labelled:
    found: Labelled = {}
    for label, value in pairs:
        found.setdefault(fold_tidy(label), []).append((label, value))
    return found


def _of_term(term: LexborNode) -> Iterator[Pair]:
    value = _next_element(term)
    if value is not None and value.tag == "dd" and (label := _label(term)):
        yield label, value


def _of_row(row: LexborNode) -> Iterator[Pair]:
    cells = [cell for cell in row.iter() if cell.tag in ("th", "td")]
    kinds = [cell.tag for cell in cells]
    if len(cells) > 1 and "td" not in kinds:
        yield from _of_columns(row, cells)
    elif "th" in kinds:
        for head, cell in pairwise(cells):
            if head.tag == "th" and cell.tag == "td" and (label := _label(head)):
                yield label, cell
    elif len(cells) % 2 == 0:
        for head, cell in zip(cells[::2], cells[1::2], strict=True):
            if label := _label(head):
                yield label, cell


def _of_columns(row: LexborNode, heads: list[LexborNode]) -> Iterator[Pair]:
    below = _next_element(row)
    if below is None and row.parent is not None and row.parent.tag == "thead":
        body = _next_element(row.parent)
        below = next((inner for inner in body.iter() if inner.tag == "tr"), None) if body is not None else None
    cells = [cell for cell in below.iter() if cell.tag == "td"] if below is not None and below.tag == "tr" else []
    if len(cells) == len(heads):
        yield from ((label, cell) for head, cell in zip(heads, cells, strict=True) if (label := _label(head)))


def rows_labelled(node: LexborNode, rows: str, labels: str, values: str) -> Labelled:
    """The first label and the first value within each row, by selectors."""
    pairs = ((row.css_first(labels), row.css_first(values)) for row in select(node, rows))
    return _by_label(
        (label, value) for head, value in pairs if head is not None and value is not None and (label := _label(head))
    )


def words(node: LexborNode) -> Words:
    """Every short text that is seen and could be a label, folded, with where it stands: the piece of text, or what
    follows a colon in it."""
    found: Words = {}
    for piece in node.traverse(include_text=True):
        if not piece.is_text_node:
            continue
        text = piece.text_content or ""
        if text.isspace() or len(text) > LONGEST * 4 or (piece.parent is not None and piece.parent.tag in UNSEEN):
            continue
        label, colon, value = text.partition(":")
        if colon and not value.isspace() and value:
            found.setdefault(fold(label), []).append(value)
        elif len(text) <= LONGEST * 2:
            found.setdefault(fold(text), []).append(piece)
    return found


def beside(words: Words, wanted: "Wanted") -> LexborNode | str | None:
    """What stands beside a label anywhere: the text behind it, the next element, or the one beside what wraps it."""
    for label in wanted.among(words):
        for piece in words[label]:
            value = piece if isinstance(piece, str) else _behind_or_around(piece)
            if value is not None:
                return value
    return None


def _behind_or_around(piece: LexborNode) -> LexborNode | str | None:
    """<p>Label <b>value</b></p>, <div><b>Label</b>:</div><div>value</div>; None where the label stands alone."""
    current: LexborNode | None = piece
    for _ in range(3):
        if current is None:
            return None
        following = _following(current.next, forwards=True)
        if following is not None:
            return following
        if _following(current.prev, forwards=False) is not None:
            return None  # What comes behind belongs to more than the label.
        current = current.parent
    return None


def _following(node: LexborNode | None, *, forwards: bool) -> LexborNode | str | None:
    """The nearest element, or text of more than a colon."""
    while node is not None:
        if node.is_text_node and (text := (node.text_content or "").strip(" \t\r\n\xa0:–-")):
            return text
        if node.is_element_node and node.tag not in _NO_VALUE:
            return node
        node = node.next if forwards else node.prev
    return None


def _label(element: LexborNode) -> str:
    text = text_of(element)
    return text if len(text) <= LONGEST else ""


def _next_element(node: LexborNode) -> LexborNode | None:
    following = node.next
    while following is not None and not following.is_element_node:
        following = following.next
    return following


_NO_VALUE = UNSEEN | {"br", "wbr", "hr"}


class Wanted:
    """Labels to look for: equal but for case, space and colon; `Wohnfläche*` is what begins so."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.exact = frozenset(fold(label) for label in labels if not label.endswith("*"))
        self.beginnings = tuple(fold(label[:-1]) for label in labels if label.endswith("*"))
        # Letters that HTML writes in one way only.
        self._parts = [max(re.split("[^a-z0-9]+", label), key=len) for label in (*self.exact, *self.beginnings)]

    def among(self, labels: Mapping[str, object]) -> list[str]:
        """Those of the folded labels that are meant, in their order where there are several."""
        if self.beginnings or len(self.exact) > 1:
            return [label for label in labels if label in self.exact or label.startswith(self.beginnings)]
        return [label for label in self.exact if label in labels]

    def may_be_in(self, html: str) -> bool:
        """False where a look at the source, in lower case, tells that none of the labels is there."""
        return any(part in html for part in self._parts)
