"""Vaduz: JSON-LD and microdata, with Swiss numbers."""

import json
from collections.abc import Sequence
from html import escape

from frame import Look, canonical, frame, pairs, similar
from market import CITIES, Home, day_of
from numbers_printed import halves, long_german, swiss

CITY = CITIES["vaduz"]


def price(home: Home) -> str:
    return f"CHF {swiss(home.price)}.–" + (" / Monat" if home.kind == "rent" else "")


def detail(home: Home, others: Sequence[Home], look: Look) -> str:
    rows = [
        ("Wohnfläche", f"{swiss(home.size)} m²"),
        ("Grundstück", home.plot and f"{swiss(home.plot)} m²"),
        ("Zimmer", halves(home.rooms)),
        ("Stockwerk", home.floor and f"{home.floor}. OG (von {home.floors})"),
        ("Nebenkosten", home.charge and f"CHF {swiss(home.charge)} / Monat"),
        ("Zustand", home.condition),
        ("Energieklasse", home.energy),
    ]
    facts = "".join(f"<li>{label}: <b>{value}</b></li>\n" for label, value in pairs(rows))
    body = f"""<article itemscope itemtype="https://schema.org/RealEstateListing">
<h1 itemprop="name">{escape(home.title)}</h1>
<p>Inserat <span itemprop="sku">{home.id}</span>, {"zu vermieten" if home.kind == "rent" else "zu verkaufen"}</p>
<p class="price">{price(home)}</p>
<p itemprop="description">{escape(home.text)}</p>
<ul class="facts">{facts}</ul>
<p itemprop="offeredBy" itemscope itemtype="https://schema.org/RealEstateAgent">
<span itemprop="name">{escape(home.company)}</span>,
<span itemprop="employee" itemscope itemtype="https://schema.org/Person">
<b itemprop="name">{escape(home.agent)}</b></span></p>
<p><small>Aufgeschaltet am {long_german(day_of(home.published))}; <span class="views">{swiss(look.views)}</span> Besuche
</small></p>
</article>
{similar(others, "Das könnte Sie auch interessieren", "CHF {amount}.–")}"""
    linked = json.dumps({"@context": "https://schema.org", "@graph": [_trail(home), _thing(home)]}, ensure_ascii=False)
    safe = linked.replace("</", "<\\/")
    head = f'{canonical(home)}<script type="application/ld+json">{safe}</script>\n'
    return frame(CITY, home.title, body, look, head=head, kind="home")


def _trail(home: Home) -> dict[str, object]:
    return {"@type": "BreadcrumbList", "itemListElement": [{"@type": "ListItem", "position": 1, "name": CITY.title}]}


def _thing(home: Home) -> dict[str, object]:
    state = "LimitedAvailability" if home.status == "reserved" else "InStock"
    business = "LeaseOut" if home.kind == "rent" else "Sell"
    thing: dict[str, object] = {
        "@type": ["House" if home.plot else "Apartment", "Product"],
        "name": home.title,
        "accommodationCategory": home.type,
        "address": {
            "@type": "PostalAddress",
            "streetAddress": home.house,
            "postalCode": home.postcode,
            "addressLocality": CITY.title,
            "addressCountry": CITY.country,
        },
        "offers": [
            {
                "@type": "Offer",
                "price": f"{home.price}.00",
                "priceCurrency": CITY.currency,
                "availability": f"https://schema.org/{state}",
                "businessFunction": f"http://purl.org/goodrelations/v1#{business}",
            }
        ],
        "datePosted": day_of(home.published).isoformat(),
    }
    if home.year:
        thing["yearBuilt"] = home.year
    if home.point:
        thing["geo"] = {"@type": "GeoCoordinates", "latitude": home.point[0], "longitude": home.point[1]}
    return thing


def removed(home: Home, others: Sequence[Home], look: Look) -> str:
    body = f"<h1>Inserat nicht mehr aktiv</h1><p>{escape(home.house)}: Das Inserat wurde deaktiviert.</p>"
    return frame(CITY, "Nest & Key", body + similar(others, "Das könnte Sie interessieren", "CHF {amount}.–"), look)
