"""Rules over a page: typed fields, each with where it comes from, and what is wrong with it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any

from tidemill.extract.errors import RuleFailed, Unreadable
from tidemill.extract.finding import find, matches, parts_of, replaced
from tidemill.extract.model import Json
from tidemill.extract.page import Page, Part
from tidemill.extract.rules import FieldRules, PageRules, Reading, Rule, form_of
from tidemill.extract.text import tidy
from tidemill.extract.types import Coordinates, Form, Money, Single, parse

NOTHING = object()
LONGEST = 2_000
"""Characters of a raw text that are kept for showing."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """One field: its value, and how it was found."""

    value: Single | list[Single] | None
    raw: str | None = None
    """As it stands on the page; None for defaults, and where nothing was found."""
    rule: str | None = None
    """The rule that gave the value: `label: Velaton hinta`; `default`."""
    alternative: int | None = None
    """Its place among the field's rules, from 0."""
    problems: tuple[str, ...] = ()
    """Why rules before it, or all of them, gave no value though they found something."""


@dataclass(frozen=True)
class Record:
    """What the rules found on a page, or in one item of it."""

    fields: Mapping[str, Extracted]
    """All fields of the rules, in their order."""
    missing: tuple[str, ...]
    """Required fields without a value."""
    stable: frozenset[str]

    @cached_property
    def values(self) -> dict[str, Single | list[Single]]:
        """The values there are."""
        return {name: field.value for name, field in self.fields.items() if field.value is not None}

    @property
    def problems(self) -> dict[str, tuple[str, ...]]:
        """By field."""
        return {name: field.problems for name, field in self.fields.items() if field.problems}

    @property
    def coverage(self) -> float:
        """Share of the fields that have a value, 0 to 1."""
        return len(self.values) / len(self.fields)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the values without the volatile ones. Layout, order of fields and trailing zeros do not
        matter, and a field that is new in the rules only where it has a value."""
        content = {name: plain(value) for name, value in self.values.items() if name in self.stable}
        written = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def plain(value: Single | list[Single] | None) -> Json:
    """A value as JSON: numbers as text without trailing zeros, days as ISO, money and places as objects."""
    match value:
        case Decimal():
            return f"{value.normalize():f}" if value else "0"
        case Money() | Coordinates():
            return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case date():
            return value.isoformat()
        case list() | tuple():
            return [plain(inner) for inner in value]
        case dict():
            return {str(key): plain(inner) for key, inner in value.items()}
    return value


def find_texts(rule: Rule, part: Part, *, many: bool = False) -> list[str]:
    """What one rule finds, as text: addresses, tokens, counts. Raises RuleFailed."""
    found = (read_text(value, rule) if isinstance(value, str) else value for value in find(rule, part, many=many))
    return [text for value in found if (text := written(value))]


def find_text(rule: Rule, part: Part) -> str:
    """The first of them; empty where there is none. Raises RuleFailed."""
    return next(iter(find_texts(rule, part)), "")


def written(value: Json) -> str:
    """A text or a number as it is written into an address or a header; empty for anything else."""
    if value is None or isinstance(value, (bool, dict, list)):
        return ""
    return value.strip() if isinstance(value, str) else str(plain(value))


def extract(page: Page, rules: PageRules) -> Record:
    """The record of a page. Never raises, whatever the page: what is wrong is in the fields."""
    return extract_part(page, rules)


def extract_items(page: Page, rules: PageRules) -> list[Record]:
    """A record for each item of the page; the page itself is the only one where the rules have no `items`."""
    return [extract_part(part, rules) for part in parts_of(page, rules.items)]


def extract_part(part: Part, rules: PageRules) -> Record:
    """The record of one part of a page."""
    fields = {name: _field(part, field, rules.locale) for name, field in rules.fields.items()}
    missing = tuple(name for name in rules.required if fields[name].value in (None, []))
    return Record(fields, missing, rules.stable)


def _field(part: Part, field: FieldRules, locale: str) -> Extracted:
    problems: list[str] = []
    for place, rule in enumerate(field.from_):
        try:
            found = find(rule, part, many=field.many)
        except RuleFailed as error:
            problems.append(f"{rule.name}: {error}")
            continue
        values = []
        for text in found:
            try:
                value = _value(text, field, rule, field.forms(locale)[place])
            except (Unreadable, RuleFailed) as error:
                problems.append(f"{rule.name}: {error}")
                continue
            if value is None:
                return Extracted(None, _raw(found), rule.name, place, tuple(problems))
            if value is not NOTHING:
                values.append(value)
        if values:
            return Extracted(values if field.many else values[0], _raw(found), rule.name, place, tuple(problems))
    if field.default is not None:
        return Extracted(_default(field, locale), None, "default", None, tuple(problems))
    return Extracted(None, problems=tuple(problems))


def _raw(found: Sequence[Json]) -> str:
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str) for value in found]
    return " | ".join(texts)[:LONGEST]


def _default(field: FieldRules, locale: str) -> Any:
    form = form_of(locale, field, None)
    if field.many and isinstance(field.default, list):
        return [parse(value, field.type, form) for value in field.default]
    value = parse(field.default, field.type, form)
    return [value] if field.many else value


def _value(found: Json, field: FieldRules, rule: Rule, form: Form) -> Any:
    """None where the map says that there is none; NOTHING where nothing is left of the text."""
    if isinstance(found, str):
        for reading in (rule, field):
            found = read_text(found, reading)
            if not isinstance(found, str):
                break
        if found is None or found == "":
            return None if found is None else NOTHING
    return parse(found, field.type, form)


def read_text(text: str, reading: Reading) -> Json:
    """What `match`, `replace`, `strip` and `map`, in this order, make of a text. Raises RuleFailed."""
    if reading.match is not None:
        text = next(iter(matches(reading.match, text)), "")
    for pattern, replacement in reading.replace.items():
        text = replaced(pattern, replacement, text)
    for word in reading.strip:
        text = _stripped(tidy(text), tidy(word))
    if reading.map:
        return reading.meanings.get(tidy(text).casefold(), text)
    return text


def _stripped(text: str, word: str) -> str:
    while word and text[: len(word)].casefold() == word.casefold():
        text = text[len(word) :].strip()
    while word and text[-len(word) :].casefold() == word.casefold():
        text = text[: -len(word)].strip()
    return text
