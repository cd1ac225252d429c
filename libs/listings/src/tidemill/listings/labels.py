"""What portals call the fields of a listing, by language: for who describes a portal, never for reading one."""

import re
import unicodedata
from collections.abc import Mapping

_CALLED: Mapping[str, str] = {
    "portal_id": "objekt nr|objektnummer|objekt id|kohdenumero|listing id|reference|ref|identifier|sku",
    "price": "kaufpreis|preis|myyntihinta|hinta|asking price|price|prix|prezzo|vetelar|miete|kaltmiete|nettomiete"
    "|vuokra|rent|loyer|offers price",
    "debt_free_price": "velaton hinta",
    "monthly_charge": "nebenkosten|hausgeld|hoitovastike|yhtiovastike|service charge|charges",
    "size_m2": "wohnflaeche|wohnflache|nutzflaeche|asuinpinta ala|living area|floor area|floor size|size|surface"
    "|superficie|alapterulet|floor size value",
    "plot_m2": "grundstueck|grundstuecksflaeche|tontin pinta ala|plot|plot size|land area|terrain",
    "rooms": "zimmer|anzahl zimmer|huoneita|huoneluku|rooms|number of rooms|pieces|locali|szobak",
    "layout": "huoneiston kokoonpano|huoneistoselitelma|layout",
    "floor": "etage|stockwerk|kerros|floor|storey|emelet",
    "floors": "kerroksia|anzahl etagen|floors|storeys",
    "year_built": "baujahr|rakennusvuosi|year built|built|annee de construction|anno di costruzione|epitve",
    "type": "objektart|objekttyp|wohnungstyp|rakennuksen tyyppi|tyyppi|property type|type",
    "condition": "zustand|kunto|condition|etat",
    "energy_class": "energieklasse|energieeffizienzklasse|energialuokka|energy class|epc rating|dpe",
    "address": "adresse|sijainti|address|indirizzo|cim|lage",
    "postcode": "plz|postleitzahl|postinumero|postcode|zip|address postal code",
    "city": "ort|stadt|kaupunki|city|town|address address locality",
    "district": "stadtteil|ortsteil|kaupunginosa|district",
    "company": "anbieter|firma|valittaja|agency|company",
    "agent": "kontakt|ansprechpartner|yhteyshenkilo|agent|contact",
    "published": "online seit|inseriert|julkaistu|listed|published|date posted",
    "title": "title|titel|headline|name",
    "latitude": "geo latitude|latitude|lat",
    "longitude": "geo longitude|longitude|lng|lon",
    "description": "beschreibung|kuvaus|description",
}
_FIELDS = {called: field for field, names in _CALLED.items() for called in names.split("|")}
_COUNTERS = re.compile(r"\b(?:aufrufe|besuche|ansichten|katselu\w*|views?|visits?|vues?|visite|visits? count)\b")


def field_of_label(label: str) -> str | None:
    """The listing's field that a label or a path (`Wohnfläche (netto):`, `offers.price`) stands for; None where it
    stands for none, or nobody knows."""
    words = _plain(label)
    return _FIELDS.get(words) or _FIELDS.get(_plain(re.sub(r"\(.*?\)", " ", label)))


def is_counter(label: str) -> bool:
    """Whether it counts who looked: that changes with every look."""
    return _COUNTERS.search(_plain(label)) is not None


def _plain(label: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    folded = spaced.casefold().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
    finnish = folded.replace("oe", "o") if "vastike" in folded or "yht" in folded else folded
    ascii_text = unicodedata.normalize("NFKD", finnish).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9]+", ascii_text))
