"""Pages and cards in the form of the site's own."""

import json
from html import escape
from typing import Any

from homes import SALE, Home

SPACES = ("\xa0", "\u202f")
"""Between thousands: which of the two is the home's own."""


def euro(home: Home, amount: float) -> str:
    places = 0 if amount == int(amount) else 2
    return f"{amount:,.{places}f} €".replace(",", SPACES[home.id % 2]).replace(".", ",")


def comma(number: float) -> str:
    return f"{number:g}".replace(".", ",")


def shell(tokens: dict[str, str], found: int) -> str:
    """What a plain GET of the search page answers: tokens, and no home."""
    return f"""<!doctype html>
<html lang="fi"><head><meta charset="utf-8"><title>Myytävät asunnot: kerrostalo {found} kpl</title>
{"".join(f'<meta name="{name}" content="{value}">' for name, value in tokens.items())}
<script src="/dist/vendor.js"></script><script src="/dist/app.js"></script></head>
<body ng-app="oikotie"><iframe id="sp_message_iframe_1" title="cmpv2"></iframe>
<search-filter></search-filter><cards-v2></cards-v2><div class="error" hidden>Hups. Tapahtui virhe</div></body></html>
"""


def card(home: Home, host: str) -> dict[str, Any]:
    """An entry of the search's answer, as since 2024."""
    price = euro(home, home.price)
    return {
        "cardId": home.id,
        "cardType": home.kind,
        "url": f"http://{host}{home.path}",
        "status": 1,
        "data": {
            "description": f"{home.type}, {home.layout}",
            "rooms": home.rooms,
            "roomConfiguration": home.layout,
            "price": price if home.kind == SALE else f"{price}/kk",
            "size": f"{comma(home.size)} m²",
            "sizeMin": None,
            "buildYear": home.year,
            "floor": home.floor,
            "buildingFloorCount": home.floors,
            "newDevelopment": False,
            "visits": home.id % 977,
        },
        "location": {
            "address": home.street,
            "district": home.district,
            "city": home.city,
            "zipCode": home.postcode,
            "latitude": home.point[0] if home.point else None,
            "longitude": home.point[1] if home.point else None,
        },
        "meta": {
            "published": f"{home.published}T09:30:00Z",
            "priceChanged": f"{home.price_changed}T04:00:00Z" if home.price_changed else None,
            "sellStatus": None,
            "vendorAdId": f"v{home.id}",
        },
        "company": {"companyName": home.company},
    }


def detail(home: Home, host: str, views: int) -> str:
    sale = home.kind == SALE
    basics = [
        ("Sijainti", home.address),
        ("Kaupunginosa", home.district),
        ("Kohdenumero", str(home.id)),
        ("Kerros", f"{home.floor} / {home.floors}" if home.floor else ""),
        ("Asuinpinta-ala", f"{comma(home.size)} m²"),
        ("Kokonaispinta-ala", f"{comma(home.size + 4)} m²"),
        ("Huoneita", str(home.rooms)),
        ("Huoneiston kokoonpano", home.layout),
        ("Kunto", home.condition or ""),
        ("Vapautuu", "Sopimuksen mukaan"),
    ]
    price = euro(home, home.price)
    money = [
        ("Velaton hinta", euro(home, home.price + home.debt)),
        ("Myyntihinta", price),
        ("Velkaosuus", euro(home, home.debt) if home.debt else ""),
        ("Neliöhinta", f"{euro(home, round(home.price / home.size, 2))} / m²"),
        ("Hoitovastike", f"{euro(home, home.charge)} / kk" if home.charge else ""),
        ("Yhtiövastike yhteensä", f"{euro(home, home.charge)} / kk" if home.charge else ""),
    ]
    building = [
        ("Rakennuksen tyyppi", home.type),
        ("Rakennusvuosi", str(home.year or "")),
        ("Energialuokka", f"{home.energy} ( 2018 )" if home.energy else "Ei lain edellyttämää energiatodistusta"),
        ("Tontin omistus", "Oma"),
        ("Hissi", "Kyllä"),
    ]
    event = {
        "@context": "https://schema.org",
        "@type": "Event",
        "name": "Esittely",
        "startDate": "2026-03-08T12:00+02:00",
    }
    title = f"{home.street}, {home.district}, {home.city}"
    return f"""<!doctype html>
<html lang="fi"><head><meta charset="utf-8"><title>{escape(title)} | Oikotie</title>
<link rel="canonical" href="http://{host}{home.path}">
<meta name="api-token" content="{views:032x}">
<script type="application/ld+json">{json.dumps(event)}</script></head>
<body><h1>{escape(title)}</h1>
<div class="listing-overview"><p>{escape(home.layout)}</p><p>{price}</p></div>
<div class="listing-description-container"><p class="paragraph paragraph--keep-formatting">{escape(home.text)}</p></div>
<div class="listing-details-container">
{_section("Perustiedot", basics)}
{_section("Hintatiedot", money if sale else [("Vuokra/kk", f"{price}/kk"), ("Vakuus", "2 kk vuokra")])}
{_section("Taloyhtiö", building)}
</div>
<p class="visits">Katsottu {views} kertaa</p>
</body></html>
"""


def _section(heading: str, rows: list[tuple[str, str]]) -> str:
    lines = "".join(
        f'<dl class="info-table__row"><dt class="info-table__title">{label}</dt>'
        f'<dd class="info-table__value">{escape(value)}</dd></dl>\n'
        for label, value in rows
        if value
    )
    return f'<div class="listing-details"><h3>{heading}</h3><div class="info-table">\n{lines}</div></div>'


def removed(home: Home) -> str:
    """With status 200, in one of two ways."""
    said = "Kohde on poistunut" if home.id % 2 else "Myyty"
    return f"""<!doctype html><html lang="fi"><head><meta charset="utf-8"><title>Oikotie Asunnot</title></head>
<body><div class="listing-removed"><h1>{said}</h1><p>Katso muita kohteita alueella {escape(home.district)}.</p></div>
</body></html>
"""
