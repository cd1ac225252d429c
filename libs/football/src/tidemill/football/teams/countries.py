"""Countries as the paper names them: national teams, adjectives of leagues, marks behind a name."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tidemill.football.teams.fold import fold


@dataclass(frozen=True, slots=True)
class Country:
    """`code` is ISO 3166, with parts for the four British associations; other texts are as printed."""

    code: str
    confederation: str
    names: tuple[str, ...]
    adjectives: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[0]


@cache
def countries() -> tuple[Country, ...]:
    table = (files(__package__) / "countries.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines() if line and not line.startswith("#"))
    return tuple(
        Country(code, confederation, *(tuple(part.split("; ")) for part in parts))
        for code, confederation, *parts in rows
    )


@cache
def by_code() -> dict[str, Country]:
    return {country.code: country for country in countries()}


@cache
def by_name() -> dict[str, Country]:
    """Folded national teams."""
    return {fold(name): country for country in countries() for name in country.names}


@cache
def by_adjective() -> dict[str, Country]:
    """Folded beginnings of league names."""
    return {fold(adjective): country for country in countries() for adjective in country.adjectives}


@cache
def by_mark() -> dict[str, Country]:
    """Folded marks as in `Al-Hilal (KSA)`."""
    return {mark.casefold(): country for country in countries() for mark in country.marks}
