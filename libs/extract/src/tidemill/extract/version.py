"""The version of rules, as part of a converter's version."""

import hashlib
import json

from tidemill.extract.hooks import hook_version
from tidemill.extract.model import Json, Model

ENGINE = 1
"""Counts up when the engine reads the same page by the same rules otherwise."""


def version(*rules: Model) -> str:
    """Twelve hex digits: the same for rules that say the same, whatever their layout; others for others, or after a
    change of the engine. Keys with their default value do not count, so that a new key changes nothing."""
    dumped = [each.model_dump(mode="json", by_alias=True, exclude_defaults=True) for each in rules]
    content = [ENGINE, *map(_with_order, dumped)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]


def _content(key: str, value: Json) -> Json:
    if key == "replace" and isinstance(value, dict):
        return list(value.items())
    if key == "python" and isinstance(value, str):
        return hook_version(value)
    return _with_order(value)


def _with_order(value: Json) -> Json:
    """Replacements are made one after the other, so their order counts; that of no other keys does."""
    match value:
        case dict():
            return {key: _content(key, inner) for key, inner in value.items()}
        case list():
            return [_with_order(inner) for inner in value]
    return value
