"""What a rule finds in a part of a page, as it stands there."""

from collections.abc import Callable, Mapping

from lxml import etree
from selectolax.lexbor import LexborNode

from tidemill.extract.embedded import read_json
from tidemill.extract.errors import RuleFailed
from tidemill.extract.hooks import run_hook
from tidemill.extract.labels import Labelled, beside, rows_labelled
from tidemill.extract.model import Json, pattern_of
from tidemill.extract.nodes import own_text_of, select, text_of
from tidemill.extract.page import Page, Part
from tidemill.extract.paths import path_of
from tidemill.extract.rules import GROUP, Items, Rule, xpath_of
from tidemill.extract.structured import of_type
from tidemill.extract.text import tidy

MOST = 1_000
"""Values of one rule; the rest is left."""
PATIENCE_SECONDS = 0.5
"""For a regular expression; one that takes longer goes back and forth for ever."""


class TooSlow(RuleFailed):
    """A regular expression that does not come to an end on this page."""


def find(rule: Rule, part: Part, *, many: bool = False) -> list[Json]:
    """What the rule finds: texts, or values of JSON; empty where there is nothing. One at most unless `many`, or `pick:
    all`. Raises RuleFailed."""
    if rule.kind == "css" and not many and (first := _first_css(rule, part)):
        return [first]
    found = _FINDERS[rule.kind](rule, part)
    if rule.join is not None and rule.kind != "concat":
        texts = [text for value in found if (text := _as_text(value))]
        return [rule.join.join(texts)] if texts else []
    if many or rule.pick == "all":
        return found[:MOST]
    place = {"first": 0, "last": -1}.get(rule.pick, rule.pick) if isinstance(rule.pick, str) else rule.pick
    return found[int(place) :][:1] if place != -1 else found[-1:]


def parts_of(page: Page, items: Items | None) -> list[Part]:
    """The parts of a page that hold one record each; all of it without `items`."""
    if items is None:
        return [page]
    if items.css is not None:
        nodes = [] if page.node is None else select(page.node, items.css)
        return [Part(node, context=page.context) for node in nodes]
    found = (path_of(path).find(page.value) for path in items.jsonpath or ())
    return [Part(None, value, page.context) for value in next(filter(None, found), [])]


def _as_text(value: Json) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, (dict, list)):
        return ""
    return tidy(str(value))


def _first_css(rule: Rule, part: Part) -> str:
    """The text of the first element, without looking for the others; empty where that is not enough."""
    if rule.pick != "first" or rule.join is not None or rule.contains is not None or rule.css is None:
        return ""
    scope = part.below(rule.within) if rule.within else part
    first = None if scope.node is None else scope.node.css_first(rule.css)
    return "" if first is None else _text(first, rule)


def _css(rule: Rule, part: Part) -> list[Json]:
    scope = part.below(rule.within) if rule.within else part
    if scope.node is None or rule.css is None:
        return []
    nodes = select(scope.node, rule.css)
    if rule.contains is not None:
        wanted = tidy(rule.contains).casefold()
        nodes = [node for node in nodes if wanted in text_of(node).casefold()]
    return [text for node in nodes if (text := _text(node, rule))]


def _text(node: LexborNode, rule: Rule) -> str:
    if rule.attribute == "html":
        return node.inner_html or ""
    if rule.attribute is not None:
        return node.attributes.get(rule.attribute) or ""
    return own_text_of(node) if rule.text == "own" else text_of(node)


def _label(rule: Rule, part: Part) -> list[Json]:
    scope = part.below(rule.within) if rule.within else part
    if scope.node is None:
        return []
    pairs = _pairs(rule, scope)
    found = [node for label in rule.wanted.among(pairs) for _, node in pairs[label]]
    texts: list[Json] = [text for node in found if (text := _text(node, rule))]
    if texts or rule.rows or not rule.wanted.may_be_in(scope.folded_html):
        return texts
    value = beside(scope.words, rule.wanted)
    if value is None:
        return []
    text = tidy(value) if isinstance(value, str) else _text(value, rule)
    return [text] if text else []


def _table(rule: Rule, part: Part) -> list[Json]:
    scope = part.below(rule.within) if rule.within else part
    table = {pairs[0][0].rstrip(" :"): text_of(pairs[0][1]) for pairs in _pairs(rule, scope).values()}
    return [table] if table else []


def _pairs(rule: Rule, scope: Part) -> Labelled:
    if rule.rows is None or rule.labels is None or rule.values is None:
        return scope.labelled
    return {} if scope.node is None else rows_labelled(scope.node, rule.rows, rule.labels, rule.values)


def _xpath(rule: Rule, part: Part) -> list[Json]:
    if rule.xpath is None or part.lxml is None:
        return []
    try:
        found = xpath_of(rule.xpath)(part.lxml)
    except etree.XPathError:
        return []
    return [text for value in (found if isinstance(found, list) else [found]) if (text := _xpath_text(value)) != ""]


def _xpath_text(value: Json) -> Json:
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        return tidy(value)
    return tidy("".join(value.itertext())) if isinstance(value, etree._Element) else ""


def _json_ld(rule: Rule, part: Part) -> list[Json]:
    path = path_of(rule.jsonld or "", through_lists=True)
    return _scalars([value for thing in of_type(part.json_ld, rule.of) for value in path.find(thing)])


def _micro_data(rule: Rule, part: Part) -> list[Json]:
    path = path_of(rule.microdata or "", through_lists=True)
    scope = part.below(rule.within) if rule.within else part
    return _scalars([value for thing in of_type(scope.micro_data, rule.of) for value in path.find(thing)])


def _scalars(values: list[Json]) -> list[Json]:
    """JSON-LD may give any value as `{"@value": …}`."""
    found = [value["@value"] if isinstance(value, dict) and "@value" in value else value for value in values]
    return [value for value in found if value is not None and value != ""]


def _json_path(rule: Rule, part: Part) -> list[Json]:
    path = path_of(rule.jsonpath or "")
    if rule.variable is not None:
        root = part.json_of_variable(rule.variable)
    elif rule.script is not None:
        root = part.json_of_element(rule.script, rule.attribute)
    else:
        root = part.value
    return [value for value in path.find(root) if value is not None and value != ""] if root is not None else []


def _regex(rule: Rule, part: Part) -> list[Json]:
    scope = part.below(rule.within) if rule.within else part
    places = {"text": lambda: [scope.text], "html": lambda: [scope.html], "scripts": lambda: scope.scripts}
    return [text for place in places[rule.search]() for text in matches(rule.regex or "", place)]


def matches(pattern: str, text: str) -> list[str]:
    """What a regular expression finds: the first group that took part, else the whole. Raises TooSlow."""
    found: list[str] = []
    try:
        for match in pattern_of(pattern).finditer(text, timeout=PATIENCE_SECONDS):
            groups = [group for group in match.groups() if group is not None]
            if text_found := tidy(groups[0] if groups else match[0]):
                found.append(text_found)
            if len(found) == MOST:
                break
    except TimeoutError:
        raise TooSlow(f"the regular expression {pattern} takes more than {PATIENCE_SECONDS:g} s") from None
    return found


def replaced(pattern: str, replacement: str, text: str) -> str:
    """The text with the replacement for all that the regular expression finds. Raises TooSlow."""
    try:
        return str(
            pattern_of(pattern).sub(
                lambda match: GROUP.sub(lambda group: match[int(group[1])] or "", replacement),
                text,
                timeout=PATIENCE_SECONDS,
            )
        )
    except TimeoutError:
        raise TooSlow(f"the regular expression {pattern} takes more than {PATIENCE_SECONDS:g} s") from None


def _concat(rule: Rule, part: Part) -> list[Json]:
    texts: list[str] = []
    found_any = False
    for inner in rule.concat or ():
        if isinstance(inner, str):
            texts.append(inner)
            continue
        text = next((text for value in find(inner, part) if (text := _as_text(value))), "")
        if text:
            found_any = found_any or inner.kind != "const"
            texts.append(text)
    return [(rule.join or "").join(texts)] if found_any else []


def _carried(rule: Rule, part: Part) -> list[Json]:
    text = part.context.get(rule.carried or "", "")
    value = read_json(text) if text[:1] in ("{", "[") else None
    return [text if value is None else value] if text else []


def _python(rule: Rule, part: Part) -> list[Json]:
    return _scalars(run_hook(rule.python or "", part))


def _const(rule: Rule, _part: Part) -> list[Json]:
    return [rule.const]


_FINDERS: Mapping[str, Callable[[Rule, Part], list[Json]]] = {
    "css": _css,
    "label": _label,
    "table": _table,
    "xpath": _xpath,
    "jsonld": _json_ld,
    "microdata": _micro_data,
    "jsonpath": _json_path,
    "regex": _regex,
    "concat": _concat,
    "carried": _carried,
    "python": _python,
    "const": _const,
}
