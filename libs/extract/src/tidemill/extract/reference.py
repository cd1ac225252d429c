"""The reference of all rules, for people, from models and examples: `python -m tidemill.extract.reference`."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from tidemill.extract.examples import KINDS as KIND_EXAMPLES
from tidemill.extract.examples import READINGS, SEARCHES, STATES, TYPES, URLS, Example, SearchExample
from tidemill.extract.rules import KINDS, FieldRules, Items, PageRules, Reading, Rule, Sign, StateRules
from tidemill.extract.search import Paging, SearchRules
from tidemill.extract.url import TRACKING, UrlRules

_INTRODUCTION = """\
# Rules for reading pages

Written by `python -m tidemill.extract.reference` from the models that check the rules; a test holds both equal, and
runs every example: rules, what they are used on, and after `→` what comes of it.

A page is HTML or JSON, in UTF-8, or in what its header or it itself names, or, where neither does, Japanese
(Shift_JIS, EUC-JP) or Western (windows-1252). A rule finds texts, or values of JSON, on it; a type makes values of
them. What is not sure is no value but a problem with its reason: `1.234` may be two numbers, `3/4/2026` two days, and
a range is not one price.
"""

_TYPES = """\
## Types

Numbers are read by the `locale` of the rule, the field or the page, in this order. `auto`, which holds without one,
takes what means the same everywhere. Spaces of every kind and apostrophes group thousands everywhere; `,` and `.` do
as the locale has it, and where a number could be read in two ways it is refused. Texts within JSON-LD, microdata and
JSON may also be written as programs write numbers (`1250.5`), unless the rule has a `locale` of its own. One text has
one number: of several, choose one with `match`.
"""

_STATES = """\
## States of a page

A page is `ok` when all required fields have a value (or any field, where none is required), whatever the server
answered. Otherwise it is, in this order, what a sign of yours says (also when all fields are there), what the status
says (404 and 410: `gone`; 401, 403, 407, 429 and 503: `blocked`), what signs that many sites share say
(`known_signs`), or `incomplete`: mostly a new layout. Each judgement has its reasons, with names for counting:
`sign`, `status`, `bot_wall`, `gone_words`, `not_found_words`, `javascript_shell`, `required_missing`,
`nothing_found`, `empty`, `unreadable`.
"""

_SEARCH = """\
## Search pages

A search goes on from page to page until there is no next one, or until

| stop | when | complete |
|---|---|---|
| `last_page` | there is no next page, or all that the site counts were seen | yes |
| `empty` | a page has no entries, and others had, or it says that there are none | yes |
| `repeated` | a page has the entries of an earlier one | yes |
| `no_entries` | the first page has none and does not say so, or a page is an error, a wall or a shell | no |
| `result_cap` | the site ends before it has shown as many as it counts (`found`), but for `slack` | no |
| `limit` | `max_pages` | no |
| `no_next` | the rule for the next page takes too long | no |

What a search that is not complete did not see is not gone.
"""

_URLS = """\
## Addresses

Two addresses are the same page when their canonical forms are equal: host in lower case and ASCII, no default port,
no dot segments, percent signs only where they must be, parameters in order, no fragment, no slash at the end, no
session in the path. Well-known parameters that only track are left out: {tracking}.
"""


def reference() -> str:
    """The page `docs/extraction-rules.md`."""
    parts = [_INTRODUCTION]
    parts += _section("## A page", PageRules)
    parts += _section("### Items: many records on a page", Items)
    parts += _section("## A field", FieldRules, without=Reading.model_fields)
    parts += _examples(READINGS, ("from", "default"))
    parts += _section("## How a text is read: keys of a field, and of each rule for itself", Reading)
    parts += _examples(READINGS, ("match", "strip", "replace", "map"))
    parts += _kinds()
    parts.append(_TYPES)
    parts += _examples(TYPES, TYPES)
    parts.append(_STATES)
    parts += _section("", StateRules)
    parts += _section("### A sign", Sign)
    parts += [_block(example.rules, example.page, example.state) for example in STATES]
    parts.append(_SEARCH)
    parts += _section("", SearchRules)
    parts += _section("### Paging", Paging)
    parts += [_block(each.search, f"{each.asked}\n{each.page}", _search_outcome(each)) for each in SEARCHES]
    parts.append(_URLS.format(tracking=", ".join(f"`{name}`" for name in TRACKING)))
    parts += _section("", UrlRules)
    parts += [_block(example.rules, example.url, example.canonical) for example in URLS]
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel], without: Iterable[str] = ()) -> Iterator[str]:
    if title:
        yield f"{title}\n\n{_line(model.__doc__)}\n"
    yield _table(model, [name for name in model.model_fields if name not in without])


def _kinds() -> Iterator[str]:
    yield f"## Rules\n\n{_line(Rule.__doc__)}\n"
    for kind, keys in KINDS.items():
        yield f"### `{kind}`\n\n{_line(Rule.model_fields[kind].description)}\n"
        if keys:
            yield _table(Rule, keys)
        yield from _examples(KIND_EXAMPLES, (kind,))


def _table(model: type[BaseModel], names: Sequence[str]) -> str:
    rows = ["| key | form | default | |", "|---|---|---|---|"]
    properties = model.model_json_schema(by_alias=False)
    properties = properties.get("properties") or properties["$defs"][model.__name__]["properties"]
    for name in names:
        field = model.model_fields[name]
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        shown = f"`{field.alias or name}`"
        rows.append(f"| {shown} | {_form(properties[name])} | {default} | {_line(field.description)} |")
    return "\n".join((*rows, ""))


def _default(value: Any) -> str:
    if isinstance(value, BaseModel) or value in (None, (), {}, ""):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


_FORMS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def _form(entry: Mapping[str, Any]) -> str:
    if "anyOf" in entry:
        forms = [_form(branch) for branch in entry["anyOf"] if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(forms))
    if "$ref" in entry:
        return _NAMES[entry["$ref"].rpartition("/")[2]]
    if choices := entry.get("enum", [entry["const"]] if "const" in entry else []):
        return ", ".join(f"`{choice if isinstance(choice, str) else json.dumps(choice)}`" for choice in choices)
    if entry.get("type") == "array":
        element: Mapping[str, Any] = entry.get("items") or next(iter(entry.get("prefixItems", ())), {})
        return f"list of {_form(element)}"
    if entry.get("type") == "object":
        inner = entry.get("additionalProperties")
        return f"mapping to {_form(inner)}" if isinstance(inner, dict) and inner else "mapping"
    return _FORMS.get(entry.get("type", ""), "any")


_NAMES = {
    "Rule": "rule",
    "FieldRules": "field",
    "Items": "items",
    "StateRules": "states",
    "Sign": "sign",
    "Paging": "paging",
}


def _line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _examples(examples: Mapping[str, Sequence[Example]], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield "\n".join(
            _block(example.field, _page(example), json.dumps(example.value, ensure_ascii=False))
            for example in examples[name]
        )


def _page(example: Example) -> str:
    """The page, and what the entry that led to it said."""
    carried = [f"carried {name}: {said}" for name, said in example.carried.items()]
    return "\n".join([example.page, *carried])


def _block(rules: str, page: str, outcome: str) -> str:
    """Rules, what they are used on, and what comes of it."""
    return f"```text\n{rules}\n\n{page}\n\n→ {outcome}\n```\n"


def _search_outcome(example: SearchExample) -> str:
    return f"{', '.join(example.links)}; then {example.next or example.stop}"


if __name__ == "__main__":
    print(reference(), end="")
