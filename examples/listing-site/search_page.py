"""The pages that list the homes of a city."""

from collections.abc import Sequence
from html import escape
from types import ModuleType

from frame import Look, frame
from market import City, Home, day_of

SIZE = 20
"""Entries of a page."""
COUNT = {"fi": "{} kohdetta", "de": "{} Angebote", "de-LI": "{} Inserate"}
NOTHING = {"fi": "Ei enempää kohteita", "de": "Keine weiteren Angebote", "de-LI": "Keine weiteren Inserate"}
PREVIOUS, NEXT = "‹", "›"


def search_page(city: City, pages: ModuleType, homes: Sequence[Home], number: int, look: Look) -> str:
    last = max(1, -(-len(homes) // SIZE))
    if city.name == "bindlach":
        number = min(number, last)  # As some sites do: after the last page, the last page.
    shown = homes[(number - 1) * SIZE : number * SIZE]
    cards = "".join(_card(pages, home, place) for place, home in enumerate(shown, 1))
    body = f"""<h1>{escape(city.title)}</h1><p class="count">{COUNT[city.language].format(len(homes))}</p>
{cards or f'<p class="nothing">{NOTHING[city.language]}</p>'}
<p class="paging">{_link(city, number - 1, last, PREVIOUS)} {number} / {last} {_link(city, number + 1, last, NEXT)}</p>
<p><small>{look.views}</small></p>"""
    return frame(city, city.title, body, look, kind="search")


def _card(pages: ModuleType, home: Home, place: int) -> str:
    return f"""<article class="card" data-id="{home.id}">
<div><a class="to" href="{home.path}?pos={place}&amp;utm_source=search">{escape(home.title)}</a><br>
<small>{escape(home.postcode)}, <time datetime="{day_of(home.updated)}">{day_of(home.updated)}</time></small></div>
<span class="price">{pages.price(home)}</span></article>
"""


def _link(city: City, number: int, last: int, text: str) -> str:
    return f'<a href="/search/{city.name}?page={number}">{text}</a>' if 0 < number <= last else ""


def empty_page(city: City, look: Look) -> str:
    """A page of a search that failed: no count, no homes, and it does not say so."""
    return frame(city, city.title, f"<h1>{escape(city.title)}</h1>", look, kind="search")
