"""A printed team name, taken apart: the words that name the club, its club forms, and the marks of its kind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.football.teams import words
from tidemill.football.teams.countries import by_mark
from tidemill.football.teams.fold import fold
from tidemill.football.teams.kinds import Kind

_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]?")
_AGE = re.compile(r"u(1[5-9]|2[0-3])(?!\d)")
_SPACED_AGE = re.compile(r"\bu (1[5-9]|2[0-3])(?![^\W_])")


@dataclass(frozen=True, slots=True)
class TeamName:
    spelling: str
    """Folded, with everything that was printed but the country mark: equal for the same spelling in any case."""
    words: tuple[str, ...]
    """What tells this club from others, in the order of print; never empty for a name with letters or digits."""
    forms: frozenset[str]
    """Club forms and state marks that were left out of the words."""
    kind: Kind
    """As far as the name tells."""
    country: str = ""
    """From a mark such as `(KSA)`."""

    @property
    def key(self) -> tuple[str, ...]:
        """The words in an order that printing does not change (`FF Malmö`, `Malmö FF`)."""
        return tuple(sorted(self.words))

    def __str__(self) -> str:
        return " ".join(self.words)


def parse_name(raw: str) -> TeamName:
    """Take a name apart; pure, total, and stable: parsing the words again gives the same words."""
    text, country, women = _take_brackets(raw)
    spelling = fold(text)
    parts = [words.SYNONYMS.get(word, word) for word in _SPACED_AGE.sub(r"u\1", spelling).split()]
    forms: set[str] = set()
    age = reserve = 0
    before: list[str] = []
    while parts != before:  # A mark may stand behind a mark.
        before = parts
        parts, found = _take_age(parts)
        age = age or found
        named = [word for word in parts if word not in words.WOMEN]
        if named and len(named) < len(parts):
            women, parts = True, named
        parts, found = _take_reserve(parts)
        reserve = reserve or found
        parts, left_out = split_forms(parts)
        forms.update(left_out)
    return TeamName(spelling, tuple(parts), frozenset(forms), Kind(women, age, reserve), country)


def _take_brackets(raw: str) -> tuple[str, str, bool]:
    """The name without its bracketed marks, the country and whether they say women; other brackets are words."""
    country, women = "", False

    def take(bracket: re.Match[str]) -> str:
        nonlocal country, women
        content = fold(bracket[1])
        if content in words.WOMEN or content == "w":
            women = True
        elif content in by_mark():
            country = by_mark()[content].code
        else:
            return f" {bracket[1]} "
        return " "

    return (_BRACKETS.sub(take, raw) if "(" in raw or "[" in raw else raw), country, women


def _take_age(parts: list[str]) -> tuple[list[str], int]:
    """The name without its age, wherever it stands: `u21spanyolorszag`, `spain u21`, `u 21 spain`."""
    for at, word in enumerate(parts):
        if (found := _AGE.match(word)) and (len(parts) > 1 or len(word) > len(found[0])):
            return [*parts[:at], *([word[found.end() :]] if len(word) > found.end() else ()), *parts[at + 1 :]], int(
                found[1]
            )
    return parts, 0


def _take_reserve(parts: list[str]) -> tuple[list[str], int]:
    """The name without its reserve mark, and the number of the team (2, 3) or 0.

    Numbers that belong to the name stay: `PK-35`, `Schalke 04`, `Willem II`, `ADC Juan Pablo II`.
    """
    if len(parts) > 1 and parts[0] == words.JONG:
        return parts[1:], 2
    last = len(parts) - 1
    while last > 0 and parts[last] in words.CLUB:
        last -= 1
    if last < 1 or parts[last - 1] in words.REGNAL:
        return parts, 0
    team = 2 if parts[last] in words.RESERVE else 3 if parts[last] in words.THIRD else 0
    return (parts[:last] + parts[last + 1 :], team) if team else (parts, 0)


def split_forms(parts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that identify, and the club forms that do not; all words where the rest would identify nothing."""
    core: list[str] = []
    forms: list[str] = []
    end = max((at for at, word in enumerate(parts) if word not in words.CLUB), default=0)
    for at, word in enumerate(parts):
        last = at == end
        if word in words.CLUB or (word in words.CONNECTING and not last) or (word in {"1", "1."} and not last):
            continue
        if word in words.CLUB_FORMS or (last and at and word in words.STATES):
            forms.append(word)
        else:
            core.append(word)
    telling = [word for word in core if word not in words.ADDED and len(word) > 1]
    if len(telling) > 1 or any(word not in words.GENERIC for word in telling):
        return core, forms
    kept = [word for word in parts if word not in words.CONNECTING]
    return kept or list(parts), []
