"""Pages of HTML or JSON to records of any dataset, as the rules of a source file read them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidemill.converter.json_converter import GENERIC, find_datasets, fit, key_text
from tidemill.converter.json_options import Unfit
from tidemill.extract import PageRules
from tidemill.extract import Record as Found
from tidemill.extract.documents import Told, json_value, lacking, open_page, origins, read_records, rules_of
from tidemill.extract.types import Coordinates, Money
from tidemill.extract.version import ENGINE
from tidemill.plugin.conversion import (
    API_VERSION,
    Accounting,
    Described,
    Document,
    Item,
    Options,
    Position,
    Progress,
    Record,
    Rejected,
)

OPTIONS = ("extract", "dataset", "key", "fields", "url", "valid_from", "zone")
ADDRESS = "url"
"""A key that stands for the address of the page."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options, ready for use."""

    rules: PageRules
    dataset: str
    key: tuple[str, ...]
    """Names of values."""
    fields: Mapping[str, str]
    """Fields of the dataset to names of values; empty: all, by their own names."""
    url: str
    """Field that takes the address of the page."""
    valid_from: str
    zone: tzinfo


class PagesConverter:
    """Every page, or every item of it, is a record of one dataset, or a rejected row with the reason.

    A value of type money gives two, `price` and `price_currency`; coordinates `place` give `place_latitude` and
    `place_longitude`.
    """

    name: ClassVar[str] = "pages"
    version: ClassVar[str] = f"1.{ENGINE}"
    api_version: ClassVar[int] = API_VERSION
    datasets: ClassVar[tuple[str, ...]] = ("*",)

    def options_error(self, options: Options) -> str | None:
        try:
            make_plan(options)
        except ValueError as error:
            return str(error)
        return None

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        plan = make_plan(options)
        page = open_page(document)
        found = read_records(page, plan.rules)
        yield Described(title=page.title)
        model = None if plan.dataset == GENERIC else find_datasets()[plan.dataset].load().model
        # Sources share the generic dataset, and one's number 7 is not the other's.
        prefix = f"{document.source}/" if document.source and plan.dataset == GENERIC else ""
        told, keys = Told(), set[str]()
        for index, one in enumerate(found):
            told.hear(one)
            try:
                key, data, valid_from = _record(one, plan, page.url)
                if model is not None:
                    data = fit(model, data)
                if key in keys:
                    raise Unfit("twice", f"the key {key} comes twice on the page")
            except Unfit as unfit:
                yield Rejected(unfit.reason, unfit.detail, origins(one), Position(item=index))
                continue
            keys.add(key)
            yield Record(plan.dataset, prefix + key, data, Position(item=index), valid_from, raw=origins(one))
        for problem in told:
            yield Progress(warning=problem)
        yield Accounting(None, len(found), len(keys), len(found) - len(keys))


def make_plan(options: Options) -> Plan:
    """Raises ValueError with a sentence that names the key and what is valid."""
    for key in options:
        if key not in OPTIONS:
            raise ValueError(f"unknown option {key!r}; valid: {', '.join(OPTIONS)}")
    rules = rules_of(options)
    dataset = options.get("dataset", GENERIC)
    if dataset != GENERIC and dataset not in (datasets := find_datasets()):
        raise ValueError(f"dataset: {dataset!r} is not installed; installed: {', '.join(datasets)}")
    known = _names(rules)
    key = options.get("key", () if rules.items else ADDRESS)
    keys = (key,) if isinstance(key, str) else tuple(key) if isinstance(key, list) else key
    if keys == () and rules.items:
        raise ValueError("key: the page has many items, so name the field, or fields, that identify one")
    _check_names("key", keys, (*known, ADDRESS))
    fields = options.get("fields", {})
    if not isinstance(fields, Mapping):
        raise ValueError("fields: must name fields of the dataset, each with the value it takes")
    _check_names("fields", tuple(fields.values()), known)
    valid_from = options.get("valid_from", "")
    _check_names("valid_from", (valid_from,) if valid_from else (), known)
    url = options.get("url", "")
    if not isinstance(url, str):
        raise ValueError("url: must be the name of a field")
    return Plan(rules, dataset, keys, dict(fields), url, valid_from, _zone(options.get("zone", "UTC")))


def _names(rules: PageRules) -> tuple[str, ...]:
    """Of the values that the fields give."""
    endings: Mapping[str, tuple[str, ...]] = {"money": ("", "_currency"), "coordinates": ("_latitude", "_longitude")}
    return tuple(f"{name}{ending}" for name, field in rules.fields.items() for ending in endings.get(field.type, ("",)))


def _check_names(where: str, names: Any, valid: tuple[str, ...]) -> None:
    for name in names if isinstance(names, tuple) else (names,):
        if name not in valid:
            raise ValueError(f"{where}: {name!r} is no field of extract; valid: {', '.join(valid)}")


def _zone(said: Any) -> tzinfo:
    try:
        return ZoneInfo(said)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError(f"zone: {said!r} is not a time zone; write for instance Europe/Budapest") from None


def _record(found: Found, plan: Plan, url: str) -> tuple[str, dict[str, Any], datetime | None]:
    """Key, data and valid time. Raises Unfit."""
    if (absence := lacking(found)) is not None:
        raise Unfit("missing", absence)
    values = _flat(found)
    data = {field: values[name] for field, name in plan.fields.items() if name in values} if plan.fields else values
    if plan.url:
        data = {**data, plan.url: url}
    key = "/".join(_key(values, name, url) for name in plan.key)
    return key, data, _moment(values[plan.valid_from], plan) if plan.valid_from in values else None


def _flat(found: Found) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in found.values.items():
        match value:
            case Money():
                values |= {name: json_value(value.amount), f"{name}_currency": value.currency}
            case Coordinates():
                values |= {f"{name}_latitude": value.lat, f"{name}_longitude": value.lon}
            case _:
                values[name] = json_value(value)
    return values


def _key(values: Mapping[str, Any], name: str, url: str) -> str:
    if name == ADDRESS and name not in values:
        if not url:
            raise Unfit("no_key", "nobody says where the page was found")
        return url
    return key_text(values.get(name), name)


def _moment(said: Any, plan: Plan) -> datetime:
    try:
        moment = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        raise Unfit("invalid", f"{plan.valid_from}: {said!r} is no time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=plan.zone)).astimezone(UTC)
