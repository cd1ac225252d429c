"""The homes of the replica: invented, and the same on every machine."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

FIRST_DAY = date(2026, 3, 2)
CITIES = {"Helsinki": 64, "Espoo": 39}
"""With the number that the site has for them."""
HOMES = {"Helsinki": 61, "Espoo": 38}
STREETS = {
    "Helsinki": (("Malmikuja", "00700", "Malmi"), ("Satamaranta", "00530", "Kallio"), ("Ruorikatu", "00150", "Eira")),
    "Espoo": (("Lehdokkitie", "02100", "Tapiola"), ("Otaniemenkaari", "02150", "Otaniemi")),
}  # fmt: skip
MIDDLE = {"Helsinki": (60.19, 24.95), "Espoo": (60.18, 24.81)}
TEXTS = ("Valoisa koti, myydään kalustettuna, varasto jo myyty.", "Rauhallinen pihapiiri.\nMetroasemalle 350 m.")
SALE, RENT = 100, 101
PAUSE_OF_CHANGES, PAUSE_OF_LEAVING = 17, 29
"""A home changes, or leaves, on one day of so many."""


@dataclass(frozen=True)
class Home:
    id: int
    city: str
    kind: int
    """As the site numbers kinds of cards."""
    street: str
    postcode: str
    district: str
    price: int
    debt: int
    size: float
    rooms: int
    layout: str
    year: int | None
    type: str
    floor: int | None
    floors: int | None
    charge: float | None
    condition: str | None
    energy: str | None
    company: str
    text: str
    point: tuple[float, float] | None
    published: date
    price_changed: date | None = None

    @property
    def path(self) -> str:
        return f"/{'myytavat' if self.kind == SALE else 'vuokra'}-asunnot/{self.city.lower()}/{self.id}"

    @property
    def address(self) -> str:
        return f"{self.street}, {self.postcode} {self.city}"

    def facts(self) -> dict[str, Any]:
        """What card and page say, by the names of a listing's fields; None for what they do not say."""
        sale = self.kind == SALE
        return {
            "portal_id": str(self.id),
            "title": f"{self.street}, {self.district}, {self.city}",
            "status": "active",
            "price_kind": "sale" if sale else "rent",
            "price": self.price,
            "currency": "EUR",
            "debt_free_price": self.price + self.debt if sale else None,
            "monthly_charge": self.charge,
            "size_m2": self.size,
            "rooms": self.rooms,
            "layout": self.layout,
            "floor": self.floor,
            "floors": self.floors,
            "year_built": self.year,
            "type": self.type,
            "condition": self.condition,
            "energy_class": self.energy,
            "address": self.address,
            "postcode": self.postcode,
            "city": self.city,
            "district": self.district,
            "country": "FI",
            "latitude": self.point[0] if self.point else None,
            "longitude": self.point[1] if self.point else None,
            "company": self.company,
            "published": self.published.isoformat(),
            "description": self.text,
        }


def on(day: int) -> dict[int, Home]:
    """The homes that are listed on a day, by number."""
    return {home.id: _aged(home, day) for home in _all() if left_on(home) is None or day < (left_on(home) or 0)}


def gone_by(day: int) -> dict[int, Home]:
    return {home.id: home for home in _all() if (left := left_on(home)) is not None and left <= day}


def left_on(home: Home) -> int | None:
    return home.id % PAUSE_OF_LEAVING or None if home.id % 3 == 0 else None


def _aged(home: Home, day: int) -> Home:
    """Its price falls on one day of PAUSE_OF_CHANGES."""
    for number in range(1, day + 1):
        if (home.id + number) % PAUSE_OF_CHANGES == 0:
            home = replace(home, price=home.price - (1_000 if home.kind == SALE else 10),
                           price_changed=FIRST_DAY + timedelta(days=number))  # fmt: skip
    return home


@cache
def _all() -> tuple[Home, ...]:
    return tuple(home for city in CITIES for kind in (SALE, RENT) for home in _of(city, kind))


def _of(city: str, kind: int) -> Iterator[Home]:
    chance = Random(f"{city}/{kind}")
    first = 17_600_000 + CITIES[city] * 1_000 + kind * 100_000
    for place in range(HOMES[city] if kind == SALE else HOMES[city] // 3):
        street, postcode, district = chance.choice(STREETS[city])
        rooms, flats = chance.randint(1, 6), chance.random() < 0.85
        size = round(rooms * chance.uniform(17, 26) + 8, 1 if chance.random() < 0.7 else 0)
        house = f"{street} {chance.randint(1, 60)}"
        lat, lon = MIDDLE[city]
        yield Home(
            id=first + place,
            city=city,
            kind=kind,
            street=f"{house} {chance.choice('ABC')} {chance.randint(1, 70)}" if flats else house,
            postcode=postcode,
            district=district,
            price=round(size * chance.uniform(3.2, 9.1)) * 1_000 if kind == SALE else round(size * 2.2) * 10 + 400,
            debt=chance.randrange(1_500, 80_000) if kind == SALE and chance.random() < 0.4 else 0,
            size=size,
            rooms=rooms,
            layout=f"{rooms}h + {chance.choice(('k', 'kk', 'avok'))} + kph{chance.choice(('', ' + s', ' + parveke'))}",
            year=chance.choice((None, *range(1902, 2026))),
            type="Kerrostalo" if flats else chance.choice(("Omakotitalo", "Rivitalo", "Paritalo")),
            floor=chance.randint(1, 4) if flats else None,
            floors=chance.randint(4, 8) if flats else None,
            charge=round(size * chance.uniform(3.1, 5.9), 2) if kind == SALE and flats else None,
            condition=chance.choice(("Hyvä", "Tyydyttävä", None)),
            energy=chance.choice(("B", "C", "D", "E", None)),
            company=chance.choice(("Kotikallio LKV", "Meriranta Kiinteistönvälitys Oy")),
            text=chance.choice(TEXTS),
            point=(round(lat + chance.uniform(-0.02, 0.02), 6), round(lon + chance.uniform(-0.05, 0.05), 6))
            if chance.random() < 0.9 else None,
            published=FIRST_DAY - timedelta(days=chance.randrange(90)),
        )  # fmt: skip
