"""Elements of an HTML page, by lexbor."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from tidemill.extract.errors import InvalidRule
from tidemill.extract.text import tidy

LONGEST = 8_000_000
"""Characters; longer pages are not parsed."""
DEEPEST = 600
"""Elements within one another. lexbor takes 27 seconds for 100,000, and 3.5 for 3,000 unclosed `<b id=…><p>`."""
ATTRIBUTES = 4_000
"""Of one element; lexbor compares each with all others."""
_SOME_TAGS, _MANY_TAGS = 2_000, 8_000
"""Fewer take no second, however they are nested; up to the other number they may only if few of them are closed."""
_ROOM_FOR_ATTRIBUTES = 60_000
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_WITHOUT_END = frozenset(
    (
        "area base br col embed hr img input link meta source track wbr p li dt dd td th tr option thead tbody tfoot"
    ).split()
)
_ATTRIBUTES = re.compile(rf"<[a-zA-Z][^<>]{{{ATTRIBUTES * 3},}}")


def too_hard(html: str) -> str | None:
    """Why a page is not parsed: what would take minutes is no page that anybody reads."""
    if len(html) > LONGEST:
        return f"it has {len(html):,} characters, more than {LONGEST:,}"
    tags = html.count("<")
    if tags > _MANY_TAGS or (tags > _SOME_TAGS and tags - 2 * html.count("</") > DEEPEST):
        depth = _depth(html)
        if depth > DEEPEST:
            return f"its elements are {depth:,} deep, more than {DEEPEST:,}"
    if len(html) > _ROOM_FOR_ATTRIBUTES:
        for tag in _ATTRIBUTES.finditer(html):
            count = len(tag[0].split())
            if count > ATTRIBUTES:
                return f"an element has {count:,} attributes, more than {ATTRIBUTES:,}"
    return None


def _depth(html: str) -> int:
    """How many elements are open at most, by their own count: an end without a beginning closes nothing."""
    open_now: Counter[str] = Counter()
    depth = deepest = 0
    for end, written in _TAG.findall(html):
        name = written.lower()
        if name in _WITHOUT_END:
            continue
        if not end:
            open_now[name] += 1
            depth += 1
            deepest = max(deepest, depth)
        elif open_now[name]:
            open_now[name] -= 1
            depth -= 1
    return deepest


@lru_cache(maxsize=4096)
def checked_css(selector: str) -> str:
    """The selector, if lexbor understands it. Raises InvalidRule."""
    try:
        LexborHTMLParser("<p>").css(selector)
    except (SelectolaxError, UnicodeEncodeError):
        raise InvalidRule(
            f"`{selector}` is no CSS selector that is understood here (for a text within, write `contains`)"
        ) from None
    return selector


def select(node: LexborNode, selector: str) -> list[LexborNode]:
    """The elements within that fit, each once. lexbor gives one that fits two parts of a list twice."""
    found = node.css(selector)
    return list({each.mem_id: each for each in found}.values()) if "," in selector else found


def text_of(node: LexborNode) -> str:
    """All text that is seen within, tidy. Blocks are set apart as on the screen: `<b>1</b>000` is one number,
    `<p>1</p><p>2</p>` are two."""
    only = node.first_child
    if only is None:
        return ""
    if only.is_text_node and only.next is None:
        return tidy(only.text_content or "")
    return tidy("".join(_pieces(node)))


def own_text_of(node: LexborNode) -> str:
    """The text that stands in the element itself, not in those within."""
    return tidy(" ".join(child.text_content or "" for child in node.iter(include_text=True) if child.is_text_node))


_APART = frozenset(
    "p div br li ul ol dl dt dd tr td th table section article header footer h1 h2 h3 h4 h5 h6 option hr form main nav "
    "aside figure figcaption address blockquote pre".split()
)
UNSEEN = frozenset(("script", "style", "template"))


def _pieces(node: LexborNode) -> Iterator[str]:
    current = node.first_child
    while current is not None:
        child = None
        if current.is_text_node:
            yield current.text_content or ""
        elif current.tag not in UNSEEN:
            if current.tag in _APART:
                yield " "
            child = current.first_child
        if child is not None:
            current = child
            continue
        while current.next is None:
            current = current.parent
            if current is None or current.mem_id == node.mem_id:
                return
            if current.tag in _APART:
                yield " "
        current = current.next
