"""A printed name put together with the competition it stands in."""

from dataclasses import dataclass

from tidemill.football.teams.competitions import Competition, parse_competition
from tidemill.football.teams.kinds import Kind
from tidemill.football.teams.names import TeamName, parse_name
from tidemill.football.teams.teams import Side


@dataclass(frozen=True, slots=True)
class Question:
    """A name in its competition."""

    raw: str
    scope: str
    name: TeamName
    competition: Competition
    side: Side


def ask(raw: str, scope: str) -> Question:
    """Put together what the name and the competition tell."""
    name, competition = parse_name(raw), parse_competition(scope)
    kind = Kind(name.kind.women or competition.women, name.kind.age or competition.age, name.kind.reserve)
    country = name.country or competition.country
    nation = None if competition.sides == "any" else competition.sides == "nations"
    return Question(raw, scope, name, competition, Side(kind, (country,) if country else (), nation))
