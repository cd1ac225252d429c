"""How well a known spelling fits a question, what speaks against it, and which of several fits best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tidemill.football.teams.countries import by_code
from tidemill.football.teams.kinds import SENIOR
from tidemill.football.teams.likeness import Likeness
from tidemill.football.teams.question import Question
from tidemill.football.teams.spellings import Spelling
from tidemill.football.teams.teams import Side, Team, refusal

ACCEPTED = 0.8
"""Likeness from which a name is taken for a team, if no other comes near."""
MARGIN = 0.1
"""How much less alike the next best team has to be."""
GLUED = 0.97
"""Likeness of a name with the same letters, other spaces."""
DOUBTFUL = 0.55
"""Likeness from which a person is asked."""
NOTED = 0.2
"""Likeness from which a near miss is recorded."""


@dataclass(frozen=True, slots=True)
class Match:
    """A team that a name might mean, how much alike, and what speaks against it."""

    team: Team
    spelling: Spelling
    score: float
    refused_by: str = ""
    likeness: Likeness | None = None


def judge(question: Question, spelling: Spelling, score: float, like: Likeness | None = None) -> Match:
    """Judge one spelling: the guards, then the forms of the names."""
    team, side = spelling.team, spelling.side
    if spelling.registered and team.kind == SENIOR and side.kind == SENIOR and question.side.kind != SENIOR:
        team, side = team.of_kind(question.side.kind), replace(side, kind=question.side.kind)
    refused = refusal(question.side, side)
    if not refused and not _may_play(side, question.competition.confederation):
        refused = "confederation"
    if not refused and spelling.level and spelling.level != question.competition.level:
        refused = "level"
    forms, others = question.name.forms, spelling.name.forms
    if not refused and forms and others and not forms & others:
        refused = "club form"
    if not refused and question.side.countries and not side.countries:
        refused = "country unknown"
    return Match(team, spelling, score, refused, like)


def _may_play(side: Side, confederation: str) -> bool:
    known = {by_code()[country].confederation for country in side.countries}
    return not (known and confederation) or confederation in known


def rank(question: Question, match: Match) -> tuple[bool, ...]:
    """Which of several teams with the same words is meant: most telling first."""
    spelling = match.spelling
    return (
        spelling.name.forms == question.name.forms,
        spelling.level > 0,
        spelling.side.kind == question.side.kind,
        spelling.name.spelling == question.name.spelling,
        spelling.own,
    )


def best_of_each_team(matches: Iterable[Match]) -> list[Match]:
    best: dict[str, Match] = {}
    for match in sorted(matches, key=lambda match: (bool(match.refused_by), -match.score, match.team.id)):
        best.setdefault(match.team.id, match)
    return sorted(best.values(), key=lambda match: (-match.score, match.team.id))


def objection(match: Match) -> str:
    """What speaks against a match, whatever other teams there are."""
    if match.refused_by or match.likeness is None:
        return match.refused_by
    return match.likeness.fault or ("threshold" if match.score < ACCEPTED else "")


def fault(question: Question, allowed: Sequence[Match]) -> str:
    """Why the most alike team is not taken; empty if it is."""
    best = allowed[0]
    if reason := objection(best):
        return reason
    if not question.side.countries and best.score < GLUED:
        return "country unknown"
    if len(allowed) > 1 and allowed[1].score > best.score - MARGIN:
        return "margin"
    if best.likeness and any(best.likeness.missing):
        shared = best.likeness.shared
        return "margin" if any(rival.likeness and shared <= rival.likeness.shared for rival in allowed[1:]) else ""
    return ""
