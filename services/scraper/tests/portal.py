"""A small portal on a site of the test: cities with homes, search pages of five, one page for each home."""

import json
from dataclasses import dataclass, field
from typing import Any

from tidemill.common.testing.site import Site

PER_PAGE = 5


@dataclass
class Home:
    id: str
    price: int
    city: str
    views: int = 0
    title: str = "Home"


@dataclass
class Portal:
    site: Site
    homes: dict[str, Home] = field(default_factory=dict)
    cities: tuple[str, ...] = ("Helsinki", "Espoo")
    more_fields: dict[str, Any] = field(default_factory=dict)

    def add(self, city: str, *ids: str, price: int = 100_000) -> None:
        for id in ids:
            self.homes[id] = Home(id, price, city)
        self.publish()

    def remove(self, *ids: str) -> None:
        for id in ids:
            self.site.files.pop(self.path(id), None)
            del self.homes[id]
        self.publish()

    def change(self, id: str, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.homes[id], name, value)
        self.publish()

    def path(self, id: str) -> str:
        return f"/homes/{id}?from={self.homes[id].city}"

    def publish(self) -> None:
        """What the site shows now."""
        for path in [path for path in self.site.files if path.startswith("/search/")]:
            del self.site.files[path]
        for city in self.cities:
            listed = [home for home in self.homes.values() if home.city == city]
            pages = range(0, max(1, len(listed)), PER_PAGE)
            for number, start in enumerate(pages, 1):
                self._search_page(city, number, listed[start : start + PER_PAGE], len(listed), more=number < len(pages))
        for home in self.homes.values():
            self.site.put(self.path(home.id), self.detail(home).encode())

    def _search_page(self, city: str, number: int, homes: list[Home], found: int, *, more: bool) -> None:
        entries = "".join(
            f'<article><a href="{self.path(home.id)}">{home.title}</a><b class=price>{home.price}</b></article>'
            for home in homes
        )
        next_page = f'<a rel=next href="/search/{city}?page={number + 1}">next</a>' if more else ""
        html = f"<!doctype html><title>{city}</title><p class=found>{found} homes</p>{entries}{next_page}"
        self.site.put(f"/search/{city}?page={number}", html.encode())

    def detail(self, home: Home) -> str:
        return (
            f"<!doctype html><title>{home.title}</title><h1>{home.title} {home.id}</h1>"
            f"<p class=price>{home.price} €</p><p class=city>{home.city}</p><p class=views>{home.views}</p>"
        )

    def scrape(self, **more: Any) -> dict[str, Any]:
        """The section of a source file."""
        search = {
            "url": self.site.url("/search/{city}?page={page}"),
            "each": {"city": list(self.cities)},
            "items": {"css": "article"},
            "link": {"css": "a", "attribute": "href"},
            "hint": [{"css": ".price"}],
            "found": {"css": ".found", "match": "[0-9]+"},
            "paging": {"first": 1},
            **more.pop("search", {}),
        }
        search = {name: value for name, value in search.items() if value is not None}
        return {"search": search, "urls": {"drop": ["from"]}, "gone": {"after": 1, "probe": True}, **more}

    @property
    def extract(self) -> dict[str, Any]:
        return {
            "fields": {
                "title": {"from": {"css": "h1"}, "required": True},
                "price": {"from": {"css": ".price"}, "type": "money", "required": True},
                "city": {"from": {"css": ".city"}},
                "views": {"from": {"css": ".views"}, "type": "integer", "volatile": True},
                **self.more_fields,
            },
            "states": {"gone": [{"text": "has been sold"}]},
        }


def source_file(name: str, politeness: str, scrape: dict[str, Any], extract: dict[str, Any]) -> str:
    return f"source: {name}\npoliteness: {politeness}\nscrape: {json.dumps(scrape)}\nextract: {json.dumps(extract)}\n"
