"""Reference data in the forms that enrichers read: CSV in UTF-8 with a head, one file for each import.

addresses   id, street, number, postcode, city, latitude, longitude
buildings   id, street, number, postcode, city, wkb (a polygon or multipolygon as well-known binary, in hexadecimal)

Degrees are WGS 84, longitude first in the polygon. What is not known is empty. `tidemill geo import` writes them.
"""

import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

FIELD_LETTERS = 100_000_000
"""A polygon may be long."""


class AddressRow(NamedTuple):
    id: str
    street: str
    number: str
    postcode: str
    city: str
    latitude: float
    longitude: float


class BuildingRow(NamedTuple):
    id: str
    street: str
    """Of its own address, where it has one."""
    number: str
    postcode: str
    city: str
    wkb: bytes


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "addresses": AddressRow._fields,
    "buildings": BuildingRow._fields,
}
"""By kind."""


def read_addresses(path: Path) -> Iterator[AddressRow]:
    for id, street, number, postcode, city, latitude, longitude in _rows(path, "addresses"):
        yield AddressRow(id, street, number, postcode, city, float(latitude), float(longitude))


def read_buildings(path: Path) -> Iterator[BuildingRow]:
    for id, street, number, postcode, city, wkb in _rows(path, "buildings"):
        yield BuildingRow(id, street, number, postcode, city, bytes.fromhex(wkb))


def _rows(path: Path, kind: str) -> Iterator[list[str]]:
    csv.field_size_limit(min(FIELD_LETTERS, sys.maxsize))
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        head = tuple(next(rows, ()))
        if head != COLUMNS[kind]:
            raise ValueError(f"{path.name} is no file of {kind}: its head is {','.join(head)[:80]!r}")
        yield from rows
