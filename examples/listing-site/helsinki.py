"""Helsinki: a definition list, in Finnish."""

from collections.abc import Sequence
from html import escape

from frame import Cell, Look, canonical, frame, pairs, similar
from market import CITIES, Home, day_of
from numbers_printed import dotted, finnish

CITY = CITIES["helsinki"]


def price(home: Home) -> str:
    return euro(home, home.price) + ("/kk" if home.kind == "rent" else "")


def euro(home: Home, amount: float) -> str:
    return f"{finnish(amount, narrow=home.id[-1] in '13579')}\xa0€"


def detail(home: Home, others: Sequence[Home], look: Look) -> str:
    sale = home.kind == "sale"
    basics = [
        ("Sijainti", home.address),
        ("Kohdenumero", home.id),
        ("Tyyppi", home.type),
        ("Huoneita", f"{home.rooms:g}"),
        ("Huoneiston kokoonpano", home.layout),
        ("Asuinpinta-ala", f"{finnish(home.size)} m²"),
        ("Tontin pinta-ala", home.plot and f"{finnish(home.plot)} m²"),
        ("Kerros", home.floor and f"{home.floor} / {home.floors}"),
        ("Rakennusvuosi", home.year and str(home.year)),
        ("Kunto", home.condition),
        ("Energialuokka", home.energy),
    ]
    money = [
        ("Velaton hinta", euro(home, home.price + home.debt) if home.debt else None),
        ("Myyntihinta" if sale else "Vuokra", price(home)),
        ("Velkaosuus", euro(home, home.debt) if home.debt else None),
        ("Neliöhinta", f"{finnish(round(home.price / home.size, 2))} €/m²" if sale else None),
        ("Hoitovastike", home.charge and f"{finnish(home.charge)} €/kk"),
    ]
    at = "" if home.point is None else f' data-lat="{home.point[0]}" data-lon="{home.point[1]}"'
    badge = '<span class="badge">Varattu</span>' if home.status == "reserved" else ""
    body = f"""<h1>{escape(home.title)}</h1> {badge}
<p class="lead">{escape(home.text)}</p>
<section><h2>Perustiedot</h2>{_list(basics)}</section>
<section><h2>{"Hintatiedot" if sale else "Vuokratiedot"}</h2>{_list(money)}</section>
<div id="map"{at}></div>
<section class="seller"><h2>Yhteystiedot</h2><p class="company">{escape(home.company)}</p>
<p class="agent">{escape(home.agent)}</p></section>
<p><small>Ilmoitus julkaistu {dotted(day_of(home.published))}, muutettu {dotted(day_of(home.updated))}.
Katsottu <b class="views">{finnish(look.views)}</b> kertaa.</small></p>
{similar(others, "Samankaltaisia kohteita", "{amount} €")}"""
    return frame(CITY, home.title, body, look, head=canonical(home), kind="home")


def _list(rows: Sequence[tuple[str, Cell]]) -> str:
    return "<dl>" + "".join(f"<dt>{label}</dt><dd>{value}</dd>\n" for label, value in pairs(rows)) + "</dl>"


def removed(home: Home, others: Sequence[Home], look: Look) -> str:
    body = f"<h1>Kohde on poistunut</h1><p>{escape(home.house)} ei ole enää myynnissä eikä vuokrattavana.</p>"
    return frame(CITY, "Kohde on poistunut", body + similar(others, "Samankaltaisia kohteita", "{amount} €"), look)
