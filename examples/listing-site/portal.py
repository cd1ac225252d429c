"""Pure: what the portal answers to an address on a day."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from email.utils import format_datetime, parsedate_to_datetime
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bindlach
import helsinki
import krems
import schaan
import vaduz
from frame import NOTICE, STYLE, Look
from market import CITIES, City, Day, Home, Market, day_of
from search_page import empty_page, search_page

HTML = "text/html; charset=utf-8"
JSON = "application/json"
PAGES: dict[str, ModuleType] = {"helsinki": helsinki, "vaduz": vaduz, "bindlach": bindlach}
"""Cities whose pages are HTML from the start."""
ROBOTS = "User-agent: *\nDisallow: /admin/\nDisallow: /private/\nDisallow: /_/\n"
WALL = """<!doctype html><html><head><title>Just a moment...</title></head><body><h1>Just a moment...</h1>
<p>Verifying that you are human. This may take a few seconds.</p>
<script src="/cdn-cgi/challenge-platform/h/b/orchestrate.js"></script></body></html>
"""
SCRIPT = Path(__file__).resolve().parent / "app.js"


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    kind: str = HTML
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """An address, and what the portal counts of it."""

    url: str
    look: Look
    if_none_match: str = ""
    if_modified_since: str = ""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    def param(self, name: str) -> str:
        return parse_qs(urlsplit(self.url).query).get(name, [""])[0]

    @property
    def page(self) -> int:
        number = self.param("page")
        return max(1, int(number)) if number.isdecimal() and number.isascii() else 1


def fault_address(url: str) -> str:
    """What misbehaves as one: the address without parameters that only track."""
    asked = Asked(url, Look(0, ""))
    return f"{asked.path}?{asked.param('page')}{asked.param('after')}"


def is_search(url: str) -> bool:
    path = urlsplit(url).path
    return path.startswith("/search/") or path in ("/app/", "/api/schaan/listings")


def may_fail(url: str) -> bool:
    """Not what a page is made with, and not robots.txt, without which nothing may be asked for."""
    path = urlsplit(url).path
    return is_search(url) or path.startswith(("/app/objekt/", *(f"/{name}/" for name in CITIES), "/api/"))


def empty_search(asked: Asked) -> Reply:
    if asked.path == "/api/schaan/listings":
        return _json(200, {"meta": {}, "data": []})
    city = CITIES.get(asked.path.rpartition("/")[2], CITIES["helsinki"])
    return _html(200, empty_page(city, asked.look))


def answer(market: Market, day: int, asked: Asked, *, crawl_delay: float = 0, listed: float = 1) -> Reply:
    """`listed`: the share of a city's homes that its searches know of, as when a portal has lost some."""
    match asked.path.strip("/").split("/"):
        case [""]:
            reply = _home(market, day)
        case ["robots.txt"]:
            delay = f"Crawl-delay: {crawl_delay:g}\n" if crawl_delay else ""
            reply = Reply(200, (ROBOTS + delay).encode(), "text/plain")
        case ["search", name] if name in PAGES:
            homes = _listed(market.day(name, day), listed)
            reply = _html(200, search_page(CITIES[name], PAGES[name], homes, asked.page, asked.look))
        case ["api", "schaan", "listings"]:
            reply = _json(200, schaan.search(_listed(market.day("schaan", day), listed), asked.param("after")))
        case ["app", "app.js"]:
            reply = Reply(200, SCRIPT.read_bytes(), "text/javascript", {"Cache-Control": "max-age=60"})
        case ["app", "data.json"]:
            reply = _data(market.day("krems", day), Asked(asked.param("at"), asked.look), listed)
        case ["app"] | ["app", "objekt", _] | ["private", "krems", _]:
            # The same bytes whatever became of the home, so nothing that could be asked with If-None-Match.
            reply = Reply(200, krems.shell(asked.look).encode(), HTML, {"Cache-Control": "no-store"})
        case ["private", name, id] if name in CITIES:
            reply = _page(CITIES[name], market.day(name, day), id, asked)
        case [name, _, id] if name in PAGES:
            reply = _page(CITIES[name], market.day(name, day), id, asked)
        case ["api", "schaan", "listings", id]:
            reply = _page(CITIES["schaan"], market.day("schaan", day), id, asked)
        case _:
            reply = _html(404, "<!doctype html><title>404</title><h1>Not found</h1>\n")
    return reply


def _listed(day: Day, share: float) -> list[Home]:
    homes = day.listed()
    return homes[: math.ceil(len(homes) * share)]


def _page(city: City, day: Day, id: str, asked: Asked) -> Reply:
    home, gone = day.live.get(id), day.gone.get(id)
    html = city.name in PAGES
    make: Callable[[int, Any], Reply] = _html if html else _json
    pages = PAGES.get(city.name, schaan)
    if home is not None and home.path == asked.path:
        return _with_validators(make(200, pages.detail(home, _others(day, home), asked.look)), home, asked)
    if home is None and gone is not None and gone.answers == "page":
        return make(200, pages.removed(gone.home, _others(day, gone.home), asked.look))
    status = 410 if gone is not None and gone.answers == "410" else 404
    return make(status, "<!doctype html><title>404</title><h1>404</h1>\n" if html else {"error": status})


def _data(day: Day, asked: Asked, listed: float) -> Reply:
    match asked.path.strip("/").split("/"):
        case ["app"]:
            return _json(200, krems.search(_listed(day, listed), asked.page, asked.look))
        case ["app", "objekt", id] | ["private", "krems", id] if id in day.live:
            return _json(200, krems.detail(day.live[id], _others(day, day.live[id]), asked.look))
        case ["app", "objekt", id] if id in day.gone and day.gone[id].answers == "410":
            return _json(410, {"error": 410})
    return _json(404, {"error": 404})


def _others(day: Day, home: Home) -> Sequence[Home]:
    return [each for each in day.listed() if each.id != home.id and each.kind == home.kind and not each.private][:3]


def _with_validators(reply: Reply, home: Home, asked: Asked) -> Reply:
    """The ETag is weak: it says nothing of views and token, which differ each time."""
    changed = datetime.combine(day_of(home.updated), time(6), UTC)
    headers = {"ETag": f'W/"{home.etag}"', "Last-Modified": format_datetime(changed, usegmt=True)}
    if asked.if_none_match:
        known = headers["ETag"] in [tag.strip() for tag in asked.if_none_match.split(",")]
    else:
        known = _not_after(changed, asked.if_modified_since)
    return Reply(304, b"", reply.kind, headers) if known else Reply(200, reply.body, reply.kind, headers)


def _not_after(changed: datetime, since: str) -> bool:
    try:
        return changed <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False


def _html(status: int, page: str) -> Reply:
    return Reply(status, page.encode(), HTML)


def _json(status: int, value: Any) -> Reply:
    return Reply(status, json.dumps(value, ensure_ascii=False).encode() + b"\n", JSON)


def _home(market: Market, day: int) -> Reply:
    where = {**{name: f"/search/{name}" for name in PAGES}, "schaan": "/api/schaan/listings", "krems": "/app/"}
    rows = "".join(
        f'<tr><th><a href="{where[name]}">{escape(city.title)}</a></th><td>{len(market.day(name, day).live)}</td></tr>'
        for name, city in CITIES.items()
    )
    return _html(
        200,
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Nest &amp; Key</title><style>{STYLE}</style>
<body><header><b>Nest &amp; Key</b></header><main><h1>A property portal that is not real</h1>
<p>Day {day}, {day_of(day)}. The next one: <code>python examples/listing-site/serve.py --advance</code></p>
<table>{rows}</table></main><footer>{NOTICE}</footer></body></html>
""",
    )
