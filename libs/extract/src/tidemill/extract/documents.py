"""Documents that are pages: by which rules they are read, what is on them, and why one is not what it should be.

For converters. The rest of the engine knows nothing of them, so this is no part of what the package brings at once.
"""

import dataclasses
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from tidemill.extract.extract import Record, extract_items
from tidemill.extract.model import Json
from tidemill.extract.page import Page
from tidemill.extract.rules import PageRules
from tidemill.extract.states import Judgement, State, judge
from tidemill.extract.types import Coordinates, Money
from tidemill.plugin.conversion import Document, Options, Outcome, Refusal

CONTENT_TYPE = "content-type"
"""In the context of a document: what the server said it is. No name of `carry` is written so."""
LARGEST = 20_000_000
"""Bytes. A parsed page takes some ten times as much memory."""
SHOWN = 200
"""Characters of a raw text that are kept with a record."""
TOLD = 20
"""Problems of one document."""

MEANS: Mapping[State, tuple[Outcome, str]] = {
    "blocked": (Outcome.UNRECOGNISED, "It is a wall in place of the page"),
    "gone": (Outcome.UNRECOGNISED, "The page says that what it was about is gone"),
    "soft_404": (Outcome.UNRECOGNISED, "The page says that there is nothing at its address"),
    "shell": (Outcome.EMPTY, "Only JavaScript fills this page"),
    "incomplete": (Outcome.UNRECOGNISED, "The page lacks what the rules require; mostly it has a new layout"),
}


@dataclass(slots=True)
class Told:
    """What is to be said of the fields of one document, each thing once."""

    problems: dict[str, None] = field(default_factory=dict)

    def hear(self, record: Record) -> None:
        for name, found in record.fields.items():
            if found.value is None and found.problems and len(self.problems) < TOLD:
                self.problems[f"{name}: {found.problems[-1]}"] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.problems)


def rules_of(options: Options) -> PageRules:
    """The rules in the option `extract`. Raises ValueError with a sentence that names the key."""
    said = options.get("extract")
    if said is None:
        raise ValueError("extract: is missing; the source file says under it what is on a page")
    if not isinstance(said, Mapping):
        raise ValueError("extract: must hold the rules of a page, under fields")
    return _rules(json.dumps(said, sort_keys=False, default=dict))


@lru_cache(maxsize=16)
def _rules(written: str) -> PageRules:
    try:
        return PageRules.model_validate_json(written, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("one", "several", "text", "rule"))
        raise ValueError(
            f"extract{'.' + where if where else ''}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def open_page(document: Document) -> Page:
    """The page that a document is. Raises Refusal for what can be none."""
    body = document.content.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise Refusal(Outcome.TOO_LARGE, f"The page has more than {LARGEST:,} bytes.")
    if not body.strip():
        raise Refusal(Outcome.EMPTY, "The page is empty.")
    if body.startswith(b"%PDF-") or (b"\0" in body[:4096] and not body.startswith((BOM_UTF16_LE, BOM_UTF16_BE))):
        raise Refusal(Outcome.WRONG_TYPE, "It is neither HTML nor JSON.")
    headers = {CONTENT_TYPE: document.context.get(CONTENT_TYPE, "")}
    return Page.of_bytes(body, url=document.url, headers=headers, context=document.context)


def read_records(page: Page, rules: PageRules) -> list[Record]:
    """What the rules find, a record for each item. Of a page with many items one that lacks a required field is the
    caller's to reject. Raises Refusal for a page that is not what the rules are about."""
    records = extract_items(page, rules)
    if rules.items is None:
        judgement = judge(page, rules, records[0])
    elif records:
        judgement = judge(page, rules)
    else:
        judgement = judge(page, rules, Record({}, ("items",), frozenset()))
    if not judgement.ok:
        raise refusal_of(judgement)
    return records


def refusal_of(judgement: Judgement) -> Refusal:
    """Why a page that is not ok gives no records."""
    outcome, sentence = MEANS[judgement.state]
    if any(why.name == "unreadable" for why in judgement.why):
        outcome = Outcome.UNREADABLE
    return Refusal(outcome, f"{sentence} ({', '.join(map(str, judgement.why))}).")


def lacking(record: Record) -> str | None:
    """Which required fields an item of a page has not got, as a sentence; None where it has all."""
    if not record.missing:
        return None
    told = [f"{name} ({found[-1]})" if (found := record.fields[name].problems) else name for name in record.missing]
    return f"there is no {', '.join(told)}, and the rules require it"


def json_value(value: Any) -> Json:
    """A value as JSON: numbers as numbers, days as ISO, money and places as objects."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Money() | Coordinates():
            return {each.name: json_value(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case date():
            return value.isoformat()
        case list() | tuple():
            return [json_value(inner) for inner in value]
        case dict():
            return {str(key): json_value(inner) for key, inner in value.items()}
    return value


def origins(record: Record) -> str:
    """Which rule gave each value and what it was read from, as JSON: the raw text of a stored record."""
    found = {
        name: {"rule": one.rule, **({} if one.raw is None else {"raw": _cut(one.raw)})}
        for name, one in record.fields.items()
        if one.rule is not None
    }
    return json.dumps(found, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
