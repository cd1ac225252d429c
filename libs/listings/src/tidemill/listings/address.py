"""Printed addresses of Finland, Germany, Austria, Switzerland and Liechtenstein to their parts, and back."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tidemill.listings.listing import Country

COUNTRIES: dict[str, Country] = {
    **dict.fromkeys(("fi", "fin", "finland", "suomi"), "FI"),
    **dict.fromkeys(("d", "de", "deutschland", "germany", "saksa"), "DE"),
    **dict.fromkeys(("a", "at", "österreich", "oesterreich", "austria"), "AT"),
    **dict.fromkeys(("ch", "schweiz", "switzerland", "suisse", "svizzera"), "CH"),
    **dict.fromkeys(("fl", "li", "liechtenstein", "fürstentum liechtenstein"), "LI"),
}
LIECHTENSTEIN = range(9485, 9499)
"""Its postcodes stand within the numbering of Switzerland."""

MOST_LETTERS = 500

NORDIC = re.compile(
    r"(?:katu|tie|kuja|polku|kaari|ranta|rannikko|aukio|tori|rinne|raitti|väylä|esplanadi|puisto|mäki|bulevardi|linja"
    r"|portti|piha|laita|penger|kulma|silta|reitti|gatan|gata|vägen|väg|gränden|gränd|stigen|brinken|stranden|kajen"
    r"|esplanaden|platsen|backen|svängen|bågen|linjen|parken|porten|tåget|allén|kärret|kanava|laituri|k\.|t\.)$",
    re.IGNORECASE,
)
STREET = re.compile(
    r"(?:str(?:a(?:ß|ss)e|\.)?|gass(?:e|a)?|weg|platz|pl\.|allee|ring|damm|ufer|steig|promenade|chaussee|zeile|hof|markt"
    r"|graben|kai|berg|halde|wiese|park|garten|feld|tor|brücke|stieg|steg|pfad)$"
    r"|^(?:am|an|auf|bei|im|in|zum|zur|zu|unter|unterm|ob|hinter|vor|rue|avenue|av\.|boulevard|bd\.?|chemin|ch\.|place"
    r"|quai|route|impasse|allée|ruelle|galerie|via|viale|piazza|vicolo|corso|salita|strada|contrada)\b",
    re.IGNORECASE,
)
ALSO_A_QUARTER = re.compile(
    r"(?:ranta|mäki|puisto|piha|silta|rinne|kulma|portti|backen|kanava|hof|markt|berg|halde|wiese|park|garten|feld|tor"
    r"|steg|brücke)$",
    re.IGNORECASE,
)
ROMANCE = re.compile(
    r"(?:rue|avenue|av\.|boulevard|bd\.?|chemin|ch\.|place|quai|route|impasse|allée|ruelle)\b", re.IGNORECASE
)

PREFIX = r"(?:(?P<prefix>FIN|FI|DE|D|AT|A|CH|FL|LI)\s?[-–]\s?)"
NAME = r"[^\W\d_][^\d]*"
POSTAL = re.compile(rf"{PREFIX}?(?P<postcode>\d{{4,5}})(?:\s+(?P<city>{NAME}))?")
AFTER = re.compile(rf"\s+{PREFIX}?(?P<postcode>\d{{4,5}})(?!\w)(?:\s+(?P<city>{NAME}))?")
CARE_OF = re.compile(r"(?:c\s?/\s?o|p\.\s?a\.|z\.\s?hd\.)\s*(?P<name>.+)", re.IGNORECASE)
QUARTER = re.compile(r"(?:Kreis|Bezirk)\s\d+|\d+\.\s?(?:Bezirk|kaupunginosa|Arrondissement)", re.IGNORECASE)
POST_BOX = re.compile(r"(?:PL|PB|Postfach|Box|P\.?\s?O\.?\s?Box)\s*\d*", re.IGNORECASE)
STOREY = re.compile(
    r"\(?(?:\d+(?:\s?[-–]\s?\d+)?(?:\.|nd|rd|th|st)?\s*"
    r"(?:krs|kerros|floors?|OG|UG|DG|Stock|Etage|vån|Obergeschoss|Geschoss)\b"
    r"|(?:EG|DG|UG|Erdgeschoss|Dachgeschoss|Parterre|Hochparterre|Hinterhaus|Vorderhaus|Gartenhaus|Seitenflügel"
    r"|sisäpiha|katutaso|pohjakerros|ylin kerros|floors?|street level)\b).*",
    re.IGNORECASE,
)
FLAT_WORD = (
    r"(?:as|asunto|huoneisto|bst|bostad|lgh|lägenhet|whg|wohnung|wohnungsnr|apt|app|apartment|tür|top)\b\.?"
    r"\s*(?:nr\.?\s*)?"
)
HOUSE = re.compile(
    rf"""
    (?:(?:nr|nro|no)\.?\s*)?
    (?P<number>
        \d{{1,4}}(?:\s?(?:bis|ter|quater)\b|[a-z](?!\w))?
        (?:\s?[-–—]\s?(?:\d{{1,4}}[a-z]?|[a-z])(?!\w))?
        (?:\s?[;+&]\s?\d{{1,4}}[a-z]?(?!\w))*
    )(?!\w)
    (?P<slashes>(?:\s?/\s?(?:stiege\s|stg\.?\s?|top\s|tür\s)?\s*(?:\d{{1,4}}[a-z]?|[a-z])(?!\w)){{1,3}})?
    (?:,?\s*\b(?:stiege|stg\.?|porras|rappu|trappa)\s*(?P<named_stair>\d{{1,2}}|[a-z])(?!\w))?
    (?:\s(?P<letter>[a-z](?:\s?[-–/]\s?[a-z])?)(?![\w.']))?
    (?:
        \s?(?P<flat>(?<=[a-z\s])\d{{1,3}}(?:\s?[a-z](?!\w))?)(?![\w.]|\s?[-–]\s?\d)
        |,?\s*\b{FLAT_WORD}(?P<named_flat>\d{{1,4}}\s?[a-z]?)(?!\w)
    )?
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A house number with what follows it; the street stands before."""
GLUED = re.compile(r"^(\d{1,4})\s?([A-Za-z])(\d{1,3})(?!\w)")
"""`5B12` and `5 B12` for `5 B 12`."""
STREET_END = re.compile(r"(?<=[^\W\d_.])\s+(?=(?:nr|nro|no)?\.?\s*\d)|(?<=[.)\d'])\s+(?=\d)", re.IGNORECASE)
ATTACHED = re.compile(
    r"(?P<stem>[^\W\d_]{3,}(?:str\.|straße|strasse|weg|gasse|katu|tie))(?P<number>\d.*)", re.IGNORECASE
)
ORDINAL = re.compile(
    r"\d{1,3}\.\s?(?=[^\W\d_])|\d{1,3}(?:er|ère|re|ème)\b|(?<=^Straße\s)\d{1,3}(?=\s\d{1,3}(?!\d))", re.IGNORECASE
)
"""Digits that belong to the street: `Straße des 17. Juni`, `Boulevard Albert 1er`, Berlin's `Straße 101`."""
CANTON = re.compile(r"\s+\(?(?:ZH|BE|LU|UR|SZ|OW|NW|GL|ZG|FR|SO|BS|BL|SH|AR|AI|SG|GR|AG|TG|TI|VD|VS|NE|GE|JU)\)?$")
NUMBER = re.compile(r"(?P<low>\d+)(?P<letter>[a-z]*)(?:-(?P<high>\d*)(?P<last>[a-z]?))?")


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an address; empty where nothing is said."""

    street: str = ""
    """As printed, for instance `Hauptstr.`."""
    number: str = ""
    """`6`, `6-8`, `12a`, `12a-c`, `7;9`, `12/1`: lower case, without spaces."""
    stair: str = ""
    """Finland: letters of the entrance, upper case. Austria: number of the Stiege."""
    flat: str = ""
    postcode: str = ""
    city: str = ""
    district: str = ""
    care_of: str = ""
    country: Country | None = None
    rest: tuple[str, ...] = ()
    """What was not understood or does not tell the place: storeys, post boxes, names of houses."""


def parse_address(text: str, country: Country | None = None) -> Address:
    """The parts of an address as printed on a portal; `country` where the source knows it.

    Parts are set apart by commas or line ends: `Koukkurannankatu 6 B 68, Vuores, 33870 Tampere`. A spaced letter after
    the number is a stair in Finland (`6 B`) and belongs to the number elsewhere (`26 a`). A number is a postcode only
    where it begins a part, follows a house number, carries a country prefix, or has five digits; four digits between
    street and city are a postcode if `country` has such postcodes, else a house number. Never raises; a text of
    more than `MOST_LETTERS` is no address, and all of it `rest`.
    """
    if len(text) > MOST_LETTERS:
        return Address(country=country, rest=(text,))
    joined = re.sub(rf"\s*,\s*(?=(?:stiege\s|stg\.?\s|{FLAT_WORD})\s*\d)", " ", _plain(text), flags=re.IGNORECASE)
    parts = [_tidy(part) for part in re.split(r"[,\n|•·]", joined)]
    return _Reading(country).read([part for part in parts if part])


def listing_fields(address: Address) -> dict[str, str]:
    """What an address says, by the names of a `Listing`'s fields."""
    names = ("street", "number", "stair", "flat", "postcode", "city", "district", "country")
    return {name: value for name in names if (value := getattr(address, name))}


def format_address(address: Address) -> str:
    """One line that `parse_address` reads back: `c/o Name, Street 6 B 68, District, 00530 City, Country`.

    What is in `rest` is left out.
    """
    house = " ".join(filter(None, (address.street, address.number)))
    if address.stair.isdigit():
        house += f" Stiege {address.stair}"
    elif address.stair:
        house += f" {address.stair}"
    if address.flat and (address.stair.isdigit() or address.country in ("DE", "AT", "CH", "LI")):
        house += f" Top {address.flat}"
    elif address.flat:
        house += f" {address.flat}" if address.stair else f" as {address.flat}"
    care_of = address.care_of and f"c/o {address.care_of}"
    place = " ".join(filter(None, (address.postcode, address.city)))
    country = {"FI": "Suomi", "DE": "Deutschland", "AT": "Österreich", "CH": "Schweiz", "LI": "Liechtenstein"}
    named = country[address.country] if address.country else ""
    return ", ".join(filter(None, (care_of, house, address.district, place, named)))


class _Reading:
    """What the parts read so far have given."""

    def __init__(self, country: Country | None) -> None:
        self._country = country
        self._found = Address(country=country)
        self._rest: list[str] = []
        self._plain: list[str] = []
        """Parts without digits, whose meaning depends on the others."""
        self._lone = ""

    def read(self, parts: list[str]) -> Address:
        for part in self._without_country(parts):
            self._read(part)
        self._place_plain()
        country = self._found.country or _guess_country(self._found)
        return replace(self._found, country=country, rest=tuple(self._rest))

    def _without_country(self, parts: list[str]) -> list[str]:
        named = COUNTRIES.get(parts[-1].casefold()) if len(parts) > 1 else None
        if named is None:
            return parts
        self._found = replace(self._found, country=self._country or named)
        return parts[:-1]

    def _read(self, part: str) -> None:
        if match := CARE_OF.fullmatch(part):
            self._found = replace(self._found, care_of=match["name"])
        elif POST_BOX.fullmatch(part) or STOREY.fullmatch(part):
            self._rest.append(part)
        elif not re.search(r"\d", part) or QUARTER.fullmatch(part):
            self._plain.append(part)
        elif not self._found.postcode and (match := POSTAL.fullmatch(part)) and self._is_postal(match):
            self._take_postal(match)
        elif not self._found.number and (house := _find_house(part, self._found.country)):
            self._take_house(*house)
        elif not self._found.number and self._plain and (match := HOUSE.fullmatch(part)):
            self._take_house(self._plain.pop(), match, "")
        elif not self._found.number and not self._lone and (match := HOUSE.fullmatch(part)):
            self._lone = part
        elif not self._take_leading(part):
            self._rest.append(part)

    def _is_postal(self, match: re.Match[str]) -> bool:
        """Whether a part that begins with four or five digits states a postcode and not a number that leads its street
        (`1200 rue de Lausanne`) or follows it after a comma (`Hauptstrasse, 1200`)."""
        if match["prefix"] or len(match["postcode"]) == 5:
            return True
        if not match["city"]:
            return bool(self._found.number)
        return match["postcode"] >= "1000" and not ROMANCE.match(match["city"])

    def _take_postal(self, match: re.Match[str]) -> None:
        prefix = COUNTRIES[match["prefix"].casefold()] if match["prefix"] else None
        self._found = replace(
            self._found, postcode=match["postcode"], country=self._found.country or prefix, **_city(match["city"] or "")
        )

    def _take_house(self, street: str, match: re.Match[str], after: str) -> None:
        self._found = replace(self._found, street=street)
        country = self._found.country or (None if not NORDIC.search(street) else "FI")
        if country is None and STREET.search(street):
            country = "DE"  # Or a neighbour: a spaced letter belongs to the number in each.
        self._found = replace(self._found, **_house(match, country))
        if not after:
            return
        if postal := AFTER.fullmatch(after):
            self._take_postal(postal)
        elif re.fullmatch(NAME, after.strip()) and not STOREY.fullmatch(after.strip()):
            self._plain.append(after.strip(" -–"))
        else:
            self._rest.append(after.strip())

    def _take_leading(self, part: str) -> bool:
        """Street and postcode without a house number (`Aleksanterinkatu 00100 Helsinki`), or the number before its
        street, as in French (`12 rue de Rive`)."""
        between = re.fullmatch(rf"(?P<street>{NAME}?)(?P<after>\s+{PREFIX}?\d{{4,5}}(?!\w)(?:\s+{NAME})?)", part)
        if between and not self._found.street and (postal := AFTER.fullmatch(between["after"])):
            self._found = replace(self._found, street=between["street"])
            self._take_postal(postal)
            return True
        leading = re.fullmatch(rf"(?P<number>\d{{1,4}}(?:\s?(?:bis|ter)\b|[a-z]\b)?)\s+(?P<street>{NAME})", part, re.I)
        if leading and not self._found.number and (match := HOUSE.fullmatch(leading["number"])):
            self._take_house(leading["street"], match, "")
            return True
        return False

    def _place_plain(self) -> None:
        found, plain = self._found, self._plain
        if self._lone and plain and not found.number and (match := HOUSE.fullmatch(self._lone)):
            self._take_house(plain.pop(0), match, "")  # `12, rue de Rive`
            found = self._found
        elif self._lone:
            self._rest.append(self._lone)
        if not found.street and plain:
            first = plain[0]
            alone = len(plain) == 1 and not found.city
            if _looks_like_street(first) or (not alone and found.city and " " in first):
                found = replace(found, street=plain.pop(0))
        if not found.city and plain:
            found = replace(found, **(_city(plain.pop()) | ({"district": found.district} if found.district else {})))
        plain = [part for part in plain if part != found.city]
        if plain and not found.district:
            found = replace(found, district=plain.pop())
        self._rest += plain
        self._found = found


def _find_house(part: str, country: Country | None) -> tuple[str, re.Match[str], str] | None:
    """(street, house number and what belongs to it, the text after), for a part that begins with a street."""
    if attached := ATTACHED.fullmatch(part):
        part = f"{attached['stem']} {attached['number']}"
    ordinals = [match.span() for match in ORDINAL.finditer(part)]
    for end in STREET_END.finditer(part):
        street = re.sub(r"(?i)\s(?:nr|nro)\.?$", "", part[: end.start()])
        tail = GLUED.sub(r"\1 \2 \3", part[end.end() :])
        if any(start <= end.end() < stop for start, stop in ordinals):
            continue
        match = HOUSE.match(tail)
        if match and (after := tail[match.end() :])[:1] in ("", " ", "(", "-"):
            return None if _is_postcode(match[0], after, country) else (street, match, after)
    return None


def _is_postcode(digits: str, after: str, country: Country | None) -> bool:
    """Whether the one number between a street and a name is a postcode."""
    if not re.fullmatch(r"\d{4}", digits) or not re.fullmatch(rf"\s+{NAME}", after) or STOREY.fullmatch(after.strip()):
        return False
    return country in ("AT", "CH", "LI") or int(digits) in LIECHTENSTEIN


def _house(match: re.Match[str], country: Country | None) -> dict[str, Any]:
    """Number, stair and flat of a match of HOUSE, by the habits of the country."""
    number, stair = _tight(match["number"]), match["named_stair"] or ""
    flat = _tight(match["flat"] or match["named_flat"] or "")
    letter = re.sub(r"\s", "", match["letter"] or "").replace("–", "-")
    upper = re.fullmatch(r"(\d{1,4})([A-Z])", match["number"])
    if upper and not letter and (country == "FI" or (country is None and flat)):
        number, stair = upper[1], upper[2]
    if letter and (country in (None, "FI") or flat):
        stair = letter.upper()
    elif letter:
        number += letter.lower()
    behind = [_tight(re.sub(r"(?i)stiege|stg\.?|top|tür", "", one)) for one in (match["slashes"] or "").split("/")[1:]]
    if behind and (country == "AT" or len(behind) > 1 or re.search("[a-zäöü]{2}", match["slashes"], re.I)):
        *stairs, flat = behind
        stair = stairs[0].upper() if stairs else stair
    elif behind:
        number += f"/{behind[0]}"
    return {"number": number, "stair": stair.upper(), "flat": flat}


def _city(text: str) -> dict[str, Any]:
    """City and district of `Berlin (Mitte)`, `Berlin - Mitte`, `Wil (SG)`."""
    text = text.strip(" -–")
    if match := re.fullmatch(r"(?P<city>.+?)(?:\s+[-–/]\s+(?P<after>.+)|\s*\((?P<within>[^)]+)\))", text):
        within = match["after"] or match["within"]
        if re.fullmatch("[A-Z]{2}", within):
            return {"city": f"{match['city']} {within}"}
        return {"city": match["city"], "district": within}
    return {"city": text}


def _guess_country(address: Address) -> Country | None:
    nordic, german = NORDIC.search(address.street), STREET.search(address.street)
    if len(address.postcode) == 4:
        return "LI" if int(address.postcode) in LIECHTENSTEIN else None
    if nordic and not german:
        return "FI"
    return "DE" if german and len(address.postcode) == 5 and not ROMANCE.match(address.street) else None


def _looks_like_street(text: str) -> bool:
    """For a name without number: many a district is called -berg or -ranta, too."""
    return bool((NORDIC.search(text) or STREET.search(text)) and not ALSO_A_QUARTER.search(text))


def _plain(text: str) -> str:
    return re.sub(r"[^\S\n]+", " ", unicodedata.normalize("NFC", text).replace("\u200b", "").replace("\u00ad", ""))


def _tidy(part: str) -> str:
    return part.strip(" \t\r;.-–").strip() if not part.rstrip().endswith(".") else part.strip(" \t\r;-–")


def _tight(text: str) -> str:
    return re.sub(r"\s", "", text).replace("–", "-").replace("—", "-").lower()


@dataclass(frozen=True, slots=True)
class HouseNumber:
    """`12a-c` or `6-8` as numbers: from `low` to `high`, with the letters of its ends."""

    low: int
    high: int
    letter: str = ""
    last: str = ""

    def covers(self, number: int) -> bool:
        """Whether a plain number lies within; a range of even ends covers even numbers alone, likewise odd ones."""
        same_side = self.low % 2 != self.high % 2 or number % 2 == self.low % 2
        return self.low <= number <= self.high and same_side


def parse_numbers(number: str) -> tuple[HouseNumber, ...]:
    """The house numbers that `Address.number`, or a register's `23 B` and `7;9`, means; none if
    it has none."""
    return tuple(_each_number(number.lower()))


def _each_number(number: str) -> Iterator[HouseNumber]:
    first, *others = re.split(r"[;+&,]", re.sub(r"\s", "", number))
    for match in (NUMBER.match(first), *map(NUMBER.fullmatch, others)):
        if match:
            low = int(match["low"])
            high = max(int(match["high"] or low), low)
            yield HouseNumber(low, high, match["letter"], match["last"] or "")


@lru_cache(maxsize=65536)
def fold_street(street: str) -> str:
    """A street for comparison: `Josef Rheinberger Straße`, `Josef-Rheinberger-Str.` and `JOSEF-RHEINBERGER-STRASSE` are
    one, `Müllerweg` and `Muellerweg`, `St. Johanner` and `Sankt Johanner`, too. Keeps letters and digits."""
    text = street.casefold().strip()
    text = re.sub(r"\b(?:sankt|saint)\b|\bst\.", "st ", text)
    text = re.sub(r"str(?:ass?e|\.)?$", "str", text)  # `casefold` has made ss of ß.
    text = re.sub(r"(?<=\w)pl\.$", "platz", text)
    text = re.sub(r"(?<=[^\W\d_]{4})k\.$", "katu", text)
    text = re.sub(r"(?<=[^\W\d_]{4})t\.$", "tie", text)
    return _letters(text)


@lru_cache(maxsize=16384)
def fold_city(city: str) -> str:
    """A city for comparison, without Swiss canton: `Wil (SG)`, `Wil SG` and `Wil` are one."""
    return _letters(CANTON.sub("", city.strip()).casefold())


UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "oe"})


def _letters(text: str) -> str:
    # Not a for ä: Triesenberg has a Bödastrasse and a Bodastrasse, 1.2 km apart.
    spelled = unicodedata.normalize("NFC", text).translate(UMLAUTS)
    return "".join(one for one in unicodedata.normalize("NFKD", spelled) if one.isalnum())


def comparable(address: Address) -> tuple[str, str, str, str]:
    """(street, number, postcode, city), each folded: two spellings of one address give the same."""
    return fold_street(address.street), _tight(address.number), address.postcode, fold_city(address.city)


def same_address(one: Address, other: Address) -> bool:
    """Whether two addresses mean one house: street and number, and what both say of postcode and city.

    Ranges agree where they overlap; 12 and 12a differ, but `23 B` (a stair) agrees with `23b` and with `23`.
    """
    if not one.street or fold_street(one.street) != fold_street(other.street):
        return False
    if one.postcode and other.postcode and one.postcode != other.postcode:
        return False
    if not (one.postcode and other.postcode):
        cities = fold_city(one.city), fold_city(other.city)
        if all(cities) and cities[0] != cities[1]:
            return False
    return any(
        _same_number(left, one.stair, right, other.stair)
        for left in parse_numbers(one.number)
        for right in parse_numbers(other.number)
    )


def _same_number(one: HouseNumber, stair: str, other: HouseNumber, other_stair: str) -> bool:
    if not (one.covers(other.low) or other.covers(one.low)):
        return False
    if one.low != other.low or one.letter == other.letter:
        return True
    if one.last or other.last:
        ranged, single = (one, other) if one.last else (other, one)
        return ranged.letter <= single.letter <= ranged.last
    if one.letter and other.letter:
        return False
    return (one.letter or other.letter) == (other_stair if one.letter else stair).lower()
