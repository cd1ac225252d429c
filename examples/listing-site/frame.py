"""What all pages of the portal share: head, foot, and the parts that change with every request."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from market import CITIES, City, Home

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1d2733;background:#f4f6f8}
header,footer{background:#12344d;color:#fff;padding:.8rem 2rem}header a,footer a{color:#cfe3f2}
header a{margin-right:1rem}
main{max-width:60rem;margin:1rem auto;padding:0 1rem}footer{font-size:.85rem;margin-top:2rem}
article,section,table{background:#fff;border-radius:8px;padding:1rem;margin:.8rem 0}
.card{display:flex;justify-content:space-between;gap:1rem}.price{font-weight:700;white-space:nowrap}
dl{display:grid;grid-template-columns:14rem 1fr;gap:.2rem 1rem}dt,th{color:#5a6b7b;text-align:left;font-weight:400}
dd{margin:0}th{width:14rem}.badge{background:#b3541e;color:#fff;border-radius:4px;padding:0 .5rem}
.badge:empty{display:none}
.similar{font-size:.9rem}.paging a{margin-right:.6rem}small{color:#5a6b7b}
"""
NOTICE = (
    'Addresses © <a href="https://www.openstreetmap.org/copyright">OpenStreetMap contributors</a>, '
    '<a href="https://opendatacommons.org/licenses/odbl/1-0/">ODbL 1.0</a>. '
    "Homes, prices, firms and people are invented."
)


@dataclass(frozen=True)
class Look:
    """What differs from one request for a page to the next."""

    views: int
    token: str


def frame(city: City, title: str, body: str, look: Look, *, head: str = "", kind: str = "page") -> str:
    links = "".join(f'<a href="/search/{each.name}">{escape(each.title)}</a>' for each in CITIES.values()
                    if each.path.startswith(f"/{each.name}/"))  # fmt: skip
    return f"""<!doctype html>
<html lang="{city.language[:2]}-{city.country}">
<head><meta charset="utf-8"><title>{escape(title)} | Nest &amp; Key</title>
<meta name="csrf-token" content="{look.token}">
<style>{STYLE}</style>
{head}</head>
<body class="{city.country.lower()} {kind}">
<header><b>Nest &amp; Key</b> &nbsp; {links}<a href="/app/">Krems</a></header>
<main>
{body}
</main>
<footer>{NOTICE} <a href="/admin/login?csrf={look.token}">Login</a></footer>
</body></html>
"""


Cell = str | float | None


def pairs(rows: Iterable[tuple[str, Cell]]) -> list[tuple[str, str]]:
    """Without those that say nothing, escaped."""
    return [(escape(label), escape(str(value))) for label, value in rows if value]


def canonical(home: Home) -> str:
    """The home's own address, whatever was asked for."""
    return f'<link rel="canonical" href="{home.path}">\n'


def similar(homes: Iterable[Home], heading: str, price: str) -> str:
    """Other homes, with prices that are not this one's."""
    links = "".join(
        f'<li><a href="{home.path}?utm_source=similar">{escape(home.title)}</a> '
        f'<span class="price">{price.format(amount=home.price)}</span></li>'
        for home in homes
    )
    return f'<aside class="similar"><h2>{heading}</h2><ul>{links}</ul></aside>'
