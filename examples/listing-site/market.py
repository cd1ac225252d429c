"""The homes that are for sale or to let in each city, day by day: the same for the same seed, on every machine."""

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

from words import DESCRIPTIONS, FIRMS, PEOPLE, WORDS

FIRST_DAY = date(2026, 3, 2)
Kind = Literal["sale", "rent"]
Away = Literal["404", "410", "page"]
"""How the page of a home that is gone answers; `page` says so with status 200."""


@dataclass(frozen=True)
class City:
    """A part of the portal, with its own language and its own way to write pages."""

    name: str
    """In addresses of the site."""
    title: str
    """In addresses of the post, and in the extract of OpenStreetMap."""
    country: str
    language: str
    currency: str
    homes: int
    """On the first day."""
    first_number: int
    id_form: str
    square_metre: int
    """What one costs, in a plain home."""
    rent: float
    """And to let, a month."""
    path: str
    """Of a home's page, with `{id}`."""


CITIES: Mapping[str, City] = {
    city.name: city
    for city in (
        City("helsinki", "Helsinki", "FI", "fi", "EUR", 84, 17_004_100, "{}", 6_800, 23.5, "/helsinki/kohde/{id}"),
        City("vaduz", "Vaduz", "LI", "de-LI", "CHF", 66, 2_041, "FL-{}", 10_400, 24, "/vaduz/objekt/{id}"),
        City("bindlach", "Bindlach", "DE", "de", "EUR", 48, 70_311, "BT{}", 2_950, 9.4, "/bindlach/expose/{id}"),
        City("schaan", "Schaan", "LI", "en", "CHF", 57, 5_512, "sch-{}", 9_600, 22, "/api/schaan/listings/{id}"),
        City("krems", "Krems an der Donau", "AT", "de-AT", "EUR", 44, 903, "K{}", 3_900, 12.2, "/app/objekt/{id}"),
    )
}
FEWEST, MOST = 40, 120
"""Homes of a city."""
MEMORY = 12
"""Days after which a home that is gone does not come back."""
PRIVATE = 2
"""Homes of a city that are linked, and that robots.txt asks programs to leave alone."""


@dataclass(frozen=True)
class Home:
    """One advertisement: what its page says."""

    id: str
    city: str
    kind: Kind
    street: str
    number: str
    postcode: str
    price: int
    size: float
    rooms: float
    type: str
    published: int
    """Day."""
    updated: int
    """Day of the last change."""
    company: str
    agent: str
    text: str
    """Description."""
    status: str = "active"
    stair: str = ""
    flat: str = ""
    point: tuple[float, float] | None = None
    plot: int | None = None
    floor: int | None = None
    floors: int | None = None
    year: int | None = None
    condition: str | None = None
    energy: str | None = None
    debt: int = 0
    """Share of the housing company's loan, in Finland."""
    charge: float | None = None
    private: bool = False

    @property
    def path(self) -> str:
        return f"/private/{self.city}/{self.id}" if self.private else CITIES[self.city].path.format(id=self.id)

    @property
    def layout(self) -> str | None:
        if self.city != "helsinki":
            return None
        rooms = int(self.rooms)
        kitchen = "kk" if rooms < 2 or self.size < 38 else "k"
        return " + ".join([f"{rooms}h", kitchen, "kph", *(["s"] if self.size > 70 else [])])

    @property
    def house(self) -> str:
        """Street and number, with stair and flat, as printed."""
        return " ".join(filter(None, (self.street, self.number, self.stair, self.flat)))

    @property
    def address(self) -> str:
        return f"{self.house}, {self.postcode} {CITIES[self.city].title}"

    @property
    def title(self) -> str:
        return f"{self.type}, {self.house}"

    @property
    def etag(self) -> str:
        """Of all that the page says, the counter of views and the token aside."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:24]

    def facts(self, host: str) -> dict[str, Any]:
        """What the page says, by the names of a listing's fields; None for what it does not say. Parts of the address
        stand on it as one text."""
        city = CITIES[self.city]
        return {
            "portal_id": self.id,
            "url": f"http://{host}{self.path}",
            "title": self.title,
            "status": self.status,
            "price_kind": self.kind,
            "price": self.price,
            "currency": city.currency,
            "debt_free_price": self.price + self.debt if self.debt else None,
            "monthly_charge": self.charge,
            "size_m2": self.size,
            "plot_m2": self.plot,
            "rooms": self.rooms,
            "layout": self.layout,
            "floor": self.floor,
            "floors": self.floors,
            "year_built": self.year,
            "type": self.type,
            "condition": self.condition,
            "energy_class": self.energy,
            "address": self.address,
            "street": self.street,
            "number": self.number.lower().replace(" ", ""),
            "stair": self.stair or None,
            "flat": self.flat or None,
            "postcode": self.postcode,
            "city": city.title,
            "country": city.country,
            "latitude": self.point[0] if self.point else None,
            "longitude": self.point[1] if self.point else None,
            "company": self.company,
            "agent": self.agent,
            "published": day_of(self.published).isoformat(),
            "description": self.text,
        }


@dataclass(frozen=True)
class Place:
    street: str
    number: str
    postcode: str
    lat: float
    lon: float


@cache
def places() -> Mapping[str, tuple[Place, ...]]:
    """Addresses of buildings by city, from OpenStreetMap."""
    found: dict[str, list[Place]] = {}
    with (Path(__file__).resolve().parent / "osm" / "addresses.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = Place(row["street"], row["number"], row["postcode"], float(row["lat"]), float(row["lon"]))
            # A letter after a number is an entrance in Helsinki, and the homes there have one of their own.
            if "," not in place.street and (row["city"] != "Helsinki" or place.number.isdigit()):
                found.setdefault(row["city"], []).append(place)
    return {city: tuple(rows) for city, rows in found.items()}


def day_of(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


@dataclass(frozen=True)
class Gone:
    """A home that is no longer listed."""

    home: Home
    since: int
    relisted: bool = False

    def may_return(self, day: int) -> bool:
        return not self.relisted and self.since >= day - MEMORY

    @property
    def answers(self) -> Away:
        return ("404", "410", "page")[hashlib.sha256(self.home.id.encode()).digest()[0] % 3]


@dataclass(frozen=True)
class Day:
    """A city on one day."""

    number: int
    live: Mapping[str, Home]
    """By id."""
    gone: Mapping[str, Gone]
    relisted: Mapping[str, str]
    """New id to old, of this day."""
    next_number: int

    def listed(self) -> list[Home]:
        """In the order of search pages: the newest first."""
        return sorted(self.live.values(), key=lambda home: (-home.published, home.id))


class Market:
    """All cities of a seed. Days are made one after the other, and kept."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._days: dict[str, list[Day]] = {name: [self._first(city)] for name, city in CITIES.items()}

    def day(self, city: str, number: int) -> Day:
        days = self._days[city]
        while len(days) <= number:
            days.append(self._next(CITIES[city], days[-1]))
        return days[number]

    def _first(self, city: City) -> Day:
        chance = self._chance(city, 0)
        empty = Day(0, {}, {}, {}, city.first_number)
        live: dict[str, Home] = {}
        for place in range(city.homes + PRIVATE):
            home = self._new(city, empty, chance, live, private=place < PRIVATE)
            live[home.id] = replace(home, published=-chance.randrange(60), updated=0)
        return replace(empty, live=live, next_number=city.first_number + len(live))

    def _next(self, city: City, before: Day) -> Day:
        number = before.number + 1
        chance = self._chance(city, number)
        live = dict(before.live)
        gone = dict(before.gone)
        may_return = [id for id, away in gone.items() if away.may_return(number)]
        public = [id for id, home in live.items() if not home.private]
        chance.shuffle(public)
        changes = chance.randint(4, 8)
        leaves = chance.randint(3, 6) + (4 if len(live) > MOST - 10 else 0)
        arrives = chance.randint(2, 4) + (4 if len(live) < FEWEST + 10 else 0)

        for id in public[:changes]:
            live[id] = _changed(live[id], number, chance)
        for id in public[changes : changes + leaves]:
            gone[id] = Gone(live.pop(id), number)
        chance.shuffle(may_return)
        for id in may_return[: chance.randint(1, 2)]:
            home = gone.pop(id).home
            live[id] = _changed(home, number, chance) if chance.random() < 0.4 else home
        serial = before.next_number
        relisted = {}
        for old in may_return[2:3]:
            fresh = replace(
                gone[old].home,
                id=city.id_form.format(serial),
                price=_rounded(gone[old].home.price * 0.97, gone[old].home.kind),
                published=number,
                updated=number,
                status="active",
            )
            live[fresh.id], relisted[fresh.id] = fresh, old
            gone[old] = replace(gone[old], relisted=True)
            serial += 1
        for _ in range(arrives):
            home = self._new(city, replace(before, number=number, next_number=serial), chance, live)
            live[home.id] = home
            serial += 1
        return Day(number, live, gone, relisted, serial)

    def _chance(self, city: City, day: int) -> Random:
        return Random(f"{self.seed}/{city.name}/{day}")

    def _new(self, city: City, day: Day, chance: Random, live: Mapping[str, Home], *, private: bool = False) -> Home:
        taken = {(home.street, home.number) for home in live.values()}
        taken |= {(away.home.street, away.home.number) for away in day.gone.values() if away.may_return(day.number)}
        place = chance.choice([each for each in places()[city.title] if (each.street, each.number) not in taken])
        serial = day.next_number + (len(live) if not day.live else 0)
        return _made(city, city.id_form.format(serial), place, day.number, chance, private=private)


def _made(city: City, id: str, place: Place, day: int, chance: Random, *, private: bool) -> Home:
    words = WORDS[city.language]
    house = city.country != "FI" and chance.random() < 0.35
    kind: Kind = "rent" if not house and chance.random() < 0.4 else "sale"
    rooms: float = chance.choice((4, 5, 6, 7)) if house else chance.choice((1, 2, 2, 3, 3, 3, 4, 5))
    if city.country in ("LI", "DE", "AT") and chance.random() < 0.5:
        rooms += 0.5
    size = round(rooms * chance.uniform(19, 31) + 9, 1) if chance.random() < 0.6 else float(round(rooms * 25 + 8))
    year = chance.choice((None, *range(1898, 2025))) if chance.random() < 0.9 else None
    quality = chance.uniform(0.75, 1.3) * (1.1 if year and year > 2005 else 1.0)
    price = _rounded(size * quality * (city.square_metre if kind == "sale" else city.rent), kind)
    floors = chance.randint(2, 7) if not house else None
    lat, lon = place.lat, place.lon
    if (where := chance.random()) > 0.7:
        lat, lon = lat + chance.uniform(-0.0003, 0.0003), lon + chance.uniform(-0.0004, 0.0004)
    return Home(
        id=id,
        city=city.name,
        kind=kind,
        street=place.street,
        number=place.number,
        postcode=place.postcode,
        price=price,
        size=size,
        rooms=rooms,
        type=chance.choice(words["house"] if house else words["flat"]),
        published=day,
        updated=day,
        company=chance.choice(FIRMS[city.country]),
        agent=chance.choice(PEOPLE[city.country]),
        text=_text(city, chance),
        stair=chance.choice("ABCD") if city.country == "FI" else "",
        flat=str(chance.randint(1, 48)) if city.country == "FI" else "",
        point=None if where > 0.85 else (round(lat, 6), round(lon, 6)),
        plot=chance.randrange(280, 2400) if house else None,
        floor=chance.randint(1, floors) if floors else None,
        floors=floors,
        year=year,
        condition=chance.choice((*words["condition"], None)),
        energy=chance.choice(("A", "B", "C", "D", "E", "F", None)),
        debt=chance.randrange(2, 90) * 1000 if city.country == "FI" and kind == "sale" and chance.random() < 0.5 else 0,
        charge=round(size * chance.uniform(2.9, 6.4), 2) if kind == "sale" and not house else None,
        private=private,
    )


def _text(city: City, chance: Random) -> str:
    openings, middles, endings = DESCRIPTIONS[city.language]
    return " ".join((chance.choice(openings), *chance.sample(middles, 2), chance.choice(endings)))


def _rounded(price: float, kind: Kind) -> int:
    return round(price / 1000) * 1000 if kind == "sale" else round(price / 5) * 5


def _changed(home: Home, day: int, chance: Random) -> Home:
    """Mostly another price."""
    home = replace(home, updated=day)
    what = chance.random()
    if what < 0.7:
        price = _rounded(home.price * chance.choice((0.93, 0.95, 0.97, 0.98, 1.03)), home.kind)
        return replace(home, price=price if price != home.price else price + (1000 if home.kind == "sale" else 5))
    if what < 0.85:
        return replace(home, status="reserved" if home.status == "active" else "active")
    ending = DESCRIPTIONS[CITIES[home.city].language][2]
    return replace(home, text=f"{home.text} {chance.choice(ending)}")


def compare(market: Market, city: str, number: int, seen: Sequence[int]) -> dict[str, Any]:
    """What is new and so on, on a day, to somebody who looked on the days in `seen` (ascending): keys of homes that
    programs may ask for."""
    now = _public(market, city, number)
    last = _public(market, city, seen[-1]) if seen else {}
    ever = {id for day in seen for id in _public(market, city, day)}
    relisted = {id: old for day in range((seen[-1] if seen else -1) + 1, number + 1)
                for id, old in market.day(city, day).relisted.items() if id in now}  # fmt: skip
    both = now.keys() & last.keys()
    return {
        "new": sorted(now.keys() - ever),
        "changed": sorted(id for id in both if now[id] != last[id]),
        "unchanged": sorted(id for id in both if now[id] == last[id]),
        "gone": sorted(last.keys() - now.keys()),
        "reappeared": sorted((now.keys() & ever) - last.keys()),
        "relisted": relisted,
        "private": sorted(id for id, home in market.day(city, number).live.items() if home.private),
    }


def _public(market: Market, city: str, number: int) -> dict[str, Home]:
    return {id: home for id, home in market.day(city, number).live.items() if not home.private}


def truth(market: Market, number: int, seen: Iterable[int] | None, host: str) -> dict[str, Any]:
    """The answers that a scraper must find; `seen`: the days on which it looked, all before unless said otherwise."""
    looked = sorted(set(range(number) if seen is None else seen))
    cities = {}
    for name in CITIES:
        homes = _public(market, name, number)
        cities[name] = {
            **compare(market, name, number, looked),
            "listings": {id: home.facts(host) for id, home in sorted(homes.items())},
        }
    return {"day": number, "date": day_of(number).isoformat(), "seen": looked, "cities": cities}
