"""Bindlach: a table of labels, in German."""

from collections.abc import Sequence
from html import escape

from frame import Look, canonical, frame, pairs, similar
from market import CITIES, Home, day_of
from numbers_printed import german

CITY = CITIES["bindlach"]


def price(home: Home) -> str:
    return f"{german(home.price)} €"


def detail(home: Home, others: Sequence[Home], look: Look) -> str:
    sale = home.kind == "sale"
    published = day_of(home.published)
    rows = [
        ("Objektnummer", home.id),
        ("Objektart", home.type),
        ("Adresse", home.address),
        ("Kaufpreis" if sale else "Kaltmiete", f"{german(home.price, 2)} €"),
        ("Hausgeld", home.charge and f"{german(home.charge, 2)} €"),
        ("Wohnfläche ca.", f"{german(home.size, 2)} m²"),
        ("Grundstück", home.plot and f"{german(home.plot)} m²"),
        ("Zimmer", german(home.rooms)),
        ("Etage", home.floor and f"{home.floor} von {home.floors}"),
        ("Baujahr", home.year and str(home.year)),
        ("Zustand", home.condition),
        ("Energieeffizienzklasse", home.energy),
        ("Verfügbarkeit", "reserviert" if home.status == "reserved" else "verfügbar"),
        ("Online seit", f"{published.day:02}.{published.month:02}.{published.year}"),
        ("Aufrufe", german(look.views)),
    ]
    at = f'<a class="map" href="/map?at={home.point[0]},{home.point[1]}&amp;z=17">Karte</a>' if home.point else ""
    table = "".join(f"<tr><th>{label}</th><td>{value}</td></tr>\n" for label, value in pairs(rows))
    body = f"""<h1>{escape(home.title)}</h1>
<table class="facts">{table}</table>{at}
<section><h2>Beschreibung</h2><div class="text">{escape(home.text)}</div></section>
<section><h2>Anbieter</h2><p>Firma: <b>{escape(home.company)}</b><br>Kontakt: <b>{escape(home.agent)}</b></p></section>
{similar(others, "Ähnliche Angebote", "{amount} €")}"""
    return frame(CITY, home.title, body, look, head=canonical(home), kind="home")


def removed(home: Home, others: Sequence[Home], look: Look) -> str:
    body = f"<h1>Schade!</h1><p>Das Angebot {escape(home.id)} ist nicht mehr verfügbar.</p>"
    return frame(CITY, "Angebot", body + similar(others, "Ähnliche Angebote", "{amount} €"), look)
