"""Schaan: a JSON API with a cursor, in English."""

import base64
from collections.abc import Sequence
from typing import Any

from frame import NOTICE, Look
from market import CITIES, Home, day_of
from numbers_printed import english

CITY = CITIES["schaan"]
SIZE = 25
"""Entries of an answer."""


def search(homes: Sequence[Home], after: str) -> dict[str, Any]:
    start = _place(after)
    page = homes[start : start + SIZE]
    more = start + SIZE < len(homes)
    return {
        "meta": {"total": len(homes), "next": _cursor(start + SIZE) if more else None, "attribution": NOTICE},
        "data": [_card(home) for home in page],
    }


def _card(home: Home) -> dict[str, Any]:
    return {
        "id": home.id,
        "href": home.path,
        "headline": home.title,
        "price": f"{CITY.currency} {english(home.price)}",
        "updated": day_of(home.updated).isoformat(),
    }


def _cursor(start: int) -> str:
    return base64.urlsafe_b64encode(f"after:{start}".encode()).decode()


def _place(cursor: str) -> int:
    """0 for anything that is no cursor of ours."""
    try:
        return max(0, int(base64.urlsafe_b64decode(cursor).decode().removeprefix("after:")))
    except ValueError:
        return 0


def detail(home: Home, others: Sequence[Home], look: Look) -> dict[str, Any]:
    return {
        "id": home.id,
        "headline": home.title,
        "text": home.text,
        "state": "under offer" if home.status == "reserved" else "available",
        "deal": "to let" if home.kind == "rent" else "for sale",
        "price": {"display": f"{CITY.currency} {english(home.price)}", "per": "month" if home.kind == "rent" else None},
        "facts": [
            {"name": "type", "value": home.type},
            {"name": "living area", "value": f"{english(round(home.size / 0.09290304, 2))} sq ft", "m2": home.size},
            *([{"name": "plot", "value": f"{english(home.plot)} m²"}] if home.plot else []),
            {"name": "rooms", "value": home.rooms},
            *([{"name": "floor", "value": home.floor, "of": home.floors}] if home.floor else []),
            *([{"name": "built", "value": str(home.year)}] if home.year else []),
            *([{"name": "condition", "value": home.condition}] if home.condition else []),
            *([{"name": "energy", "value": home.energy}] if home.energy else []),
            *([{"name": "charges", "value": f"{CITY.currency} {english(home.charge)}"}] if home.charge else []),
        ],
        "location": {
            "line": home.address,
            "postcode": home.postcode,
            "town": CITY.title,
            "country": CITY.country,
            "coordinates": list(reversed(home.point)) if home.point else None,
        },
        "seller": {"firm": home.company, "person": home.agent},
        "listed": day_of(home.published).isoformat(),
        "views": look.views,
        "csrf": look.token,
        "similar": [{"href": other.path, "price": other.price} for other in others],
        "attribution": NOTICE,
    }


def removed(home: Home, others: Sequence[Home], look: Look) -> dict[str, Any]:
    return {"id": home.id, "withdrawn": True, "similar": [other.path for other in others], "csrf": look.token}
