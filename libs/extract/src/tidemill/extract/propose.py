"""Rules proposed for a page that nobody has described yet: a beginning for who writes a source file."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from tidemill.extract.extract import Extracted, extract, plain
from tidemill.extract.model import Json
from tidemill.extract.nodes import text_of
from tidemill.extract.page import Page
from tidemill.extract.rules import FieldRules, PageRules
from tidemill.extract.types import Kind

TRIED: tuple[tuple[Kind, str], ...] = (
    ("money", r"[€$£¥￥円]|\b(?:EUR|CHF|USD|GBP|HUF|kr|Ft)\b|\bFr\."),
    ("area", r"m²|m2\b|\bsq\.? ?ft|\bqm\b|\d (?:ha|a|ar)$"),
    ("rooms", r"½|\d ?h\b|Zimmer|rooms?\b|pièces|szoba"),
    ("date", r"\d{4}-\d\d-\d\d|\d{1,2}\.\s?(?:\d{1,2}\.|\w+)\s?\d{4}|\d{1,2} [^\W\d_]{3,} \d{4}|\d{4}[年년]"),
    ("year", r"^\D{0,12}(?:1[6-9]|20)\d\d\b"),
    ("boolean", r"^(?:ja|nein|yes|no|kyllä|ei|oui|non|igen|nem|true|false)$"),
    ("integer", r"^\d{1,3}(?:['’ .,\u00a0\u202f]\d{3})*$"),
    ("decimal", r"^-?\d+[.,]\d+$"),
)
"""Kinds, each with what a text must hold for it to be tried."""
_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "a"})
MOST_LABELS = 60
LONGEST_VALUE = 300
ABOUT_NOTHING = frozenset(
    "BreadcrumbList ListItem WebSite WebPage Organization SearchAction ImageObject EntryPoint SiteNavigationElement"
    " Corporation VideoObject Event".split()
)
"""Types of JSON-LD that describe the site, not what the page is about."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A field that a page seems to have."""

    name: str
    rules: Mapping[str, Any]
    """As in a source file: `{"from": {"label": "Kaufpreis"}, "type": "money"}`."""
    raw: str
    value: Json
    """As `plain` gives it."""


def propose_fields(page: Page, locale: str = "auto") -> list[Proposal]:
    """Fields of a page, from its JSON-LD, its labels, and its heading; a value that two of them give is proposed once.
    What cannot be read as a typed value is proposed as text."""
    found: dict[str, Proposal] = {}
    values: set[str] = set()
    for name, rule in (*_of_json_ld(page), *_of_labels(page), *_of_bold_labels(page), *_of_heading(page)):
        proposal = _tried(page, name, rule, locale)
        told = f"{proposal.value}" if proposal else ""
        if proposal is None or told in values:
            continue
        free = next(each for each in _numbered(name) if each not in found)
        values.add(told)
        found[free] = Proposal(free, proposal.rules, proposal.raw, proposal.value)
    return list(found.values())


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}_{number}"


def _tried(page: Page, name: str, rule: Mapping[str, Any], locale: str) -> Proposal | None:
    """With the first type that reads it; None where the rule finds nothing worth keeping."""
    text = _read(page, {"from": rule}, locale)
    if text.raw is None or len(text.raw) > LONGEST_VALUE:
        return None
    for kind, sign in TRIED:
        if not re.search(sign, text.raw, re.IGNORECASE):
            continue
        typed = _read(page, {"from": rule, "type": kind}, locale)
        if typed.value is not None and not typed.problems:
            return Proposal(name, {"from": rule, "type": kind}, text.raw, plain(typed.value))
    return Proposal(name, {"from": rule}, text.raw, plain(text.value))


def _read(page: Page, field: Mapping[str, Any], locale: str) -> Extracted:
    rules = PageRules(locale=locale, fields={"field": FieldRules.model_validate(field)})
    return extract(page, rules).fields["field"]


def _of_json_ld(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    for thing in page.json_ld:
        kinds = thing["@type"] if isinstance(thing["@type"], list) else [thing["@type"]]
        kind = str(kinds[0]) if kinds else ""
        if kind in ABOUT_NOTHING:
            continue
        for path in _paths(thing):
            name = _slug(path.rpartition(".")[2] if path.count(".") < 2 else path.replace(".", " "))
            yield name, {"jsonld": path, "of": kind}


def _paths(thing: Mapping[str, Any], above: str = "", depth: int = 0) -> Iterator[str]:
    """Paths to the texts and numbers in an object; of objects with a type of their own only what is theirs here."""
    for key, value in thing.items():
        if key.startswith("@") or not re.fullmatch(r"\w+", key):
            continue
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict) and depth < 2:
            yield from _paths(value, path, depth + 1)
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield path


def _of_labels(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    for pairs in list(page.labelled.values())[:MOST_LABELS]:
        label = pairs[0][0].rstrip(" :")
        if label:
            yield _slug(label) or "field", {"label": label}


def _of_bold_labels(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    """`<b>Price:</b> 5 €`, wherever it stands; the colon tells it from what is merely important."""
    known = {pairs[0][0].rstrip(" :") for pairs in page.labelled.values()}
    nodes = [] if page.node is None else page.node.css("b, strong")
    labels = dict.fromkeys(text.rstrip(" :") for node in nodes if (text := text_of(node)).endswith(":"))
    for label in [label for label in labels if label and label not in known][:MOST_LABELS]:
        yield _slug(label) or "field", {"label": label}


def _of_heading(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    if page.node is not None and page.node.css_first("h1") is not None:
        yield "title", {"css": "h1"}


def _slug(text: str) -> str:
    """A name of a field: `Wohnfläche (netto)` is `wohnflaeche_netto`."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = text.casefold().translate(_LETTERS)
    plain_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain_text).strip("_")[:40].strip("_")
    return f"n_{name}" if name[:1].isdigit() else name


@dataclass(frozen=True, slots=True)
class Listed:
    """Links of a search page that look alike: those to its entries, if they are many."""

    pattern: str
    """Their path with `*` for what differs, with the parameter that does where the path is the same."""
    rule: Mapping[str, Any]
    """That finds them."""
    urls: tuple[str, ...]


def propose_links(page: Page) -> list[Listed]:
    """Groups of links of one site that differ in a number or a last part, the largest first; those to the page itself,
    with other parameters, last."""
    if page.node is None:
        return []
    here = urlsplit(page.url)
    groups: dict[str, dict[str, str]] = {}
    for node in page.node.css("a[href]"):
        href = (node.attributes.get("href") or "").strip()
        url = urljoin(urljoin(page.url, page.base_url), href)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or (here.netloc and parts.netloc != here.netloc):
            continue
        groups.setdefault(_pattern(parts.path), {})[url.partition("#")[0]] = href
    found = [
        _listed(pattern, hrefs) if "*" in pattern else _told_apart(pattern, hrefs) for pattern, hrefs in groups.items()
    ]
    ours = f"{here.path}?"
    return sorted(filter(None, found), key=lambda one: (one.pattern.startswith(ours), -len(one.urls)))


def _pattern(path: str) -> str:
    parts = path.split("/")
    return "/".join("*" if re.search(r"\d", part) else part for part in parts)


def _told_apart(path: str, hrefs: Mapping[str, str]) -> Listed | None:
    """By the first parameter that gives them different numbers, and no page of a list: `item.php?id=*`."""
    numbers: dict[str, dict[str, str]] = {}
    for url in hrefs:
        for name, value in parse_qsl(urlsplit(url).query):
            if re.search(r"\d", value) and not _PAGES.search(name):
                numbers.setdefault(name, {})[url] = value
    for name, values in numbers.items():
        if len(set(values.values())) > 1:
            return _listed(f"{path}?{name}=*", {url: hrefs[url] for url in values})
    return None


def _listed(pattern: str, hrefs: Mapping[str, str]) -> Listed | None:
    if len(hrefs) < 2:
        return None
    fixed = _fixed(pattern, hrefs.values())
    rule = {"css": f'a[href*="{fixed}"]' if fixed else "a[href]", "attribute": "href"}
    return Listed(pattern, rule, tuple(hrefs))


def _fixed(pattern: str, hrefs: Collection[str]) -> str:
    """The longest piece of a pattern that stands in every link of it, as the page writes them: `../homes/7` too."""
    pieces = sorted(re.split(r"[*?]", pattern), key=len, reverse=True)
    ends = (piece[start:] for piece in pieces for start in range(len(piece)))
    return next((end for end in ends if all(end in href for href in hrefs)), "")


_PAGES = re.compile(r"page|seite|sivu|pagina|^p$|pg", re.IGNORECASE)
"""Parameters that count pages."""


def propose_paging(page: Page) -> dict[str, Any] | None:
    """How a search page goes on: `{"next": rule}`, or `{"param": name, "first": n}` where links count pages; None where
    nothing tells."""
    if page.node is None:
        return None
    for selector in ("a[rel~=next]", "link[rel~=next]", "a.next", "li.next a"):
        if page.node.css_first(selector) is not None:
            return {"next": {"css": selector, "attribute": "href"}}
    counted: Counter[str] = Counter()
    here = urlsplit(page.url)
    for node in page.node.css("a[href]"):
        parts = urlsplit(urljoin(page.url, node.attributes.get("href") or ""))
        if parts.path != here.path:
            continue
        counted.update(name for name, value in parse_qsl(parts.query) if re.fullmatch(r"\d{1,3}", value))
    known = [name for name, _ in counted.most_common() if _PAGES.search(name)]
    return {"param": known[0], "first": 1} if known else None
