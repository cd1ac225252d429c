"""Points on the earth, in degrees (WGS 84)."""

import re
from dataclasses import dataclass

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json
from tidemill.extract.types.form import Form
from tidemill.extract.types.numbers import native, normal


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Degrees; north and east are positive."""

    lat: float
    lon: float


_LAT = ("lat", "latitude", "y")
_LON = ("lon", "longitude", "lng", "long", "x")
_NUMBER = r"(?<![0-9.,])[+-]?[0-9]{1,3}(?:[.,][0-9]{1,17})?(?![.,]?[0-9])"
_SIDE_FIRST = re.compile(rf"([NSEWO])\s?({_NUMBER})", re.IGNORECASE)
_SIDE_LAST = re.compile(rf"({_NUMBER})\s?°?\s?([NSEWO])?", re.IGNORECASE)
_DMS = re.compile(
    r"([NSEWO])?\s?([0-9]{1,3})\s?(?:°|deg|d)\s?([0-9]{1,2}(?:[.,][0-9]{1,12})?)\s?'"
    r"(?:\s?([0-9]{1,2}(?:[.,][0-9]{1,12})?)\s?(?:\"|''))?\s?([NSEWO])?",
    re.IGNORECASE,
)
_QUOTES = str.maketrans({"”": '"', "“": '"', "″": '"', "º": "°", "˚": "°"})
_SIDES = {"N": ("lat", 1), "S": ("lat", -1), "E": ("lon", 1), "W": ("lon", -1), "O": ("lon", 1)}
"""O is Ost; the French and Italian west is written W on maps, and O there is refused by `box` if it is given."""


def parse_coordinates(value: Json, form: Form) -> Coordinates:
    """`60.1699, 24.9384`, `60°10'12"N 24°56'18"E`, `{lat: …, lng: …}`, `[24.9, 60.2]` with `order: lon-lat`. Raises
    Unreadable for what is out of range, at 0,0, outside the `box`, and says where the two seem to be swapped."""
    if isinstance(value, dict):
        lat, lon = _member(value, _LAT), _member(value, _LON)
        return _checked(lat, lon, form)
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise Unreadable(f"has {len(value)} numbers, not two")
        return _ordered([_degrees(part) for part in value], form)
    if not isinstance(value, str):
        raise Unreadable("is no place")
    text = normal(value.translate(_QUOTES))[:200]
    found = _from_dms(text) or _from_decimals(text)
    sides = [side for side, _ in found]
    if sides in (["lat", "lon"], ["lon", "lat"]):
        by_side = dict(found)
        return _checked(by_side["lat"], by_side["lon"], form)
    if any(sides) or len(found) != 2:
        raise Unreadable(f"{text[:60] or 'nothing'} is no place: {len(found)} numbers, two are needed")
    return _ordered([degrees for _, degrees in found], form)


def _member(value: dict[str, Json], names: tuple[str, ...]) -> float:
    for name, inner in value.items():
        if name.lower() in names:
            return _degrees(inner)
    raise Unreadable(f"has no {names[1]}")


def _degrees(value: Json) -> float:
    number = native(value)
    if number is not None:
        return float(number)
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        return float(value.strip().replace(",", "."))
    raise Unreadable(f"{str(value)[:60]} is no number of degrees")


def _from_dms(text: str) -> list[tuple[str, float]]:
    found = []
    for before, degrees, minutes, seconds, after in _DMS.findall(text):
        side, sign = _SIDES.get((before or after).upper(), ("", 1))
        parts = [float(part.replace(",", ".") or 0) for part in (degrees, minutes, seconds)]
        if parts[1] >= 60 or parts[2] >= 60:
            raise Unreadable(f"{text[:60]} has more than 59 minutes or seconds")
        found.append((side, sign * round(parts[0] + parts[1] / 60 + parts[2] / 3600, 9)))
    return found


def _from_decimals(text: str) -> list[tuple[str, float]]:
    if "." in text:
        text = text.replace(",", " ")
    pairs = _SIDE_FIRST.findall(text) if text[:1].isalpha() else [(side, at) for at, side in _SIDE_LAST.findall(text)]
    found = []
    for letter, number in pairs:
        side, sign = _SIDES.get(letter.upper(), ("", 1))
        found.append((side, sign * float(number.replace(",", "."))))
    return found


def _ordered(pair: list[float], form: Form) -> Coordinates:
    one, other = pair
    return _checked(other, one, form) if form.order == "lon-lat" else _checked(one, other, form)


def _checked(lat: float, lon: float, form: Form) -> Coordinates:
    shown = f"{lat:g}, {lon:g}"
    if abs(lat) > 90 or abs(lon) > 180:
        swapped = abs(lat) <= 180 and abs(lon) <= 90
        raise Unreadable(f"{shown} is out of range" + ("; swapped? Write `order: lon-lat`" if swapped else ""))
    if lat == 0 and lon == 0:
        raise Unreadable("0, 0 is in the sea off Ghana, and means that the place is not known")
    if form.box is not None and not _inside(lat, lon, form.box):
        swapped = _inside(lon, lat, form.box)
        raise Unreadable(f"{shown} lies outside the box" + ("; swapped? Change `order`" if swapped else ""))
    return Coordinates(lat, lon)


def _inside(lat: float, lon: float, box: tuple[float, float, float, float]) -> bool:
    south, west, north, east = box
    return south <= lat <= north and west <= lon <= east
