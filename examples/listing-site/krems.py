"""Krems: pages that only JavaScript fills, from /app/data.json; Austrian numbers."""

from collections.abc import Sequence
from html import escape
from typing import Any

from frame import NOTICE, STYLE, Look
from market import CITIES, Home, day_of
from numbers_printed import german, long_german

CITY = CITIES["krems"]
SIZE = 12
"""Entries of a page."""


def shell(look: Look) -> str:
    """The same for every address; a program without JavaScript sees nothing."""
    return f"""<!doctype html>
<html lang="de-AT"><head><meta charset="utf-8"><title>Nest &amp; Key</title>
<meta name="csrf-token" content="{look.token}"><style>{STYLE}</style></head>
<body class="at"><div id="app"></div><script src="/app/app.js"></script></body></html>
"""


def price(home: Home) -> str:
    return f"€ {german(home.price)},–"


def search(homes: Sequence[Home], page: int, look: Look) -> dict[str, Any]:
    shown = homes[(page - 1) * SIZE : page * SIZE]
    return {
        "heading": f"{len(homes)} Angebote in {CITY.title}",
        "count": len(homes),
        "next": f"/app/?page={page + 1}" if page * SIZE < len(homes) else None,
        "cards": [
            {
                "id": home.id,
                "href": home.path,
                "title": home.title,
                "price": price(home),
                "updated": day_of(home.updated).isoformat(),
            }
            for home in shown
        ],
        "notice": NOTICE,
    }


def detail(home: Home, others: Sequence[Home], look: Look) -> dict[str, Any]:
    rows = [
        ("Objekt-ID", home.id),
        ("Adresse", home.address),
        ("Art", home.type),
        ("Miete" if home.kind == "rent" else "Kaufpreis", price(home)),
        ("Betriebskosten", home.charge and f"€ {german(home.charge, 2)}"),
        ("Wohnfläche", f"{german(home.size)} m²"),
        ("Grundfläche", home.plot and f"{german(home.plot)} m²"),
        ("Zimmer", german(home.rooms)),
        ("Stock", home.floor and f"{home.floor}/{home.floors}"),
        ("Baujahr", home.year and str(home.year)),
        ("Zustand", home.condition),
        ("HWB-Klasse", home.energy),
        ("Koordinaten", home.point and f"{home.point[0]}, {home.point[1]}"),
        ("Makler", home.company),
        ("Ansprechpartner", home.agent),
        ("Inseriert am", long_german(day_of(home.published), first="Jänner")),
        ("Zugriffe", german(look.views)),
    ]
    return {
        "title": home.title,
        "badge": "reserviert" if home.status == "reserved" else "",
        "rows": [(label, value) for label, value in rows if value],
        "text": home.text,
        "similar": [{"href": other.path, "title": escape(other.title), "price": price(other)} for other in others],
        "notice": NOTICE,
    }
