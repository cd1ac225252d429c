"""Which field of a settings model a key leads to, and what that field takes."""

import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tidemill.common.config.layers import Path, key_of
from tidemill.common.config.references import Secret
from tidemill.common.config.secrets import TakesSecrets


def is_secret(field: FieldInfo | None) -> bool:
    return field is not None and _holds(field, SecretStr)


def takes_secrets(field: FieldInfo | None) -> bool:
    """Whether a setting may name a secret: whoever uses it follows references."""
    if field is None:
        return False
    marks = (*field.metadata, *_marks(field.annotation))
    return _holds(field, Secret) or any(isinstance(mark, TakesSecrets) for mark in marks)


def _holds(field: FieldInfo, wanted: type) -> bool:
    return any(isinstance(leaf, type) and issubclass(leaf, wanted) for leaf in types_in(field.annotation))


def _marks(annotation: Any) -> Iterator[Any]:
    """What `Annotated` says anywhere inside, for instance in `ServerUrl | None`."""
    yield from getattr(annotation, "__metadata__", ())
    for argument in typing.get_args(annotation):
        yield from _marks(argument)


def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the section at this path."""
    if not path:
        return model
    field = field_at(model, path)
    return _model_in(field.annotation) if field else None


def field_at(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """The field that a path leads to; list indices and free keys lead to the field that holds them."""
    field: FieldInfo | None = None
    current: type[BaseModel] | None = model
    free = False
    for part in path:
        if isinstance(part, int) or current is None or free:
            free = False
            continue
        fields = {key_of(name, field): field for name, field in current.model_fields.items()}
        field = fields.get(part)
        if field is None:
            return None
        current = _model_in(field.annotation)
        free = typing.get_origin(field.annotation) is dict
    return field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of `M`, `M | None`, `tuple[M, ...]`."""
    return next((leaf for leaf in types_in(annotation) if isinstance(leaf, type) and issubclass(leaf, BaseModel)), None)


def types_in(annotation: Any) -> Iterable[Any]:
    """The types that a compound one is made of."""
    if typing.get_origin(annotation) in (None, typing.Literal):
        yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from types_in(argument)
