"""The shipped register of clubs: `register.txt`, and the national teams of every country."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import chain

from tidemill.football.teams.countries import countries
from tidemill.football.teams.kinds import SENIOR, Kind
from tidemill.football.teams.names import TeamName, parse_name
from tidemill.football.teams.spellings import Spelling
from tidemill.football.teams.teams import Side, Team, nation_id, team_id

_OPTIONAL = re.compile(r" ?\[([^\]]+)\] ?")
_KINDS = {"women": Kind(women=True), "reserve": Kind(reserve=2)}
_LEVEL = re.compile(r" @(\d)$")


@cache
def registered() -> tuple[Spelling, ...]:
    """Every spelling of the register and of the nations."""
    text = (files(__package__) / "register.txt").read_text(encoding="utf-8")
    return (*_nations(), *read_register(text))


@cache
def registered_teams() -> dict[str, Team]:
    return {spelling.team.id: spelling.team for spelling in registered()}


def read_register(text: str) -> tuple[Spelling, ...]:
    """Spellings of a register: a line a team, its own name first, then aliases behind `;`.

    `[SE]` opens a country (`[US CA]`: plays in both), `women:` and `reserve:` a team with a name of its own. Words in
    square brackets may be left out (`Aurora [Cochabamba]`); `Gent @2` holds in second leagues only.
    """
    entries = list(_read_entries(text))
    taken = Counter(team_id(entry.own.words, entry.countries[0], entry.kind) for entry in entries)
    return tuple(chain.from_iterable(_spellings(entry, taken) for entry in entries))


@dataclass(frozen=True, slots=True)
class _Entry:
    names: tuple[str, ...]
    countries: tuple[str, ...]
    kind: Kind

    @property
    def name(self) -> str:
        return _with_optional(self.names[0])

    @property
    def own(self) -> TeamName:
        return parse_name(self.name)


def _read_entries(text: str) -> Iterator[_Entry]:
    places: tuple[str, ...] = ()
    for line in text.splitlines():
        entry = line.partition("#")[0].strip()
        if entry.startswith("[") and entry.endswith("]"):
            places = tuple(entry[1:-1].split())
        elif entry:
            label, colon, rest = entry.partition(": ")
            kind, entry = (_KINDS[label], rest) if colon and label in _KINDS else (SENIOR, entry)
            yield _Entry(tuple(name.strip() for name in entry.split(";")), places, kind)


def _spellings(entry: _Entry, taken: Counter[str]) -> Iterator[Spelling]:
    id = team_id(entry.own.words, entry.countries[0], entry.kind)
    if taken[id] > 1:  # Botafogo of Rio and of São Paulo: only the form tells.
        id = team_id((*entry.own.words, *entry.own.forms), entry.countries[0], entry.kind)
    team = Team(id, entry.name, entry.kind, entry.countries)
    seen = set()
    for name in entry.names:
        level = int(found[1]) if (found := _LEVEL.search(name)) else 0
        bare = _LEVEL.sub("", name)
        for printed in (_with_optional(bare), _OPTIONAL.sub(" ", bare).strip()):
            parsed = parse_name(printed)
            if parsed.spelling not in seen:
                seen.add(parsed.spelling)
                spoken = replace(parsed.kind, women=entry.kind.women)
                yield Spelling(
                    parsed, team, Side(spoken, entry.countries, nation=False), True, printed == team.name, level
                )


def _with_optional(name: str) -> str:
    return _OPTIONAL.sub(r" \1 ", name).strip()


def _nations() -> Iterator[Spelling]:
    for country in countries():
        team = Team(nation_id(country.code), country.name, SENIOR, (country.code,), nation=True)
        side = Side(SENIOR, (country.code,), nation=True)
        for name in country.names:
            yield Spelling(parse_name(name), team, side, True, name == country.name)
