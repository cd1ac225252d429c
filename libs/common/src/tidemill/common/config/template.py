"""Files to begin with: every key with its meaning and its default, as a comment, from the models that check them."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from tidemill.common.config.reference import Schema, section_of

_WIDTH = 100
_INDENT = "  "
_EMPTY: Mapping[str, Any] = {"object": {}, "array": []}
_PLAIN = re.compile(r"[A-Za-z0-9./_][A-Za-z0-9 ./_*@+-]*")
_OTHER_THAN_TEXT = re.compile(r"(null|true|false|~|-?[0-9.]+([eE][+-]?[0-9]+)?)", re.IGNORECASE)


def template(schema: Schema, written: Mapping[str, Any]) -> str:
    """YAML with every key of a schema: those of `written` with its values, all others commented out with their
    defaults. Take the first `#` of a line away to set the key."""
    return "\n".join(_lines(schema, written, schema.get("$defs", {}), "")) + "\n"


def _lines(schema: Schema, written: Mapping[str, Any], definitions: Schema, indent: str) -> Iterator[str]:
    """Of one section whose own key is written."""
    for name, entry in schema.get("properties", {}).items():
        section, is_list = section_of(entry, definitions)
        inner = None if is_list else section
        if not indent:
            yield ""
        yield from _meaning(entry, inner, indent)
        if name not in written:
            yield from (f"#{line}" for line in _key(name, entry, inner, definitions, indent))
        elif inner is not None:
            yield f"{indent}{name}:"
            yield from _lines(inner, written[name], definitions, indent + _INDENT)
        else:
            yield f"{indent}{name}: {_value(written[name])}"


def _key(name: str, entry: Schema, inner: Schema | None, definitions: Schema, indent: str) -> Iterator[str]:
    """A key with its default, and all below it."""
    if inner is None:
        yield f"{indent}{name}: {_value(entry.get('default', _EMPTY.get(entry.get('type', ''))))}".rstrip()
        return
    yield f"{indent}{name}:"
    for below, its_entry in inner.get("properties", {}).items():
        section, is_list = section_of(its_entry, definitions)
        deeper = None if is_list else section
        yield from _meaning(its_entry, deeper, indent + _INDENT)
        yield from _key(below, its_entry, deeper, definitions, indent + _INDENT)


def _meaning(entry: Schema, section: Schema | None, indent: str) -> Iterator[str]:
    text = " ".join(" ".join(part.get("description", "") for part in (section or {}, entry)).split())
    yield from (f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH - len(indent)))


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _OTHER_THAN_TEXT.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
