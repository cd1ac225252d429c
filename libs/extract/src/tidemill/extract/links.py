"""Pure decisions about a search page: what it links to, which page comes next, and when it is enough."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

from tidemill.extract.errors import RuleFailed, Unreadable
from tidemill.extract.extract import LONGEST, find_text, find_texts, read_text, written
from tidemill.extract.finding import find, parts_of
from tidemill.extract.model import Json
from tidemill.extract.page import Page, Part
from tidemill.extract.rules import Rule
from tidemill.extract.search import SearchRules, Start, filled
from tidemill.extract.states import holds, stands_in
from tidemill.extract.types import Form
from tidemill.extract.types.plain import parse_integer


class Stop(StrEnum):
    """Why a search ends."""

    LAST_PAGE = "last_page"
    """There is no next page, or all that the site counts were seen."""
    EMPTY = "empty"
    """A page without entries after others, or one that says that there are none."""
    NO_ENTRIES = "no_entries"
    """A page without entries that is the first one and does not say so, or that is an error, a wall or a shell."""
    REPEATED = "repeated"
    """A page with the entries of an earlier one: some sites answer so after their last."""
    LIMIT = "limit"
    """`max_pages`."""
    NO_NEXT = "no_next"
    """The rule for the next page does not come to an end."""
    RESULT_CAP = "result_cap"
    """The site ends before it has shown all that it counts."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of a search page."""

    url: str
    """Absolute, as the site links it."""
    key: str = ""
    hint: str = ""
    """A digest of what tells of a change; empty without `hint` rules."""
    carried: Mapping[str, str] = field(default_factory=dict)
    """What the entry says for the fields of its page, by the names of `carry`; what it does not say is missing."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a search is. Small and plain: kept beside what was found, it lets a search go on after a crash."""

    url: str
    """The page to ask for."""
    template: str
    """The search it belongs to."""
    page: int = 0
    """Pages before this one."""
    seen: int = 0
    """Entries on those, those that came twice counted twice."""
    found: int | None = None
    """How many there are, by the site."""
    pages: tuple[str, ...] = ()
    """Digests of the pages before, to notice one that comes again."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a page means for its search: its entries, and either where to go on or why it ends."""

    links: tuple[Link, ...]
    position: Position
    """With this page counted; its `url` is the next page's, or this one's where the search ends."""
    stop: Stop | None
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the search saw all there is, as far as a page can tell. Only then may what it did not see be gone."""
        return self.stop in (Stop.LAST_PAGE, Stop.EMPTY, Stop.REPEATED)


def all_seen(search: SearchRules, seen: int, found: int | None) -> bool:
    """Whether so many entries (distinct ones, if somebody counts them) are all that the site counts, but for `slack`; a
    site that does not count is believed."""
    return found is None or seen >= found * (1 - search.slack)


def begin(search: SearchRules, start: Start) -> Position:
    """The first page of a search."""
    paging = search.paging
    if paging is None:
        return Position(start.url, start.url)
    return Position(filled(start.url, page=str(paging.first), offset="0", cursor=paging.first_cursor), start.url)


def advance(search: SearchRules, position: Position, page: Page) -> Step:
    """What to do after this answer to `position.url`. Never raises, whatever the page."""
    links, problems = find_links(search, page)
    found, more_problems = _count(search, page)
    digest = _digest(links)
    counted = replace(
        position,
        page=position.page + 1,
        seen=position.seen + len(links),
        found=position.found if found is None else found,
        pages=(*position.pages, digest),
    )
    stop = _early_stop(search, position, counted, page, links)
    try:
        url = _next_url(search, counted, page) if stop is None else None
    except RuleFailed as error:
        url, stop = None, Stop.NO_NEXT
        problems.append(f"paging: {error}")
    if stop is Stop.REPEATED:
        links, counted = [], replace(counted, seen=position.seen)
    if stop is None and url is None:
        stop = Stop.LAST_PAGE
    if stop in (Stop.LAST_PAGE, Stop.EMPTY, Stop.REPEATED) and not all_seen(search, counted.seen, counted.found):
        stop = Stop.RESULT_CAP
    return Step(tuple(links), replace(counted, url=url or position.url), stop, (*problems, *more_problems))


def _early_stop(
    search: SearchRules, before: Position, counted: Position, page: Page, links: Sequence[Link]
) -> Stop | None:
    """Why the search ends here, whatever the page says about a next one."""
    if not links:
        if counted.found == 0 or any(holds(sign, page) for sign in search.nothing):
            return Stop.EMPTY
        return Stop.NO_ENTRIES if before.page == 0 or stands_in(page) else Stop.EMPTY
    if counted.pages[-1] in before.pages:
        return Stop.REPEATED
    # A page by number is there only while there is something left; after it most sites show nothing, some the last one.
    by_number = search.paging is not None and search.paging.next is None and search.paging.cursor is None
    if by_number and counted.found is not None and counted.seen >= counted.found:
        return Stop.LAST_PAGE
    return Stop.LIMIT if search.paging is not None and counted.page >= search.max_pages else None


def _next_url(search: SearchRules, counted: Position, page: Page) -> str | None:
    paging = search.paging
    if paging is None:
        return None
    if paging.next is not None:
        link = find_text(paging.next, page)
        url = _absolute(link, page, counted.url) if link else None
    elif paging.cursor is not None:
        cursor = find_text(paging.cursor, page)
        url = filled(counted.template, cursor=cursor) if cursor else None
    else:
        number = paging.first + counted.page * paging.step
        url = filled(counted.template, page=str(number), offset=str(counted.page * paging.step))
    return None if url == counted.url else url


def find_links(search: SearchRules, page: Page) -> tuple[list[Link], list[str]]:
    """The entries of a page, each address once, and what is wrong with others. Never raises."""
    links: dict[str, Link] = {}
    problems: list[str] = []
    for part in parts_of(page, search.items):
        try:
            texts = find_texts(search.link, part, many=search.items is None)
            key = find_text(search.key, part) if search.key is not None else ""
            hint = _hint(search, part)
            carried = _carried(search, part)
        except RuleFailed as error:
            problems.append(str(error))
            continue
        for text in texts:
            url = _absolute(filled(search.link_url, link=text) if search.link_url else text, page, page.url)
            if url is None:
                problems.append(f"link: {text[:200]} leads nowhere")
                continue
            links.setdefault(url, Link(url, key, hint, carried))
    return list(links.values()), problems


def _hint(search: SearchRules, part: Part) -> str:
    if search.hint is None:
        return ""
    texts = ["\x1f".join(map(written, find(rule, part, many=True))) for rule in search.hint]
    return hashlib.sha256("\x1e".join(texts).encode("utf-8", "replace")).hexdigest()[:16] if any(texts) else ""


def _carried(search: SearchRules, part: Part) -> dict[str, str]:
    found = {name: _carriable(next(iter(find(rule, part)), None), rule) for name, rule in search.carry.items()}
    return {name: text for name, text in found.items() if text}


def _carriable(value: Json, rule: Rule) -> str:
    """As a text that a rule `carried` reads back; objects and lists as JSON."""
    if isinstance(value, (dict, list)):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text if len(text) <= LONGEST else ""
    if isinstance(value, bool):
        return str(value).lower()
    return written(read_text(value, rule) if isinstance(value, str) else value)[:LONGEST]


def _count(search: SearchRules, page: Page) -> tuple[int | None, list[str]]:
    if search.found is None:
        return None, []
    try:
        for text in find_texts(search.found, page):
            return max(parse_integer(text, Form(locale=search.found.locale or search.locale)), 0), []
    except (Unreadable, RuleFailed) as error:
        return None, [f"found: {error}"]
    return None, [f"found: {search.found.name} finds nothing"]


def _absolute(url: str, page: Page, asked: str) -> str | None:
    try:
        absolute = urljoin(urljoin(page.url or asked, page.base_url), url.strip())
        parts = urlsplit(absolute)
        return absolute if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def _digest(links: Sequence[Link]) -> str:
    return hashlib.sha256("\n".join(link.url for link in links).encode("utf-8", "replace")).hexdigest()[:16]
