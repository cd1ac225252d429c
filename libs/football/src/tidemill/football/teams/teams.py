"""A team and its id, and what forbids that two names mean one team."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

from tidemill.football.teams.countries import by_code
from tidemill.football.teams.kinds import SENIOR, Kind, difference

NATION = "nation"
ANYWHERE = "xx"
"""In ids, for a team whose country nothing told (ISO 3166 leaves `XX` to users)."""


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    name: str
    kind: Kind = SENIOR
    countries: tuple[str, ...] = ()
    """The associations in whose competitions it plays; empty if unknown. A nation has its own."""
    nation: bool = False

    def of_kind(self, kind: Kind) -> "Team":
        """The women, youth or reserve side of a club or nation."""
        return replace(self, id=".".join((self.id, *kind.tags)), name=kind.of(self.name), kind=kind)


def team_id(words: Collection[str], country: str, kind: Kind) -> str:
    """`se.malmo.women`, `xx.foo.reserve`: the same for the same words in any order, so that replicas agree unasked."""
    slug = "-".join(word.rstrip(".") for word in sorted(words)) or "unnamed"
    return ".".join((country.lower() or ANYWHERE, slug, *kind.tags))


def nation_id(country: str) -> str:
    return f"{NATION}.{country.lower()}"


def other_id(taken: str, spelling: str) -> str:
    """An id for a team that shares its words with another one: told apart by the full spelling."""
    place, slug, *tags = taken.split(".")
    return ".".join((place, f"{slug}~{hashlib.blake2s(spelling.encode(), digest_size=4).hexdigest()}", *tags))


def read_team(id: str, name: str, label: str) -> Team:
    """The team of an id that was given out before; an id of foreign making tells nothing, so its label is believed."""
    place, _, rest = id.partition(".")
    slug, *tags = rest.split(".")
    kind = Kind.from_tags(tags)
    if kind is None or kind.label != label:
        return Team(id, name, Kind.of_label(label))
    if place == NATION:
        return Team(id, name, kind, (slug.upper(),), nation=True)
    return Team(id, name, kind, (place.upper(),) if place.upper() in by_code() else ())


@dataclass(frozen=True, slots=True)
class Side:
    """What a name and its competition, or a known spelling, tell about the team. Nothing known is open to all."""

    kind: Kind
    countries: tuple[str, ...] = ()
    nation: bool | None = None


def refusal(one: Side, other: Side) -> str:
    """The guard that forbids one team for both: women, age, reserve, nation, country; empty if none. Symmetric."""
    if kinds := difference(one.kind, other.kind):
        return kinds
    if one.nation is not None and other.nation is not None and one.nation != other.nation:
        return "nation"
    if one.countries and other.countries and not set(one.countries) & set(other.countries):
        return "country"
    return ""
