"""A tree of values into a settings model, and what pydantic found wrong into sentences."""

import difflib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tidemill.common.config.errors import ConfigError, Problem, dotted
from tidemill.common.config.fields import field_at, is_secret, model_at
from tidemill.common.config.layers import Layer, Path, key_of
from tidemill.common.config.secret_places import misplaced
from tidemill.common.config.secrets import masked
from tidemill.common.config.units import duration_text

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], layer: Layer) -> M:
    """The model of these values, strictly: `"5"` is no number, `yes` no boolean. Raises ConfigError with every problem.

    A text from the environment that looks like a number stays text where the setting wants text.
    """
    try:
        found = _strictly(model, layer)
    except ValidationError as error:
        wants_text = {tuple(found["loc"]) for found in error.errors() if found["type"] in ("string_type", "path_type")}
        texts = wants_text & layer.texts.keys()
        if not texts:
            raise ConfigError([*problems(model, layer, error), *misplaced(model, layer)]) from None
        for path in texts:
            layer.replace(path, layer.texts.pop(path))
        return validated(model, layer)
    if wrong := list(misplaced(model, layer)):
        raise ConfigError(wrong)
    return found


def _strictly(model: type[M], layer: Layer) -> M:
    # JSON, because strict validation of Python values refuses a list for a tuple and a text for a Path.
    return model.model_validate_json(json.dumps(layer.data), strict=True)


def problems(model: type[BaseModel], layer: Layer, error: ValidationError) -> list[Problem]:
    """What is wrong, in the order of the file."""
    found = []
    for detail in error.errors():
        path = _in_file(layer, tuple(detail["loc"]), missing=detail["type"] == "missing")
        found.append(Problem(layer.origin(path), dotted(path), masked(_sentence(model, path, detail))))
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line or 0, problem.column or 0))


def _in_file(layer: Layer, loc: Path, *, missing: bool) -> Path:
    """The path of a problem as the file has it: without the names of a union's branches."""
    path: Path = ()
    for place, part in enumerate(loc):
        if layer.holds((*path, part)) or (missing and place == len(loc) - 1):
            path = (*path, part)
    return path


_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}


def _sentence(  # noqa: PLR0911 - one return for each kind of mistake
    model: type[BaseModel], path: Path, detail: ErrorDetails
) -> str:
    kind, value = detail["type"], detail["input"]
    context = _context(model, path, detail)
    shown = "this secret" if is_secret(field_at(model, path)) else _short(value)
    if kind in _WANTED:
        return f"must be {_WANTED[kind].format(**context)}, not {shown}"
    match kind:
        case "extra_forbidden":
            return unknown_key(str(path[-1]), _keys(model, path[:-1]))
        case "missing":
            return "is missing; it has no default"
        case "literal_error" | "enum":
            return unknown_choice(value if isinstance(value, str) else shown, _expected(context["expected"]))
        case "string_type" | "path_type":
            return f"must be text, not {shown}" + (
                "; put it in quotes" if isinstance(value, (bool, int, float)) else ""
            )
        case "model_type" | "dict_type":
            return f"must hold keys of its own, not {shown}. {_valid(_keys(model, path))}"
        case "string_pattern_mismatch":
            return f"{shown} does not have the form {context['pattern']}"
        case "value_error":
            return str(context["error"])
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _context(model: type[BaseModel], path: Path, detail: ErrorDetails) -> dict[str, Any]:
    """What the message is about; limits as declared, because pydantic gives only the repr of a timedelta."""
    field = field_at(model, path)
    context = dict(detail.get("ctx", {}))
    for name in context.keys() & {"gt", "ge", "lt", "le"}:
        limits = [getattr(item, name) for item in _declared(field) if hasattr(item, name)]
        context[name] = duration_text(limits[0]) if limits and isinstance(limits[0], timedelta) else context[name]
    return context


def _declared(field: FieldInfo | None) -> list[Any]:
    """What the annotation says beside the type; also within `Annotated[…] | None`."""
    if field is None:
        return []
    inner = [item for branch in get_args(field.annotation) for item in getattr(branch, "__metadata__", ())]
    return [*field.metadata, *(each for item in inner for each in getattr(item, "metadata", ()))]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that something does not exist, with the nearest that does."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else "."


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """The sentence for a key that does not exist, with the nearest one that does."""
    valid = list(valid)
    return f"unknown key{did_you_mean(key.lower(), valid)} {_valid(valid)}"


def unknown_choice(value: str, valid: Iterable[str]) -> str:
    """The sentence for a value that is none of the possible ones."""
    names = sorted(valid)
    meant = did_you_mean(value.lower(), names)
    return f"{value} is not possible here{meant} Valid values: {', '.join(names) or 'none'}"


def _valid(keys: Iterable[str]) -> str:
    return f"Valid keys: {', '.join(sorted(keys)) or 'none'}"


def _expected(listed: str) -> list[str]:
    """pydantic's `'auto', 'json' or 'console'` as names."""
    return [name.strip("'") for name in listed.replace(" or ", ", ").split(", ")]


def _short(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _keys(model: type[BaseModel], path: Path) -> list[str]:
    inner = model_at(model, path)
    return [key_of(name, field) for name, field in inner.model_fields.items()] if inner else []
