"""The vocabulary of team names: printed names to teams, women, youth and reserves kept apart."""

from collections.abc import Iterable

from tidemill.football.teams.batch import resolve_all
from tidemill.football.teams.resolver import TeamResolver
from tidemill.plugin import KnownName, Vocabulary

__all__ = ["TEAMS", "TeamVocabulary", "resolve_all"]


class TeamVocabulary:
    """Implements `tidemill.plugin.Vocabulary`; a scope is a league as printed."""

    name = "football.team"

    def open(self, known: Iterable[KnownName]) -> TeamResolver:
        return TeamResolver(known)


TEAMS: Vocabulary = TeamVocabulary()
