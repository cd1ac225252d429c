"""The rules of a source file about search pages: where they begin, what they link to, how they go on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from string import Formatter
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, model_validator

from tidemill.extract.errors import InvalidRule
from tidemill.extract.model import Model, Text
from tidemill.extract.rules import Items, Locale, Rule, Sign, Texts, Variable

PLACES = ("page", "offset", "cursor")
"""Places in an address that the paging fills."""


class Paging(Model):
    """How search pages go on. With neither `next` nor `cursor` the address counts: it has `{page}` or `{offset}`."""

    first: Annotated[int, Field(ge=0)] = 1
    """What the first `{page}` is; `{offset}` always begins with 0."""
    step: Annotated[int, Field(ge=1)] = 1
    """By how much `{page}` or `{offset}` grows: entries of a page, for an offset."""
    next: Rule | None = None
    """The address of the next page: `{css: "a[rel=next]", attribute: href}`."""
    cursor: Rule | None = None
    """The mark of the next page in the answer, which goes into `{cursor}`: `{jsonpath: $.next}`."""
    first_cursor: str = ""
    """What `{cursor}` is on the first page."""

    @model_validator(mode="after")
    def _goes_one_way(self) -> "Paging":
        if self.next is not None and self.cursor is not None:
            raise InvalidRule("has next and cursor; write one of them")
        return self


class SearchRules(Model):
    """Pages that list what there is."""

    url: Texts
    """Addresses of the first pages, with `{names}` of `each`, and `{page}`, `{offset}` or `{cursor}`."""
    each: dict[Variable, dict[str, str] | tuple[Text, ...]] = Field(default_factory=dict)
    """Values for `{names}` in the address: a list, or what is written into the address by the name people know it by:
    `{city: {Helsinki: "64", Espoo: "39"}}`. All combinations are searched."""
    items: Items | None = None
    """What holds one entry each; `link`, `key`, `hint` and `carry` look inside. Needed for `hint` and `carry`."""
    link: Rule
    """The address of the entry's page, or what goes into `link_url`."""
    link_url: Text | None = None
    """Where the answer has no address: one with `{link}`, for instance `https://example.org/listings/{link}`."""
    key: Rule | None = None
    """What the site calls the entry, for instance its number."""
    hint: Annotated[tuple[Rule, ...], Field(min_length=1)] | None = None
    """What of the entry tells that its page has changed: price, or the time of change."""
    carry: dict[Variable, Rule] = Field(default_factory=dict)
    """What of the entry goes with the link, for what its page does not say: rules of fields find it by its name with
    `carried`: `{place: {jsonpath: coordinates}}`."""
    found: Rule | None = None
    """How many entries there are by the site's own count. With it a search knows whether it has seen them all."""
    nothing: tuple[Sign, ...] = ()
    """Signs of a search that has no results and is complete: `{text: Keine Treffer}`. Without them, and without a count
    of 0, a first page without entries is a failure."""
    paging: Paging | None = None
    """Without it the first page is the only one."""
    max_pages: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Of one search. A search that ends by it is not complete."""
    slack: Annotated[float, Field(ge=0, le=0.2)] = 0.01
    """By which share `found` may be more than what was seen: entries come and go while the pages are read."""
    locale: Locale = "auto"
    """How `found` is written."""

    @model_validator(mode="after")
    def _places_are_known(self) -> "SearchRules":
        for url in self.url:
            names = _places(url)
            unknown = sorted(names - set(PLACES) - self.each.keys())
            if unknown:
                raise InvalidRule(
                    f"url has {{{unknown[0]}}}. Valid names: {', '.join(sorted((*PLACES, *self.each)))}; "
                    "write %7B for a brace that is meant"
                )
            counting = names & {"page", "offset"}
            paging = self.paging
            if paging is not None and paging.cursor is not None and "cursor" not in names:
                raise InvalidRule("paging has a cursor, and url no {cursor} to put it in")
            if paging is not None and paging.next is None and paging.cursor is None and len(counting) != 1:
                raise InvalidRule("paging needs {page} or {offset} in url, or next, or cursor")
            if paging is None and names & set(PLACES):
                raise InvalidRule(f"url has {{{min(names & set(PLACES))}}}, and there is no paging")
        if self.link_url is not None and _places(self.link_url) != {"link"}:
            raise InvalidRule("link_url needs {link}, and nothing else in braces")
        if self.hint is not None and self.items is None:
            raise InvalidRule("hint needs items: what holds one entry each")
        if self.carry and self.items is None:
            raise InvalidRule("carry needs items: what holds one entry each")
        return self


def _places(url: str) -> set[str]:
    try:
        return {name for _, name, _, _ in Formatter().parse(url) if name is not None}
    except ValueError:
        raise InvalidRule(f"{url} has a single brace; write %7B or %7D") from None


def filled(url: str, **values: str) -> str:
    """The address with these values in their places, escaped; other places stay as they are."""

    def put(place: "re.Match[str]") -> str:
        name = place[1]
        return quote(values[name], safe="") if name in values else place[0]

    return re.sub(r"\{(\w+)\}", put, url)


@dataclass(frozen=True, slots=True)
class Start:
    """A search: its address with `{page}`, `{offset}` or `{cursor}` still in it, and what it looks for."""

    url: str
    values: tuple[tuple[str, str], ...] = ()
    """Names people know: `(("city", "Helsinki"),)`."""


def starts(search: SearchRules) -> Iterator[Start]:
    """All searches, in the order of the file."""
    names = list(search.each)
    choices = [
        list(each.items()) if isinstance(each, dict) else [(value, value) for value in each]
        for each in search.each.values()
    ]
    seen = set()
    for url in search.url:
        for chosen in product(*choices):
            values = dict(zip(names, chosen, strict=True))
            used = _places(url)
            start = Start(
                filled(url, **{name: written for name, (_, written) in values.items()}),
                tuple((name, shown) for name, (shown, _) in values.items() if name in used),
            )
            if start not in seen:
                seen.add(start)
                yield start
