"""Pages of listings to records, as the rules of a source file read them."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, get_args
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from tidemill.extract import Coordinates, Money, Page, PageRules
from tidemill.extract import Record as Found
from tidemill.extract.documents import Told, json_value, lacking, open_page, origins, read_records, rules_of
from tidemill.extract.version import ENGINE
from tidemill.listings.address import listing_fields, parse_address
from tidemill.listings.listing import LISTING_NAME, Country, Listing, PriceKind, hash_description
from tidemill.listings.quality import assess
from tidemill.plugin import (
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
    Rejection,
)

OPTIONS = ("extract", "portal", "country", "price_kind", "id", "zone")
ZONES: Mapping[str, str] = {
    "FI": "Europe/Helsinki",
    "DE": "Europe/Berlin",
    "AT": "Europe/Vienna",
    "CH": "Europe/Zurich",
    "LI": "Europe/Vaduz",
}
"""By country, for times without a zone."""

_NUMBER = ("decimal", "integer", "rooms", "area", "year")
_KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("price", "debt_free_price", "monthly_charge"), ("money", *_NUMBER)),
    **dict.fromkeys(("size_m2", "plot_m2", "rooms", "floor", "floors", "year_built"), _NUMBER),
    **dict.fromkeys(("latitude", "longitude"), _NUMBER),
    "coordinates": ("coordinates",),
    "published": ("date", "text"),
    "portal_id": ("text", "integer"),
}
"""Types that a field may have; of all others it is text."""
_OURS = ("description_hash", "coordinates_from")
"""Fields that follow from others."""
FIELDS = tuple(sorted({*Listing.model_fields, "area", "coordinates", "description"} - set(_OURS)))
"""Names that rules may give a listing's fields. `area` is its size, `coordinates` its latitude and longitude; of the
`description` only a hash is kept."""
_MONEY = ("price", "debt_free_price", "monthly_charge")


@dataclass(frozen=True, slots=True)
class Plan:
    """The options, ready for use."""

    rules: PageRules
    portal: str
    country: Country | None
    price_kind: PriceKind | None
    id: "re.Pattern[str] | None"
    zone: dt.tzinfo | None
    """Where somebody says it."""


class Unfit(ValueError):
    """What can be no listing: the reason to count, and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ListingsConverter:
    """Every page, or every item of it, is a listing or a rejected row with the reason."""

    name: ClassVar[str] = "listings"
    version: ClassVar[str] = f"1.{ENGINE}"
    api_version: ClassVar[int] = API_VERSION
    datasets: ClassVar[tuple[str, ...]] = (LISTING_NAME,)

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
        told, seen = Told(), set[str]()
        for index, one in enumerate(found):
            told.hear(one)
            try:
                listing = make_listing(one, page, plan, document.source)
                if listing.key in seen:
                    raise Unfit("twice", f"{listing.key} comes twice on the page")
            except Unfit as unfit:
                yield Rejected(unfit.reason, str(unfit), origins(one), Position(item=index))
                continue
            seen.add(listing.key)
            yield Record(
                LISTING_NAME,
                listing.key,
                listing.model_dump(mode="json", exclude_none=True),
                Position(item=index),
                raw=origins(one),
                quality=assess(listing, document.received_at, country=plan.country).score,
            )
        for problem in told:
            yield Progress(warning=problem)
        yield Accounting(None, len(found), len(seen), len(found) - len(seen))


def make_plan(options: Options) -> Plan:
    """Raises ValueError with a sentence that names the key and what is valid."""
    for key in options:
        if key not in OPTIONS:
            _refuse(f"unknown option {key!r}; valid: {', '.join(OPTIONS)}")
    rules = rules_of(options)
    _check_fields(rules)
    country = _one_of(options, "country", get_args(Country))
    price_kind = _one_of(options, "price_kind", get_args(PriceKind))
    if price_kind is None and "price_kind" not in rules.fields:
        _refuse("price_kind: write sale or rent, or a rule extract.fields.price_kind")
    portal, pattern = (_text(options, name) for name in ("portal", "id"))
    try:
        compiled = re.compile(pattern) if pattern else None
    except re.error as error:
        _refuse(f"id: {pattern} is no regular expression: {error}")
    zone = _text(options, "zone")
    try:
        return Plan(rules, portal, country, price_kind, compiled, ZoneInfo(zone) if zone else None)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _refuse(f"zone: {zone!r} is not a time zone; write for instance Europe/Helsinki")


def _check_fields(rules: PageRules) -> None:
    for name, field in rules.fields.items():
        if name not in FIELDS:
            # What changes with every look, such as a counter of views, is no part of a record.
            if not field.volatile:
                _refuse(
                    f"extract.fields.{name}: a listing has no such field; write one of {', '.join(FIELDS)}, "
                    "or `volatile: true` for what is not kept"
                )
            continue
        kinds = _KINDS.get(name, _NUMBER if name == "area" else ("text", "integer"))
        if field.type not in kinds:
            _refuse(f"extract.fields.{name}: its type is {field.type}; for this field write {' or '.join(kinds)}")
        if field.many:
            _refuse(f"extract.fields.{name}: a listing has one, so take out many")


def make_listing(found: Found, page: Page, plan: Plan, source: str) -> Listing:
    """Raises Unfit."""
    if (absence := lacking(found)) is not None:
        raise Unfit("missing", absence)
    values = {name: value for name, value in found.values.items() if name in FIELDS}
    said: dict[str, Any] = {
        name: json_value(value)
        for name, value in values.items()
        if not isinstance(value, (Money, Coordinates)) and name not in ("area", "description", "published")
    }
    _add_money(said, values)
    _add_place(said, values, plan)
    if "area" in values:
        said.setdefault("size_m2", json_value(values["area"]))
    if "description" in values:
        said["description_hash"] = hash_description(str(values["description"]))
    if "published" in values:
        zone = plan.zone or ZoneInfo(ZONES.get(str(said.get("country")), "UTC"))
        said["published"] = _moment(values["published"], zone)
    said["url"] = urljoin(page.base_url, str(values["url"])) if "url" in values else page.url
    if not said["url"]:
        raise Unfit("no_url", "nobody says where the page was found")
    said["portal"] = str(values.get("portal") or plan.portal or source or urlsplit(said["url"]).hostname or "")
    said["portal_id"] = str(said.get("portal_id") or _id_of(said["url"], plan))
    if plan.price_kind is not None:
        said.setdefault("price_kind", plan.price_kind)
    try:
        return Listing.model_validate(said)
    except ValidationError as error:
        raise Unfit(Rejection.INVALID, _sentence(error, found)) from None


def _add_money(said: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name in _MONEY:
        if not isinstance(money := values.get(name), Money):
            continue
        if said.setdefault("currency", money.currency) != money.currency:
            raise Unfit("currencies", f"{name} is in {money.currency}, another amount in {said['currency']}")
        said[name] = float(money.amount)


def _add_place(said: dict[str, Any], values: Mapping[str, Any], plan: Plan) -> None:
    """The parts of the printed address, where the page does not say them by themselves."""
    if isinstance(point := values.get("coordinates"), Coordinates):
        said["latitude"], said["longitude"] = point.lat, point.lon
    if "latitude" in said:
        said["coordinates_from"] = "portal"
    country = said.get("country") or plan.country
    known: Country | None = country if country in get_args(Country) else None
    if "address" in said:
        for name, part in listing_fields(parse_address(str(said["address"]), known)).items():
            said.setdefault(name, part)
    if plan.country is not None:
        said.setdefault("country", plan.country)


def _moment(published: Any, zone: dt.tzinfo) -> Any:
    """A day is kept as midnight UTC, so that it reads as it was printed; a time without zone is one of the place.
    What is no time is left to the model to refuse."""
    if isinstance(published, dt.date):
        return dt.datetime.combine(published, dt.time(), dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(str(published))
    except ValueError:
        return published
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(dt.UTC)


def _id_of(url: str, plan: Plan) -> str:
    if plan.id is not None:
        match = plan.id.search(url)
        if match is None:
            raise Unfit("no_portal_id", f"the option id, {plan.id.pattern}, finds nothing in {url}")
        return match[1] if plan.id.groups and match[1] is not None else match[0]
    numbers: list[str] = re.findall(r"\d+", urlsplit(url).path)
    if not numbers:
        raise Unfit("no_portal_id", f"no field portal_id, and no number in {url}")
    return numbers[-1]


def _sentence(error: ValidationError, found: Found) -> str:
    """Which field is wrong, and what it was read from."""
    parts = []
    for one in error.errors(include_url=False)[:3]:
        name = str(one["loc"][0]) if one["loc"] else ""
        field = found.fields.get(name)
        read = f", read from {field.raw[:80]!r}" if field and field.raw else ""
        given = f", not {one['input']!r:.80}" if name else ""
        parts.append(f"{name or 'listing'}: {one['msg'].removeprefix('Value error, ')}{given}{read}")
    return "; ".join(parts)


def _text(options: Options, name: str) -> str:
    value = options.get(name, "")
    if not isinstance(value, str):
        _refuse(f"{name}: must be a text")
    return value


def _one_of(options: Options, name: str, valid: tuple[Any, ...]) -> Any:
    value = options.get(name)
    if value is not None and value not in valid:
        _refuse(f"{name}: {value!r} is not valid; valid: {', '.join(valid)}")
    return value


def _refuse(sentence: str) -> NoReturn:
    raise ValueError(sentence)
