"""What a source file may say to the `json` converter, checked and made ready."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FORMATS = ("json", "jsonl")
TYPES = ("any", "string", "integer", "number", "boolean", "date", "datetime")
DUPLICATES = ("last", "reject")
OPTIONS = ("format", "items", "dataset", "key", "fields", "valid_from", "document_valid_from", "duplicate_keys")
FIELD_KEYS = ("path", "const", "type", "required", "zone")

Path = tuple[str, ...]


class Unfit(ValueError):
    """What cannot become a record: the reason to count, a sentence, and the text if nothing could be read from it."""

    def __init__(self, reason: str, detail: str, raw: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Field:
    """Where the value of one field comes from, and what it has to be."""

    name: str
    path: Path
    const: Any
    type: str
    required: bool
    zone: tzinfo | None

    def value_in(self, item: Any) -> Any:
        """Raises Unfit."""
        if not self.path:
            return self.const
        value = look_up(item, self.path)
        if value is None:
            if self.required:
                raise Unfit("missing", f"there is no {'.'.join(self.path)} for {self.name}")
            return None
        try:
            return _READ[self.type](value, self.zone)
        except (ValueError, TypeError, OverflowError):
            raise Unfit("invalid", f"{self.name}: {value!r} is no {self.type}") from None


@dataclass(frozen=True, slots=True)
class Time:
    """Where a time stands, and in which zone it is if it does not say so itself."""

    path: Path
    zone: tzinfo | None

    def read(self, value: Any) -> datetime:
        """Raises Unfit."""
        try:
            return _moment(value, self.zone)
        except (ValueError, TypeError, OverflowError):
            raise Unfit("invalid", f"{'.'.join(self.path)}: {value!r} is no time with zone") from None


@dataclass(frozen=True, slots=True)
class Plan:
    """The options, ready for use."""

    format: str | None
    items: str
    dataset: str
    key: tuple[Path, ...]
    fields: tuple[Field, ...]
    valid_from: Time | None
    document_valid_from: Time | None
    refuse_duplicates: bool


def make_plan(options: Mapping[str, Any], find_datasets: Callable[[], Mapping[str, Any]], generic: str) -> Plan:
    """Raises ValueError with a sentence that names the key and what is valid."""
    _check_keys("option", options, OPTIONS)
    dataset = options.get("dataset", generic)
    if dataset != generic and dataset not in (datasets := find_datasets()):
        _refuse(f"dataset: {dataset!r} is not installed; installed: {', '.join(datasets)}")
    key = options.get("key", [])
    paths = [key] if isinstance(key, str) else key
    if not isinstance(paths, list):
        _refuse("key: must be a path, or a list of paths")
    fields = options.get("fields", {})
    if not isinstance(fields, Mapping):
        _refuse("fields: must name each field of the dataset and its path, for instance {price: offer.price}")
    plan = Plan(
        format=_one_of("format", options.get("format"), FORMATS) if "format" in options else None,
        items=_items(options.get("items", "item")),
        dataset=dataset,
        key=tuple(_path("key", path) for path in paths),
        fields=tuple(_field(f"fields.{name}", name, said) for name, said in fields.items()),
        valid_from=_time("valid_from", options),
        document_valid_from=_time("document_valid_from", options),
        refuse_duplicates=_one_of("duplicate_keys", options.get("duplicate_keys", "last"), DUPLICATES) == "reject",
    )
    if dataset != generic and not plan.key:
        _refuse(f"key: {dataset} needs the path, or paths, of what identifies an item")
    if plan.format == "jsonl" and ("items" in options or plan.document_valid_from):
        _refuse("items, document_valid_from: JSON lines have one item a line and nothing around them")
    return plan


def look_up(item: Any, path: Path) -> Any:
    """The value at a path of member names and, in arrays, indexes; None where there is none."""
    for name in path:
        if isinstance(item, dict):
            item = item.get(name)
        elif isinstance(item, list) and name.isdecimal() and int(name) < len(item):
            item = item[int(name)]
        else:
            return None
    return item


def _field(where: str, name: str, said: Any) -> Field:
    if isinstance(said, str):
        said = {"path": said}
    if not isinstance(said, Mapping):
        _refuse(f"{where}: must be a path, or have the keys {', '.join(FIELD_KEYS)}")
    _check_keys(where, said, FIELD_KEYS)
    if ("path" in said) == ("const" in said):
        _refuse(f"{where}: must have either path or const")
    required = said.get("required", False)
    if not isinstance(required, bool):
        _refuse(f"{where}.required: must be true or false")
    return Field(
        name=name,
        path=_path(where, said["path"]) if "path" in said else (),
        const=said.get("const"),
        type=_one_of(f"{where}.type", said.get("type", "any"), TYPES),
        required=required,
        zone=_zone(where, said.get("zone")),
    )


def _time(name: str, options: Mapping[str, Any]) -> Time | None:
    said = options.get(name)
    if said is None:
        return None
    if isinstance(said, str):
        said = {"path": said}
    if not isinstance(said, Mapping) or set(said) - {"path", "zone"} or "path" not in said:
        _refuse(f"{name}: must be the path of a time, or have the keys path and zone")
    return Time(_path(name, said["path"]), _zone(name, said.get("zone")))


def _items(said: Any) -> str:
    return ".".join(_path("items", said))


def _path(where: str, said: Any) -> Path:
    if not isinstance(said, str) or not all(said.split(".")):
        _refuse(f"{where}: {said!r} is not a path; write names with dots between them, for instance offer.price")
    return tuple(said.split("."))


def _zone(where: str, said: Any) -> tzinfo | None:
    if said is None:
        return None
    try:
        return ZoneInfo(said)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        _refuse(f"{where}.zone: {said!r} is not a time zone; write for instance Europe/Budapest")


def _one_of(where: str, said: Any, valid: tuple[str, ...]) -> str:
    if said not in valid:
        _refuse(f"{where}: {said!r} is not valid; valid: {', '.join(valid)}")
    return str(said)


def _check_keys(where: str, said: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for key in said:
        if key not in valid:
            _refuse(f"{where}: unknown key {key!r}; valid: {', '.join(valid)}")


def _refuse(sentence: str) -> NoReturn:
    raise ValueError(sentence)


def _read_string(value: Any, _: tzinfo | None) -> str:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _read_integer(value: Any, _: tzinfo | None) -> int:
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]{1,19}", value.strip())):
        raise ValueError
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError
    return number


def _read_number(value: Any, _: tzinfo | None) -> Any:
    if isinstance(value, bool):
        raise ValueError
    number = float(value) if isinstance(value, str) else value
    if number - number:  # Not finite.
        raise ValueError
    return number


def _read_boolean(value: Any, _: tzinfo | None) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    if isinstance(value, bool):
        return value
    raise ValueError


def _read_date(value: Any, _: tzinfo | None) -> str:
    return date.fromisoformat(value).isoformat()


def _read_datetime(value: Any, zone: tzinfo | None) -> str:
    return _moment(value, zone).isoformat()


def _moment(value: Any, zone: tzinfo | None) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)


_READ: Mapping[str, Callable[[Any, tzinfo | None], Any]] = {
    "any": lambda value, _: value,
    "string": _read_string,
    "integer": _read_integer,
    "number": _read_number,
    "boolean": _read_boolean,
    "date": _read_date,
    "datetime": _read_datetime,
}
