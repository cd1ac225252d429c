"""Where secrets may stand in a configuration: named by a reference, in settings whose user follows it."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from tidemill.common.config.errors import Problem, dotted
from tidemill.common.config.fields import field_at, is_secret, takes_secrets
from tidemill.common.config.layers import Layer, Path
from tidemill.common.config.references import FORMS, refers, without_references
from tidemill.common.config.secrets import masked

_MEANT = re.compile(r"\$\{\s*(?:env|file|age)\b")


def misplaced(model: type[BaseModel], layer: Layer) -> Iterator[Problem]:
    """References that nobody would follow, or that are not written as one."""
    for path, text in _texts(layer.data):
        if _MEANT.search(without_references(text)):
            yield Problem(layer.origin(path), dotted(path), f"holds a reference that is not one; write {FORMS}")
        elif refers(text) and not takes_secrets(field_at(model, path)):
            yield Problem(
                layer.origin(path),
                dotted(path),
                "is no secret, so it cannot refer to one; write the value itself, or set it in the environment",
            )


def written_out(model: type[BaseModel], layer: Layer) -> Iterator[Problem]:
    """Secrets in plain text: what is published is kept and shown, so it may only name them."""
    for path, text in _texts(layer.data):
        named = without_references(text)
        if (is_secret(field_at(model, path)) and text and not refers(text)) or masked(named) != named:
            yield Problem(
                layer.origin(path),
                dotted(path),
                f"holds a secret in plain text, which every kept version would show; name it instead: {FORMS}",
            )


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for key, item in value.items():
                yield from _texts(item, (*path, key))
        case list():
            for index, item in enumerate(value):
                yield from _texts(item, (*path, index))
