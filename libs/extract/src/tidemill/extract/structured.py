"""Data that a page carries for programs: JSON-LD and microdata, as trees of objects with `@type`."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selectolax.lexbor import LexborNode

from tidemill.extract.embedded import read_json
from tidemill.extract.model import Json
from tidemill.extract.nodes import text_of

Thing = dict[str, Any]

_COMMENT = re.compile(
    r"^\s*(?:<!--|/\*\s*<!\[CDATA\[\s*\*/|//\s*<!\[CDATA\[|<!\[CDATA\[)|(?:-->|/\*\s*\]\]>\s*\*/|//\s*\]\]>|\]\]>)\s*$"
)


def json_ld(node: LexborNode) -> list[Thing]:
    """The objects with a type in all JSON-LD below the node, in the order of the page: those in lists, in `@graph` and
    within others, too. A mere `{"@id": …}` stands for the object with this id."""
    roots = []
    for script in node.css('script[type="application/ld+json" i]'):
        value = read_json(_COMMENT.sub("", script.text() or ""))
        if value is not None:
            roots.append(value)
    by_id: dict[str, Thing] = {}
    things = []
    for thing in _things(roots):
        if "@type" in thing:
            things.append(thing)
        if isinstance(thing.get("@id"), str) and len(thing) > 1:
            by_id.setdefault(thing["@id"], thing)
    if by_id:
        _follow(_things(roots), by_id)
    return things


def _things(value: Json) -> Iterator[Thing]:
    """Every object in a tree, outer ones first."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            yield inner
        children: Iterable[Json] = inner.values() if isinstance(inner, dict) else inner
        waiting.extend(reversed([child for child in children if isinstance(child, (dict, list))]))


def _follow(things: Iterable[Thing], by_id: Mapping[str, Thing]) -> None:
    """Put copies in place of references; references within those copies stay, so that nothing ends in a circle."""
    copies: dict[str, Thing] = {}

    def followed(value: Json) -> Json:
        if not (isinstance(value, dict) and len(value) == 1 and isinstance(value.get("@id"), str)):
            return value
        name = value["@id"]
        if name in by_id and name not in copies:
            copies[name] = copy.deepcopy(by_id[name])
        return copies.get(name, value)

    pairs = [(thing, key, value) for thing in things for key, value in thing.items()]
    later = [
        (thing, key, [followed(inner) for inner in value] if isinstance(value, list) else followed(value))
        for thing, key, value in pairs
        if isinstance(value, (dict, list))
    ]
    for thing, key, value in later:
        thing[key] = value


def micro_data(node: LexborNode) -> list[Thing]:
    """The items (`itemscope`) below the node, outer ones first; properties are texts or items within."""
    items: dict[int, Thing] = {}
    found = []
    for element in node.css(":is([itemscope], [itemprop])"):
        attributes = element.attributes
        value: Json
        if "itemscope" in attributes:
            value = {"@type": (attributes.get("itemtype") or "").split()}
            items[element.mem_id] = value
            found.append(value)
        else:
            value = _value(element, attributes)
        names = (attributes.get("itemprop") or "").split()
        owner = _owner(element, items) if names else None
        if owner is not None:
            for name in names:
                owner.setdefault(name, []).append(value)
    return found


def _owner(element: LexborNode, items: dict[int, Thing]) -> Thing | None:
    above = element.parent
    while above is not None:
        if (item := items.get(above.mem_id)) is not None:
            return item
        above = above.parent
    return None


_ATTRIBUTE_OF = {
    **dict.fromkeys(("a", "area", "link"), "href"),
    **dict.fromkeys(("audio", "embed", "iframe", "img", "source", "track", "video"), "src"),
    **dict.fromkeys(("data", "meter"), "value"),
    "object": "data",
    "time": "datetime",
}


def _value(element: LexborNode, attributes: dict[str, str | None]) -> str:
    for name in ("content", _ATTRIBUTE_OF.get(element.tag or "", "")):
        value = attributes.get(name)
        if value is not None:
            return value
    return text_of(element)


def of_type(things: Iterable[Thing], wanted: tuple[str, ...]) -> list[Thing]:
    """Those of one of the types, by the last part of their names: `https://schema.org/Offer` is an `Offer`."""
    if not wanted:
        return list(things)
    names = {_last(name) for name in wanted}
    return [thing for thing in things if names & {_last(name) for name in _types(thing)}]


def _types(thing: Thing) -> list[str]:
    types = thing.get("@type")
    return [name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)]


def _last(name: str) -> str:
    return re.split(r"[/#:]", name.rstrip("/"))[-1].casefold()
