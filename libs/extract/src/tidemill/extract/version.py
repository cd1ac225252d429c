"""The version of rules, as part of a converter's version."""

import hashlib
import json

from tidemill.extract.model import Model

ENGINE = 1
"""Counts up when the engine reads the same page by the same rules otherwise."""


def version(*rules: Model) -> str:
    """Twelve hex digits: the same for rules that say the same, whatever their layout; others for others, or after a
    change of the engine. Keys with their default value do not count, so that a new key changes nothing."""
    content = [ENGINE, *(each.model_dump(mode="json", by_alias=True, exclude_defaults=True) for each in rules)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]
