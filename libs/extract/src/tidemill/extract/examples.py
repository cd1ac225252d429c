"""An example of every kind of rule and of every type: they are printed in the reference, and run as tests."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill.extract.model import Json


@dataclass(frozen=True, slots=True)
class Example:
    """A field of a source file, a page, and the value that the one has on the other, as JSON."""

    field: str
    """YAML."""
    page: str
    value: Json
    carried: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the entry that led to the page said."""


@dataclass(frozen=True, slots=True)
class SearchExample:
    """Rules of search pages, the answer to the first address, and what it means."""

    search: str
    """YAML."""
    page: str
    asked: str
    links: tuple[str, ...]
    next: str | None
    stop: str | None


@dataclass(frozen=True, slots=True)
class StateExample:
    """Rules of a page, the page, and its state."""

    rules: str
    """YAML."""
    page: str
    state: str


@dataclass(frozen=True, slots=True)
class UrlExample:
    """Rules of addresses, and two that are the same."""

    rules: str
    """YAML."""
    url: str
    canonical: str


KINDS: Mapping[str, Sequence[Example]] = {
    "css": (
        Example("{from: {css: h1}}", "<h1>Bright flat <small>new</small></h1>", "Bright flat new"),
        Example("{from: {css: h1, text: own}}", "<h1>Bright flat <small>new</small></h1>", "Bright flat"),
        Example('{from: {css: "a.map", attribute: href}}', '<a class="map" href="/map/7">Map</a>', "/map/7"),
        Example("{from: {css: li, contains: floor}}", "<li>2 rooms<li>3rd floor<li>lift", "3rd floor"),
        Example(
            '{from: {css: "p.address span", join: ", "}}',
            "<p class=address><span>Way 1</span><span>Town</span>",
            "Way 1, Town",
        ),
        Example("{from: {css: li, pick: last}}", "<li>a<li>b<li>c", "c"),
        Example(
            "{from: {css: img, attribute: src}, many: true}", '<img src="1.jpg"><img src="2.jpg">', ["1.jpg", "2.jpg"]
        ),
    ),
    "label": (
        Example("{from: {label: Rakennusvuosi}, type: year}", "<dl><dt>Rakennusvuosi:<dd>1962</dl>", 1962),
        Example(
            '{from: {label: "Wohnfläche*"}, type: area}',
            "<table><tr><td>Wohnfläche (netto)</td><td>118,5 m²</td></tr></table>",
            "118.5",
        ),
        Example("{from: {label: Surface}, type: area}", "<li>Surface : <b>67,4 m²</b></li>", "67.4"),
        Example(
            "{from: {label: [Price, Asking price]}}",
            "<table><tr><th>Rooms<th>Asking price</tr><tr><td>3<td>on request</tr></table>",
            "on request",
        ),
        Example(
            "{from: {label: Lift, rows: .fact, labels: i, values: b}}",
            '<div class="fact"><i>Lift</i><u>?</u><b>yes</b></div>',
            "yes",
        ),
    ),
    "table": (
        Example(
            "{from: {table: true, within: dl}, type: json}",
            "<dl><dt>Plot<dd>own<dt>Sauna<dd>yes</dl>",
            {"Plot": "own", "Sauna": "yes"},
        ),
    ),
    "xpath": (
        Example(
            "{from: {xpath: \"//b[.='Heating']/following-sibling::text()[1]\"}}", "<p><b>Heating</b> gas<br>", "gas"
        ),
    ),
    "jsonld": (
        Example(
            "{from: {jsonld: offers.price, of: Apartment}, type: money, currency: EUR}",
            '<script type="application/ld+json">{"@graph": [{"@type": ["Apartment", "Product"],\n'
            ' "offers": [{"price": 295000}]}]}</script>',
            {"amount": "295000", "currency": "EUR"},
        ),
    ),
    "microdata": (
        Example(
            "{from: {microdata: address.postalCode, of: Apartment}}",
            '<div itemscope itemtype="https://schema.org/Apartment"><p itemprop="address" itemscope>\n'
            '<b itemprop="postalCode">99001</b></p></div>',
            "99001",
        ),
        Example(
            "{from: {microdata: price, of: Car, within: main}, type: money}",
            '<aside itemscope itemtype="https://schema.org/Car">Also nice: <b itemprop="price">CHF 99.–</b></aside>\n'
            '<main><p itemscope itemtype="https://schema.org/Car"><b itemprop="price">CHF 73’900.–</b></main>',
            {"amount": "73900", "currency": "CHF"},
        ),
    ),
    "jsonpath": (
        Example("{from: {jsonpath: $.data.rooms}, type: rooms}", '{"data": {"rooms": 3.5}}', "3.5"),
        Example(
            "{from: {jsonpath: \"$.facts[?(@.name == 'year')].value\"}, type: year}",
            '{"facts": [{"name": "floor", "value": "2"}, {"name": "year", "value": "1931"}]}',
            1931,
        ),
        Example(
            '{from: {jsonpath: $.props.price, script: "#__NEXT_DATA__"}, type: integer}',
            '<script id="__NEXT_DATA__" type="application/json">{"props": {"price": 950}}</script>',
            950,
        ),
        Example(
            '{from: {jsonpath: lat, script: "#map", attribute: data-at}, type: decimal}',
            """<div id="map" data-at='{"lat": 60.17}'></div>""",
            "60.17",
        ),
        Example(
            "{from: {jsonpath: flat.id, variable: window.STATE}}",
            "<script>window.STATE = {flat: {id: 'EX-77', sold: undefined}};</script>",
            "EX-77",
        ),
    ),
    "regex": (
        Example('{from: {regex: "([0-9]+) of [0-9]+ floors"}, type: integer}', "<p>On the 3 of 5 floors</p>", 3),
        Example(
            "{from: {regex: 'listingId = \"(\\w+)\"', search: scripts}}",
            '<script>var listingId = "A12";</script>',
            "A12",
        ),
    ),
    "concat": (
        Example(
            '{from: {concat: [{css: .street}, ", ", {css: .city}]}}',
            "<b class=street>Way 1</b> <b class=city>Town</b>",
            "Way 1, Town",
        ),
    ),
    "python": (
        Example(
            "{from: {python: largest_image}}",
            '<img src="s.jpg" srcset="/m.jpg 640w, /l.jpg 1280w, /s.jpg 320w">',
            "/l.jpg",
        ),
    ),
    "carried": (
        Example(
            "{from: [{css: .map, attribute: data-place}, {carried: place}], type: coordinates}",
            "<h1>Home without a map</h1>",
            {"lat": 60.17, "lon": 24.94},
            {"place": '{"latitude":60.17,"longitude":24.94}'},
        ),
    ),
    "const": (Example("{from: {const: FI}}", "<p>anything</p>", "FI"),),
}

TYPES: Mapping[str, Sequence[Example]] = {
    "text": (Example("{from: {css: p}}", "<p> one&nbsp;&nbsp;<b>line</b>\n</p>", "one line"),),
    "integer": (Example("{from: {css: p}, type: integer}", "<p>1’204 visits</p>", 1204),),
    "decimal": (Example("{from: {css: p}, type: decimal, locale: de}", "<p>1.234,50</p>", "1234.5"),),
    "money": (
        Example("{from: {css: p}, type: money}", "<p>CHF 1’250’000.–</p>", {"amount": "1250000", "currency": "CHF"}),
        Example(
            "{from: {css: p}, type: money, locale: hu}", "<p>45,9 M Ft</p>", {"amount": "45900000", "currency": "HUF"}
        ),
        Example(
            "{from: {css: p}, type: money, currency: SEK}", "<p>8 400 kr/mån</p>", {"amount": "8400", "currency": "SEK"}
        ),
    ),
    "area": (
        Example("{from: {css: p}, type: area}", "<p>54,5 m²</p>", "54.5"),
        Example("{from: {css: p}, type: area, locale: en}", "<p>1,200 sq ft</p>", "111.483648"),
        Example("{from: {css: p}, type: area, unit: ha}", "<p>1.5</p>", "15000"),
    ),
    "rooms": (
        Example("{from: {css: p}, type: rooms}", "<p>3½ Zimmer</p>", "3.5"),
        Example("{from: {css: p}, type: rooms}", "<p>2h+kk</p>", "2"),
    ),
    "year": (Example("{from: {css: p}, type: year}", "<p>built 1962</p>", 1962),),
    "date": (
        Example("{from: {css: p}, type: date}", "<p>22. marraskuuta 2026</p>", "2026-11-22"),
        Example("{from: {css: p}, type: date, order: mdy}", "<p>3/4/2026</p>", "2026-03-04"),
    ),
    "coordinates": (
        Example(
            "{from: {css: p}, type: coordinates}", "<p>60°10'12\"N 24°56'18\"E</p>", {"lat": 60.17, "lon": 24.938333333}
        ),
        Example(
            "{from: {jsonpath: $.at}, type: coordinates, order: lon-lat}",
            '{"at": [24.94, 60.17]}',
            {"lat": 60.17, "lon": 24.94},
        ),
    ),
    "boolean": (Example("{from: {css: p}, type: boolean}", "<p>Kyllä</p>", True),),
    "json": (Example("{from: {jsonpath: $.facts}, type: json}", '{"facts": {"sauna": true}}', {"sauna": True}),),
}

READINGS: Mapping[str, Sequence[Example]] = {
    "from": (
        Example(
            "{from: [{label: Price}, {label: Asking price}], type: money}",
            "<dl><dt>Price<dd>on request<dt>Asking price<dd>295 000 €</dl>",
            {"amount": "295000", "currency": "EUR"},
        ),
    ),
    "default": (Example("{from: {css: .state}, default: unknown}", "<p>anything</p>", "unknown"),),
    "match": (
        Example(
            '{from: {css: p, match: "at=([0-9.,]+)"}, type: coordinates}',
            "<p>map?at=47.4,9.3&z=1</p>",
            {"lat": 47.4, "lon": 9.3},
        ),
    ),
    "strip": (Example("{from: {css: p}, strip: [published, ago]}", "<p>Published two days ago</p>", "two days"),),
    "replace": (Example('{from: {css: p}, replace: {"\\\\s*\\\\(.*?\\\\)": ""}}', "<p>Town (district)</p>", "Town"),),
    "map": (
        Example("{from: {css: p}, map: {Miete: rent, Kauf: sale, keine Angabe: null}}", "<p>MIETE</p>", "rent"),
        Example("{from: {css: p}, map: {Miete: rent, Kauf: sale, keine Angabe: null}}", "<p>keine Angabe</p>", None),
    ),
}

SEARCHES: Sequence[SearchExample] = (
    SearchExample(
        """\
url: "https://example.org/{town}?page={page}"
each: {town: [malli, koe]}
link: {css: a.card, attribute: href}
found: {css: .count}
paging: {first: 1}""",
        '<b class="count">41 homes</b> <a class="card" href="/home/1">Home</a>',
        "https://example.org/malli?page=1",
        ("https://example.org/home/1",),
        "https://example.org/malli?page=2",
        None,
    ),
    SearchExample(
        """\
url: https://example.org/homes
link: {css: a.card, attribute: href}
paging:
  next: {css: "a[rel=next]", attribute: href}""",
        '<a class="card" href="/home/1">Home</a> <a rel="next" href="/homes/2">Next</a>',
        "https://example.org/homes",
        ("https://example.org/home/1",),
        "https://example.org/homes/2",
        None,
    ),
    SearchExample(
        """\
url: "https://example.org/api?area={area}&limit=24&offset={offset}"
each:
  area: {Malli: '[[64,6,"Malli"]]'}
items: {jsonpath: "$.cards[*]"}
link: {jsonpath: url}
key: {jsonpath: id}
hint: [{jsonpath: price}, {jsonpath: changed}]
carry: {place: {jsonpath: coordinates}}
found: {jsonpath: $.found}
paging: {step: 24}""",
        '{"found": 1, "cards": [{"id": 7, "url": "https://example.org/home/7", "price": "295 000 €"}]}',
        "https://example.org/api?area=%5B%5B64%2C6%2C%22Malli%22%5D%5D&limit=24&offset=0",
        ("https://example.org/home/7",),
        None,
        "last_page",
    ),
    SearchExample(
        """\
url: "https://example.org/api?after={cursor}"
items: {jsonpath: "$.data[*]"}
link: {jsonpath: id}
link_url: "https://example.org/home/{link}"
paging:
  cursor: {jsonpath: $.meta.next}""",
        '{"data": [{"id": 7}], "meta": {"next": "abc="}}',
        "https://example.org/api?after=",
        ("https://example.org/home/7",),
        "https://example.org/api?after=abc%3D",
        None,
    ),
)

STATES: Sequence[StateExample] = (
    StateExample(
        """\
fields: {price: {from: {css: .price}, required: true}}
states: {gone: [{text: Kohde on poistunut}]}""",
        "<p>Kohde on poistunut.</p> <b class=price>295 000 €</b>",
        "gone",
    ),
    StateExample(
        "fields: {price: {from: {css: .price}, required: true}}",
        '<title>Just a moment...</title><script src="/cdn-cgi/challenge-platform/h/b.js"></script>',
        "blocked",
    ),
    StateExample(
        "fields: {price: {from: {css: .price}, required: true}}",
        '<div id="app"></div><script src="/app.js"></script>',
        "shell",
    ),
)

URLS: Sequence[UrlExample] = (
    UrlExample(
        "{}",
        "HTTP://Example.ORG:80/a/../home/7/?utm_source=x&b=2&a=%7e#photos",
        "https://example.org/home/7?a=~&b=2",
    ),
    UrlExample("{keep: [id]}", "https://example.org/show?id=7&from=list", "https://example.org/show?id=7"),
    UrlExample("{www: false, drop: [ref]}", "https://www.example.org/7?ref=top", "https://example.org/7"),
)
