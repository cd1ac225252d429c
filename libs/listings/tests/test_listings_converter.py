"""From pages to listings: three markups, what is refused, what is rejected and why."""

import io
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tidemill.listings.converter import ListingsConverter
from tidemill.listings.listing import hash_description
from tidemill.plugin import Accounting, Document, Outcome, Progress, Record, Refusal, Rejected
from tidemill.plugin.conformance import assert_conforms

RECEIVED = datetime(2026, 11, 1, 6, tzinfo=UTC)

SWISS = """\
<!DOCTYPE html><html lang="de-CH"><head><meta charset="utf-8"><title>4½-Zimmer-Wohnung</title></head><body>
<h2>Helle 4½-Zimmer-Wohnung mit Weitblick</h2><font>Beispielgasse 12a, 9494 Schaan</font>
<table><tr><td><b>Kaufpreis:</b></td><td>CHF 1’250’000.–</td></tr>
<tr><td><b>Nebenkosten:</b></td><td>Fr. 412.50 / Monat</td></tr>
<tr><td><b>Anzahl Zimmer:</b></td><td>4½</td></tr>
<tr><td><b>Wohnfläche (netto):</b></td><td>118.5 m²</td></tr>
<tr><td><b>Baujahr:</b></td><td>1987, renoviert</td></tr>
<tr><td><b>Besuche:</b></td><td>1'204</td></tr></table>
<p class="text">Ruhige Lage,  <b>schöne</b> Aussicht.</p>
</body></html>"""
SWISS_RULES: dict[str, Any] = {
    "locale": "de-CH",
    "fields": {
        "title": {"from": {"css": "h2"}},
        "address": {"from": {"css": "h2 + font"}},
        "price": {"from": {"label": "Kaufpreis"}, "type": "money", "required": True},
        "monthly_charge": {"from": {"label": "Nebenkosten"}, "type": "money"},
        "rooms": {"from": {"label": "Anzahl Zimmer"}, "type": "rooms"},
        "area": {"from": {"label": "Wohnfläche*"}, "type": "area", "required": True},
        "year_built": {"from": {"label": "Baujahr"}, "type": "year"},
        "description": {"from": {"css": ".text"}},
        "coordinates": {"from": {"carried": "place"}, "type": "coordinates"},
        "visits": {"from": {"label": "Besuche"}, "type": "integer", "volatile": True},
    },
}
SWISS_OPTIONS = {"extract": SWISS_RULES, "country": "LI", "price_kind": "sale"}

FINNISH = """\
<html lang="fi"><head><title>Kerrostalo 2h + kk</title>
<script type="application/ld+json">{"@type": "Apartment", "name": "Kaksio", "geo": {"latitude": 60.17,
 "longitude": 24.94}, "address": {"streetAddress": "Hämeentie 6 B 68",
 "postalCode": "00530", "addressLocality": "Helsinki"}}</script></head>
<body><h1>Kaksio Hämeentiellä</h1><dl><dt>Velaton hinta<dd>295\u00a0000 €<dt>Myyntihinta<dd>281 500,50 €
<dt>Asuinpinta-ala<dd>54,5 m²<dt>Huoneiston kokoonpano<dd>2h + kk<dt>Kerros<dd>3 / 6
<dt>Tyyppi<dd>Myydään</dl><p class=pvm>Julkaistu 5.9.2026</p></body></html>"""
FINNISH_RULES: dict[str, Any] = {
    "locale": "fi",
    "fields": {
        "title": {"from": {"css": "h1"}},
        "price": {"from": {"label": "Myyntihinta"}, "type": "money"},
        "debt_free_price": {"from": {"label": "Velaton hinta"}, "type": "money", "required": True},
        "size_m2": {"from": {"label": "Asuinpinta-ala"}, "type": "area"},
        "rooms": {"from": {"label": "Huoneiston kokoonpano"}, "type": "rooms"},
        "layout": {"from": {"label": "Huoneiston kokoonpano"}},
        "floor": {"from": {"label": "Kerros", "match": "^([0-9]+)"}, "type": "integer"},
        "address": {"from": {"jsonld": "address.streetAddress", "of": "Apartment"}},
        "postcode": {"from": {"jsonld": "address.postalCode", "of": "Apartment"}},
        "city": {"from": {"jsonld": "address.addressLocality", "of": "Apartment"}},
        "coordinates": {"from": {"jsonld": "geo", "of": "Apartment"}, "type": "coordinates"},
        "price_kind": {"from": {"label": "Tyyppi"}, "map": {"Myydään": "sale", "Vuokrataan": "rent"}},
        "published": {"from": {"css": ".pvm", "match": "[0-9.]+$"}, "type": "date"},
    },
}
FINNISH_OPTIONS = {"extract": FINNISH_RULES, "country": "FI", "portal": "koti"}

API = json.dumps(
    {
        "cards": [
            {"id": 7, "href": "/home/7", "price": "£1,200 pcm", "m2": 54, "kind": "rent", "town": "Vaduz"},
            {"id": 8, "href": "/home/8", "price": "CHF 900", "m2": -3, "kind": "rent", "town": "Vaduz"},
            {"id": 9, "href": "/home/9", "price": "ask us", "m2": 60, "kind": "rent", "town": "Vaduz"},
            {"id": 10, "href": "/home/10", "price": "CHF 700", "m2": 61, "kind": "swap", "town": "Vaduz"},
            {"id": 7, "href": "/home/7", "price": "£1,300 pcm", "m2": 54, "kind": "rent", "town": "Vaduz"},
        ]
    }
)
API_RULES: dict[str, Any] = {
    "locale": "en-GB",
    "items": {"jsonpath": "$.cards[*]"},
    "fields": {
        "portal_id": {"from": {"jsonpath": "id"}},
        "url": {"from": {"jsonpath": "href"}},
        "price": {"from": {"jsonpath": "price"}, "type": "money", "required": True},
        "size_m2": {"from": {"jsonpath": "m2"}, "type": "decimal"},
        "price_kind": {"from": {"jsonpath": "kind"}},
        "city": {"from": {"jsonpath": "town"}},
    },
}
WALL = "<title>Just a moment...</title><script src='/cdn-cgi/challenge-platform/h/b.js'></script>"
PAGES = (
    (SWISS, SWISS_OPTIONS, "https://boerse.example/objekt/4711/bild2"),
    (FINNISH, FINNISH_OPTIONS, "https://koti.example/myytavat/22334455"),
    (API, {"extract": API_RULES}, "https://flats.example/api"),
)


def convert(
    content: str | bytes, options: dict[str, Any], url: str = "https://boerse.example/objekt/4711", **context: str
) -> list[Any]:
    body = content.encode() if isinstance(content, str) else content
    digest = sha256(body).hexdigest()
    document = Document(io.BytesIO(body), digest, len(body), "", RECEIVED, "boerse", url=url, context=context)
    return list(ListingsConverter().convert(document, options))


def one(items: list[Any]) -> Record:
    [record] = [item for item in items if isinstance(item, Record)]
    return record


def test_a_table_of_labels_is_a_listing_with_where_each_value_is_from() -> None:
    items = convert(SWISS, SWISS_OPTIONS, place='{"lat":47.165,"lon":9.51}')
    record = one(items)
    assert record.key == "boerse/4711"
    assert record.data == {
        "portal": "boerse",
        "portal_id": "4711",
        "url": "https://boerse.example/objekt/4711",
        "status": "active",
        "price_kind": "sale",
        "price": 1250000.0,
        "currency": "CHF",
        "monthly_charge": 412.5,
        "rooms": 4.5,
        "size_m2": 118.5,
        "year_built": 1987,
        "address": "Beispielgasse 12a, 9494 Schaan",
        "street": "Beispielgasse",
        "number": "12a",
        "postcode": "9494",
        "city": "Schaan",
        "country": "LI",
        "latitude": 47.165,
        "longitude": 9.51,
        "coordinates_from": "portal",
        "title": "Helle 4½-Zimmer-Wohnung mit Weitblick",
        "description_hash": hash_description("Ruhige Lage, schöne Aussicht."),
    }
    origins = json.loads(record.raw)
    assert origins["price"] == {"rule": "label: Kaufpreis", "raw": "CHF 1’250’000.–"}
    assert origins["coordinates"]["rule"] == "carried: place"
    assert 0.5 < record.quality < 1
    assert items[-1] == Accounting(None, 1, 1, 0)


def test_the_parts_of_an_address_stand_back_behind_fields_of_their_own() -> None:
    record = one(convert(FINNISH, FINNISH_OPTIONS, "https://koti.example/myytavat/22334455"))
    data = record.data
    assert record.key == "koti/22334455"
    assert (data["price"], data["debt_free_price"], data["currency"]) == (281500.5, 295000.0, "EUR")
    assert (data["street"], data["number"], data["stair"], data["flat"]) == ("Hämeentie", "6", "B", "68")
    assert (data["postcode"], data["city"], data["country"]) == ("00530", "Helsinki", "FI")
    assert (data["price_kind"], data["floor"], data["layout"]) == ("sale", 3, "2h + kk")
    assert data["published"] == "2026-09-05T00:00:00Z"


@pytest.mark.parametrize(
    ("printed", "options", "moment"),
    [
        ("2026-09-05T06:30:00+02:00", FINNISH_OPTIONS, "2026-09-05T04:30:00Z"),
        ("2026-09-05T06:30", FINNISH_OPTIONS, "2026-09-05T03:30:00Z"),
        ("2026-09-05T06:30", {**FINNISH_OPTIONS, "zone": "Europe/Zurich"}, "2026-09-05T04:30:00Z"),
    ],
)
def test_a_time_without_zone_is_one_of_the_place(printed: str, options: dict[str, Any], moment: str) -> None:
    fields = {**FINNISH_RULES["fields"], "published": {"from": {"css": ".pvm", "match": "[0-9T:+-]+$"}}}
    page = FINNISH.replace("5.9.2026", printed)
    record = one(convert(page, {**options, "extract": {**FINNISH_RULES, "fields": fields}}))
    assert record.data["published"] == moment


def test_items_that_can_be_no_listings_are_rejected_with_field_and_raw_text() -> None:
    items = convert(API, {"extract": API_RULES}, "https://flats.example/api")
    record = one(items)
    assert (record.key, record.data["url"]) == ("boerse/7", "https://flats.example/home/7")
    assert (record.data["price"], record.data["currency"]) == (1200.0, "GBP")
    rejected = [item for item in items if isinstance(item, Rejected)]
    assert [(row.position.item, row.reason) for row in rejected] == [
        (1, "invalid"),
        (2, "missing"),
        (3, "invalid"),
        (4, "twice"),
    ]
    assert rejected[0].detail == "size_m2: Input should be greater than 0, not -3, read from '-3'"
    assert rejected[1].detail == "there is no price (jsonpath: price: ask us has no number), and the rules require it"
    assert "price_kind: Input should be 'sale' or 'rent', not 'swap', read from 'swap'" in rejected[2].detail
    assert '"raw": "swap"' in rejected[2].raw
    assert items[-1] == Accounting(None, 5, 1, 4)
    assert [item.warning for item in items if isinstance(item, Progress)] == [
        "price: jsonpath: price: ask us has no number"
    ]


@pytest.mark.parametrize(
    ("content", "outcome", "says"),
    [
        ("", Outcome.EMPTY, "empty"),
        (b"%PDF-1.7 ...", Outcome.WRONG_TYPE, "neither HTML nor JSON"),
        (b"\x89PNG\0\0\0\rIHDR", Outcome.WRONG_TYPE, "neither HTML nor JSON"),
        (WALL, Outcome.UNRECOGNISED, "a wall in place of the page (bot_wall: Cloudflare"),
        ("<div id='app'></div><script src='/app.js'></script>", Outcome.EMPTY, "Only JavaScript fills this page"),
        ("<h1>Inserat</h1><p>Das Inserat wurde deaktiviert.</p>", Outcome.UNRECOGNISED, "is gone (gone_words"),
        ("<h1>Seite nicht gefunden</h1>", Outcome.UNRECOGNISED, "nothing at its address"),
        (SWISS.replace("Kaufpreis", "Preis auf Anfrage"), Outcome.UNRECOGNISED, "required_missing: price"),
    ],
)
def test_a_page_that_is_none_of_a_listing_is_refused(content: str | bytes, outcome: Outcome, says: str) -> None:
    with pytest.raises(Refusal) as refused:
        convert(content, SWISS_OPTIONS)
    assert refused.value.outcome is outcome
    assert says in refused.value.reason


def test_an_answer_without_items_is_refused() -> None:
    with pytest.raises(Refusal, match="required_missing: items"):
        convert('{"cards": []}', {"extract": API_RULES})


@pytest.mark.parametrize(
    ("changes", "url", "id"),
    [
        ({}, "https://a.example/7/objekt-12-zimmer/4711?page=3", "4711"),
        ({"id": "objekt-([0-9]+)"}, "https://a.example/7/objekt-12-zimmer/4711", "12"),
        ({"id": "[a-z]{3}[0-9]+$"}, "https://a.example/show/abc77", "abc77"),
    ],
)
def test_the_id_is_in_the_address_where_no_field_says_it(changes: dict[str, Any], url: str, id: str) -> None:
    assert one(convert(SWISS, {**SWISS_OPTIONS, **changes}, url)).data["portal_id"] == id


def test_a_page_of_which_nobody_says_where_it_was_is_no_listing() -> None:
    for url, options, reason in (
        ("", SWISS_OPTIONS, "no_url"),
        ("https://a.example/flat", SWISS_OPTIONS, "no_portal_id"),
        ("https://a.example/flat/7", {**SWISS_OPTIONS, "id": "nr=([0-9]+)"}, "no_portal_id"),
    ):
        [rejected] = [item for item in convert(SWISS, options, url) if isinstance(item, Rejected)]
        assert rejected.reason == reason


def test_amounts_in_two_currencies_are_no_listing() -> None:
    items = convert(SWISS.replace("Fr. 412.50", "€ 412.50"), SWISS_OPTIONS)
    assert [item.reason for item in items if isinstance(item, Rejected)] == ["currencies"]


def rules(**fields: Any) -> dict[str, Any]:
    return {"extract": {"fields": fields}, "price_kind": "sale"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "extract: is missing"),
        ({"extract": []}, "extract: must hold the rules"),
        ({"extract": {"fields": {"price": {"from": {"css": "p", "xpath": "//p"}}}}}, "extract.fields.price.from"),
        (rules(sise_m2={"from": {"css": "b"}}), "extract.fields.sise_m2: a listing has no such field; write one of"),
        (rules(price={"from": {"css": "b"}}), "extract.fields.price: its type is text; for this field write money or"),
        (rules(title={"from": {"css": "b"}, "many": True}), "a listing has one"),
        ({"extract": {"fields": {"title": {"from": {"css": "b"}}}}}, "price_kind: write sale or rent"),
        ({**rules(), "extract": SWISS_RULES, "country": "FR"}, "country: 'FR' is not valid; valid: FI, DE"),
        ({"extract": SWISS_RULES, "price_kind": "buy"}, "price_kind: 'buy' is not valid; valid: sale, rent"),
        ({**SWISS_OPTIONS, "id": "("}, "id: ( is no regular expression"),
        ({**SWISS_OPTIONS, "portal": 7}, "portal: must be a text"),
        ({**SWISS_OPTIONS, "zone": "Europe/Schaan"}, "zone: 'Europe/Schaan' is not a time zone"),
        ({**SWISS_OPTIONS, "kountry": "LI"}, "unknown option 'kountry'; valid: extract, portal, country"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(options: dict[str, Any], says: str) -> None:
    assert says in str(ListingsConverter().options_error(options))


@pytest.mark.parametrize(("content", "options", "url"), PAGES, ids=["table", "dl and JSON-LD", "API"])
def test_it_conforms(tmp_path: Path, content: str, options: dict[str, Any], url: str) -> None:
    path = tmp_path / "page"
    path.write_text(content, encoding="utf-8")
    assert_conforms(ListingsConverter(), [path], options, url=url, context={"place": "47.165, 9.51"})
