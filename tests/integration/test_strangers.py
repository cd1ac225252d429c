"""Sites that nobody prepared, each with its own markup, paging and way of writing numbers, from a YAML file alone."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system import System, running
from tidemill.common.bus.client import open_client, request_command
from tidemill.common.testing.site import Site, site_in_a_thread

pytestmark = [pytest.mark.servers, pytest.mark.slow]

FILES = Path(__file__).parent / "strangers"
REPLICAS = ("scheduler", "scraper", "converter")
HOMES = 11
A_PAGE = 4
PATIENCE_SECONDS = 90

Facts = dict[str, dict[str, Any]]
"""By the site's own number: what its pages say, by the names of a listing's fields."""


def swiss(number: int) -> str:
    return f"{number:,}".replace(",", "’")


def finnish(number: float) -> str:
    return f"{number:,}".replace(",", "\u202f").replace(".", ",")


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def page(body: str, title: str = "") -> bytes:
    return f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title></head><body>{body}</body>".encode()


def wohnboerse(site: Site) -> Facts:
    facts: Facts = {}
    for n in range(HOMES):
        price, size, rooms = 750_000 + 12_500 * n, 60.5 + 7 * n, 2.5 + n % 3
        facts[f"MU-{4700 + n}"] = {
            "price": price,
            "currency": "CHF",
            "size_m2": size,
            "rooms": rooms,
            "year_built": 1950 + n,
            "street": "Beispielgasse",
            "number": f"{n + 1}",
            "postcode": "9490",
            "city": "Vaduz",
        }
        rows = (
            f"<tr><td><b>Objekt-Nr.:</b></td><td>MU-{4700 + n}</td></tr>"
            f"<tr><td><b>Kaufpreis:</b></td><td>CHF {swiss(price)}.–</td></tr>"
            f"<tr><td><b>Zimmer:</b></td><td>{int(rooms)}½</td></tr>"
            f"<tr><td><b>Wohnfläche (netto):</b></td><td>{size} m²</td></tr>"
            f"<tr><td><b>Baujahr:</b></td><td>{1950 + n}, saniert</td></tr>"
            f"<tr><td><b>Besuche:</b></td><td>{swiss(1200 + n)}</td></tr>"
        )
        address = f"Beispielgasse {n + 1}, 9490 Vaduz"
        site.put(f"/objekt/{n}?utm_source=liste", page(f"<h2>Wohnung {n}</h2><p>{address}</p><table>{rows}</table>"))
    for number in range(1, HOMES // A_PAGE + 3):
        shown = range(HOMES)[(number - 1) * A_PAGE : number * A_PAGE]
        entries = "".join(f'<li><a href="/objekt/{n}?utm_source=liste">W{n}</a> <b>CHF {n}</b></li>' for n in shown)
        site.put(f"/suche?seite={number}", page(f"<p class=anzahl>{HOMES} Objekte</p><ul class=treffer>{entries}</ul>"))
    return facts


def kodit(site: Site) -> Facts:
    facts: Facts = {}
    for n in range(HOMES):
        price, size = 195_000 + 10_000 * n, 40.5 + n
        facts[f"{900 + n}"] = {
            "price": price - 5000,
            "debt_free_price": price,
            "currency": "EUR",
            "monthly_charge": 210.5,
            "size_m2": size,
            "rooms": 2,
            "layout": "2h + kk + kph",
            "floor": 3,
            "floors": 5,
            "year_built": 1990 + n,
            "street": "Esimerkkikatu",
            "number": f"{n + 1}",
            "stair": "B",
            "flat": "7",
            "postcode": "00530",
            "city": "Helsinki",
            "latitude": 60.18 + n / 1000,
            "longitude": 24.95,
        }
        graph = {
            "@context": "https://schema.org",
            "@graph": [
                {"@type": "WebPage", "name": "Koti", "mainEntity": {"@id": "#koti"}},
                {
                    "@id": "#koti",
                    "@type": ["Apartment", "Product"],
                    "identifier": f"{900 + n}",
                    "floorSize": {"@type": "QuantitativeValue", "value": size, "unitCode": "MTK"},
                    "geo": {"latitude": 60.18 + n / 1000, "longitude": 24.95},
                },
            ],
        }
        terms = {
            "Sijainti": f"Esimerkkikatu {n + 1} B 7, 00530 Helsinki",
            "Velaton hinta": f"{finnish(price)}\u00a0€",
            "Myyntihinta": f"{finnish(price - 5000)}\u00a0€",
            "Hoitovastike": "210,50 €/kk",
            "Huoneiston kokoonpano": "2h + kk + kph",
            "Kerros": "3 / 5",
            "Rakennusvuosi": f"{1990 + n}",
        }
        body = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in terms.items())
        script = f'<script type="application/ld+json">{json.dumps(graph)}</script>'
        site.put(f"/asunnot/helsinki/{900 + n}", page(f"<h1>Koti {n}</h1>{script}<dl>{body}</dl>"))
    for number in range((HOMES - 1) // A_PAGE + 1):
        shown = range(HOMES)[number * A_PAGE : (number + 1) * A_PAGE]
        cards = "".join(
            f'<article><h3><a href="/asunnot/helsinki/{900 + n}">K{n}</a></h3><i class=hinta>{n}</i></article>'
            for n in shown
        )
        more = f'<a class=seuraava href="/asunnot?p={number + 2}">Seuraava</a>' if shown[-1] < HOMES - 1 else ""
        site.put("/asunnot" if number == 0 else f"/asunnot?p={number + 1}", page(cards + more))
    return facts


def lettings(site: Site) -> Facts:
    facts: Facts = {}
    for n in range(HOMES):
        rent, feet = 1_150 + 25 * n, 600 + 100 * n
        facts[f"{90210 + n}"] = {
            "price": rent,
            "currency": "GBP",
            "size_m2": float(Decimal(feet) * Decimal("0.09290304")),
            "rooms": 3,
            "city": "Sampleton",
            "latitude": 51.5,
            "longitude": -0.12,
        }
        answer = {
            "id": 90210 + n,
            "headline": f"Flat {n}",
            "rent": f"£{rent:,} pcm",
            "facts": [{"name": "rooms", "value": 3}, {"name": "size", "value": f"{feet:,} sq ft"}],
            "place": {"town": "Sampleton", "point": [-0.12, 51.5]},
            "listed": "03/11/2026",
        }
        site.put(f"/api/lettings/{90210 + n}", json.dumps(answer).encode())
    for start in range(0, HOMES, A_PAGE):
        end = min(start + A_PAGE, HOMES)
        results = [{"id": 90210 + n, "rent": f"£{n}", "updated": n} for n in range(start, end)]
        answer = {"total": HOMES, "results": results, "next": f"c{end}" if end < HOMES else None}
        site.put(f"/api/lettings?after={f'c{start}' if start else ''}", json.dumps(answer).encode())
    return facts


def immo(site: Site) -> Facts:
    facts: Facts = {}
    for n in range(HOMES):
        city = "bayreuth" if n % 2 else "weiden"
        price, size, charge = 123_000.5 + 1_000 * n, 1045.25 + n, 310.4
        facts[f"im{n}"] = {
            "price": price,
            "currency": "EUR",
            "size_m2": size,
            "rooms": 3.5,
            "street": "Musterstraße",
            "number": f"{n + 1}a",
            "postcode": "95444",
            "city": city.title(),
            "monthly_charge": charge,
        }
        body = f"""<main itemscope itemtype="https://schema.org/Apartment" data-id="im{n}"><h1>Wohnung {n}</h1>
        <p itemprop="address" itemscope itemtype="https://schema.org/PostalAddress">
        <span itemprop="streetAddress">Musterstraße {n + 1}a</span>
        <span itemprop="postalCode">95444</span> <span itemprop="addressLocality">{city.title()}</span></p>
        <div itemprop="offers" itemscope itemtype="https://schema.org/Offer"><meta itemprop="price" content="{price}">
        {german(price)} €</div><meta itemprop="numberOfRooms" content="3.5">
        <p>Die Wohnfläche von rund {german(size)} m² liegt auf zwei Ebenen. Hausgeld {german(charge)} €.</p></main>"""
        site.put(f"/expose/im{n}.html", page(body))
    for city, homes in (("bayreuth", range(1, HOMES, 2)), ("weiden", range(0, HOMES, 2))):
        for number in range(1, len(homes) // A_PAGE + 3):
            shown = homes[(number - 1) * A_PAGE : number * A_PAGE]
            links = "".join(f'<a class=expose href="../expose/im{n}.html">W{n}</a>' for n in shown)
            site.put(f"/{city}/liste-{number}.html", page(f"<h1>{city} <small>{len(homes)}</small></h1>{links}"))
    return facts


SITES: Mapping[str, Callable[[Site], Facts]] = {
    "wohnboerse": wohnboerse,
    "kodit": kodit,
    "lettings": lettings,
    "immo": immo,
}


@pytest.fixture(scope="module")
def strangers() -> Iterator[tuple[System, dict[str, Facts], dict[str, Site]]]:
    with ExitStack() as stack:
        sites = {name: stack.enter_context(site_in_a_thread()) for name in SITES}
        facts = {name: make(sites[name]) for name, make in SITES.items()}
        sources = [
            yaml.safe_load((FILES / f"{name}.yaml").read_text(encoding="utf-8").replace("HOST", site.host))
            for name, site in sites.items()
        ]
        system = stack.enter_context(running(REPLICAS, sources=sources))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "status" not in asked(system, "status", {}):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield system, facts, sites


def asked(system: System, verb: str, parameters: Mapping[str, Any], service: str = "scheduler") -> dict[str, Any]:
    """The service's answer; what kept it from answering, where it does not yet."""

    async def ask() -> dict[str, Any]:
        async with open_client(system.nats.url) as client:
            return {"status": True, **await request_command(client, service, verb, parameters)}

    try:
        return asyncio.run(ask())
    except Exception as not_yet:  # noqa: BLE001 - it is starting
        return {"not yet": str(not_yet)}


def run_to_its_end(system: System, source: str) -> dict[str, Any]:
    run = asked(system, "run", {"source": source})["run"]
    columns = "state, reason, items, new, changed, unchanged, gone, failed, requests"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        rows = system.query(
            f"SELECT {columns} FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL", run=run
        )
        if rows:
            return dict(zip(columns.split(", "), rows[0], strict=True))
        assert time.monotonic() < deadline, f"{source} has not ended; logs in {system.folder / 'log'}"
        time.sleep(0.2)


def close(value: Any) -> Any:
    return pytest.approx(value) if isinstance(value, float) else value


@pytest.mark.parametrize("name", sorted(SITES))
def test_a_site_from_its_yaml_alone_gives_every_fact_of_every_page(
    strangers: tuple[System, dict[str, Facts], dict[str, Site]], name: str
) -> None:
    system, facts, sites = strangers
    first = run_to_its_end(system, name)
    assert (first["state"], first["new"], first["failed"]) == ("complete", HOMES, 0), first
    rows = system.query("SELECT r.key, v.data FROM converter.records r JOIN converter.versions v ON v.id = r.version")
    stored = {key.partition("/")[2]: data for key, data in rows if key.startswith(f"{name}/")}
    assert stored.keys() == facts[name].keys()
    for key, fact in facts[name].items():
        found = {field: stored[key].get(field) for field in fact}
        assert found == {field: close(value) for field, value in fact.items()}, key
    before = sum(sites[name].counts().values())
    second = run_to_its_end(system, name)
    assert (second["state"], second["new"], second["changed"], second["failed"]) == ("complete", 0, 0, 0)
    asked_again = [one.path for one in sites[name].asked if one.path != "/robots.txt"][before:]
    assert not [path for path in asked_again if path.startswith(("/objekt", "/asunnot/", "/api/lettings/", "/expose"))]
    assert second["items"] == 0  # All are fresh.
