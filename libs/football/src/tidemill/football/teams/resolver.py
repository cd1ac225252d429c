"""From a printed name to a team: the same spelling, a user's alias, the register, likeness, a person, a new team."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, partial

from tidemill.football.teams.competitions import parse_competition
from tidemill.football.teams.likeness import likeness
from tidemill.football.teams.matches import (
    DOUBTFUL,
    GLUED,
    NOTED,
    Match,
    best_of_each_team,
    fault,
    judge,
    objection,
    rank,
)
from tidemill.football.teams.names import parse_name
from tidemill.football.teams.question import Question, ask
from tidemill.football.teams.register import registered, registered_teams
from tidemill.football.teams.spellings import Spelling, Spellings
from tidemill.football.teams.teams import Side, Team, other_id, read_team, refusal, team_id
from tidemill.plugin import Candidate, KnownName, Resolution
from tidemill.plugin.vocabulary import Method

CANDIDATES = 5
"""Near misses that an answer carries."""
REMEMBERED = 100_000
"""Answers kept for names met in other leagues than the ones they are known from."""


class TeamResolver:
    """Implements `tidemill.plugin.Resolver`."""

    def __init__(self, known: Iterable[KnownName], remembered: int = REMEMBERED) -> None:
        self._aliases: dict[str, list[KnownName]] = {}
        self._known: dict[tuple[str, str], Resolution] = {}
        self._waiting: list[KnownName] = []
        self._spellings: Spellings | None = None
        self._remembered: dict[tuple[str, str], Resolution] = {}
        self._room = remembered
        self._ids: set[str] = set()
        for entry in known:
            self._ids.add(entry.entity)
            if entry.by_user:
                self._aliases.setdefault(parse_name(entry.raw).spelling, []).append(entry)
            else:
                self._waiting.append(entry)
        for entry in self._waiting:
            if not (self._aliases and parse_name(entry.raw).spelling in self._aliases):
                self._known[entry.raw, entry.scope] = _same_spelling(entry.raw, entry.scope, entry)

    def known(self, raw: str, scope: str) -> Resolution | None:
        place = (raw, scope)
        return self._known.get(place) or self._remembered.get(place) or self._look_up(ask(raw, scope))

    def resolve(self, raw: str, scope: str) -> Resolution:
        place = (raw, scope)
        if answer := self._known.get(place) or self._remembered.get(place):
            return answer
        question = ask(raw, scope)
        return self._look_up(question) or self._compare(question)

    def learn(self, resolution: Resolution) -> None:
        entry = KnownName(resolution.raw, resolution.scope, resolution.entity, resolution.name, resolution.kind)
        self._known[entry.raw, entry.scope] = _same_spelling(entry.raw, entry.scope, entry)
        self._ids.add(entry.entity)
        self._index().add(_spelling_of(entry))

    def _look_up(self, question: Question) -> Resolution | None:
        """What needs no likeness: an alias, or the only team with these words."""
        answer = self._by_alias(question) or self._by_words(question, self._same_words(question))
        if answer is None or answer.method == "review":
            return None
        if len(self._remembered) >= self._room:
            self._remembered.clear()
        self._remembered[question.raw, question.scope] = answer
        return answer

    def _compare(self, question: Question) -> Resolution:
        same = self._same_words(question)
        return self._by_words(question, same) or self._by_likeness(question, same)

    def _index(self) -> Spellings:
        """Built when first needed: a run that meets known names only does without."""
        if self._spellings is None:
            self._spellings = Spellings(registered())
            for entry in (*self._waiting, *(alias for same in self._aliases.values() for alias in same)):
                self._spellings.add(_spelling_of(entry))
            self._ids.update(registered_teams())
        return self._spellings

    def _by_alias(self, question: Question) -> Resolution | None:
        """A user's alias: one for this competition, else one for any that the guards allow."""
        aliases = [(alias, _team_of(alias)) for alias in self._aliases.get(question.name.spelling, ())]
        here = [
            team for alias, team in aliases if alias.scope and parse_competition(alias.scope) == question.competition
        ]
        anywhere = [team for alias, team in aliases if not alias.scope and not refusal(question.side, _side_of(team))]
        for team in (*here, *anywhere):
            return _answer(question, team, "alias", 1.0, "alias set by a user")
        return None

    def _same_words(self, question: Question) -> list[Match]:
        return [judge(question, spelling, 1.0) for spelling in self._index().same_words(question.name)]

    def _by_words(self, question: Question, same: Sequence[Match]) -> Resolution | None:
        """The team whose name has the same words, if there is one and no other."""
        allowed = [match for match in same if not match.refused_by]
        if not allowed:
            return None
        best = max(rank(question, match) for match in allowed)
        chosen = {match.team.id: match for match in allowed if rank(question, match) == best}
        rivals = {match.team.id for match in allowed}
        match = next(iter(chosen.values()))
        if len(chosen) > 1 or (len(rivals) > 1 and match.spelling.name.forms != question.name.forms):
            near = [replace(match, refused_by=match.refused_by or "margin") for match in same]
            return self._own(question, "review", "several teams have these words", near, doubt=1.0)
        return _by_same_words(question, match, [other for other in same if other.refused_by])

    def _by_likeness(self, question: Question, same: Sequence[Match]) -> Resolution:
        """The one team that is alike enough and far more alike than any other; else a team of its own."""
        index = self._index()
        weight = cache(partial(index.weight, countries=question.side.countries))
        glued = [judge(question, spelling, GLUED) for spelling in index.same_letters(question.name)]
        matches = [match for match in glued if match.spelling.name.key != question.name.key]
        for spelling in index.alike(question.name, question.side.countries):
            like = likeness(question.name.words, spelling.name.words, weight)
            if like.score >= NOTED and spelling.name.key != question.name.key:
                matches.append(judge(question, spelling, like.score, like))
        ranked = best_of_each_team(matches)
        allowed = [match for match in ranked if not match.refused_by]
        doubt = fault(question, allowed) if allowed else ""
        near = [*same, *(replace(match, refused_by=objection(match) or doubt or "less alike") for match in ranked)]
        if not allowed or allowed[0].score < DOUBTFUL:
            return self._own(question, "new", "no known name is alike enough", near)
        if doubt:
            return self._own(question, "review", doubt, near, doubt=allowed[0].score)
        best = allowed[0]
        return _answer(question, best.team, "fuzzy", best.score, f"like {best.spelling.name.spelling}", near)

    def _own(
        self, question: Question, method: Method, reason: str, near: Sequence[Match], *, doubt: float = 0.0
    ) -> Resolution:
        """A team of the name's own; `doubt` is the likeness of the team that it might be instead."""
        id = team_id(question.name.words, "".join(question.side.countries), question.side.kind)
        if id in self._ids:
            id = other_id(id, question.name.spelling)
        kind = question.side.kind
        name = question.raw if question.name.kind == kind else kind.of(question.raw)
        return _answer(question, Team(id, name, kind), method, 1.0 - doubt / 2, reason, best_of_each_team(near))


def _team_of(entry: KnownName) -> Team:
    return registered_teams().get(entry.entity) or read_team(entry.entity, entry.name, entry.kind)


def _side_of(team: Team) -> Side:
    return Side(team.kind, team.countries, team.nation if team.countries else None)


def _spelling_of(entry: KnownName) -> Spelling:
    """A name met before. Its team's country is that of the id, else that of the league it was met in."""
    question = ask(entry.raw, entry.scope)
    team = _team_of(entry)
    kind = question.side.kind if entry.scope else replace(question.side.kind, women=team.kind.women, age=team.kind.age)
    countries = team.countries or question.side.countries
    return Spelling(question.name, team, Side(kind, countries, team.nation if countries else question.side.nation))


def _same_spelling(raw: str, scope: str, entry: KnownName) -> Resolution:
    return Resolution(raw, scope, entry.entity, entry.name, entry.kind, 1.0, "exact", "same spelling")


def _by_same_words(question: Question, match: Match, refused: Sequence[Match]) -> Resolution:
    known = match.spelling
    same = known.name.spelling == question.name.spelling
    confidence = (1.0 if same else 0.97) if known.name.forms == question.name.forms else 0.93
    if not question.side.countries and known.side.countries:
        confidence -= 0.05
    reason = "same spelling" if same else f"same words as {known.name.spelling}"
    method: Method = "register" if known.registered else "exact" if same else "fuzzy"
    return _answer(question, match.team, method, confidence, reason, best_of_each_team(refused))


def _answer(
    question: Question, team: Team, method: Method, confidence: float, reason: str, near: Sequence[Match] = ()
) -> Resolution:
    candidates = tuple(
        Candidate(match.team.id, match.team.name, round(match.score, 3), match.refused_by)
        for match in near[:CANDIDATES]
        if match.team.id != team.id
    )
    return Resolution(
        question.raw,
        question.scope,
        team.id,
        team.name,
        team.kind.label,
        round(confidence, 3),
        method,
        reason,
        candidates,
    )
