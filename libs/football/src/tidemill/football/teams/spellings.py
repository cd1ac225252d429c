"""The spellings that are known, found by their words: equal, misprinted, shortened."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import log

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from tidemill.football.teams import words
from tidemill.football.teams.names import TeamName
from tidemill.football.teams.teams import Side, Team

_EDGE = 3
"""A misprint spares the first or the last three letters of a word of six, and four of a word of eight."""
_ENOUGH = 16
"""Candidates that are compared word by word, half where no country narrows them and no likeness but that of all
letters is accepted. Rare words come first, so the rest shares common words only."""


@dataclass(frozen=True, slots=True)
class Spelling:
    name: TeamName
    team: Team
    side: Side
    """Whom this spelling can mean. The kind is the printed one: `Klubi 04` bears no mark and is a reserve side."""
    registered: bool = False
    own: bool = False
    """The team's own name, not an alias."""
    level: int = 0
    """An alias that holds in leagues of this level only."""


class Spellings:
    """An index that grows; one word's spellings are kept by country, so that common words stay cheap."""

    def __init__(self, spellings: Iterable[Spelling] = ()) -> None:
        self._by_key: dict[tuple[str, ...], list[Spelling]] = {}
        self._by_word: dict[str, dict[str, list[Spelling]]] = {}
        self._by_edge: dict[str, list[str]] = {}
        self._glued: dict[str, list[Spelling]] = {}
        for spelling in spellings:
            self.add(spelling)

    def add(self, spelling: Spelling) -> None:
        name = spelling.name
        self._by_key.setdefault(name.key, []).append(spelling)
        for letters in _glued(name):
            self._glued.setdefault(letters, []).append(spelling)
        for word in set(name.words):
            if word not in self._by_word:
                self._by_word[word] = {}
                for edge in chain.from_iterable(_edges(word, size) for size in (_EDGE, _EDGE + 1) if len(word) > size):
                    self._by_edge.setdefault(edge, []).append(word)
            for country in spelling.side.countries or ("",):
                self._by_word[word].setdefault(country, []).append(spelling)

    def same_words(self, name: TeamName) -> list[Spelling]:
        return self._by_key.get(name.key, [])

    def same_letters(self, name: TeamName) -> list[Spelling]:
        """The same words written together or apart (`KaPa`, `Ka Pa`, `FlamengoRJ`)."""
        return [spelling for letters in _glued(name) for spelling in self._glued.get(letters, ())]

    def alike(self, name: TeamName, countries: tuple[str, ...]) -> list[Spelling]:
        """Spellings that share a word, or nearly so, in these countries (in any, if none are given)."""
        enough = _ENOUGH if countries else _ENOUGH // 2
        found = sorted(
            (list(chain.from_iterable(self._having(word, countries))) for word in self._similar_words(name)), key=len
        )
        candidates: dict[int, Spelling] = {}
        for spellings in found:
            if candidates and len(candidates) + len(spellings) > enough:
                break
            candidates.update((id(spelling), spelling) for spelling in spellings[:enough])
        return list(candidates.values())

    def weight(self, word: str, countries: tuple[str, ...]) -> float:
        """How much a word tells in these countries: 1, and less the more spellings have it."""
        known = sum(map(len, self._having(word, countries)))
        return (0.3 if word in words.ADDED else 0.6 if word in words.GENERIC else 1.0) / (1.0 + log(max(1, known)))

    def _having(self, word: str, countries: tuple[str, ...]) -> list[list[Spelling]]:
        places = self._by_word.get(word, {})
        if not countries:
            return list(places.values())
        return [places[country] for country in (*countries, "") if country in places]

    def _similar_words(self, name: TeamName) -> set[str]:
        similar = {word for word in name.words if word in self._by_word}
        for word in name.words:
            stem = word.removesuffix(".")
            if stem != word:
                similar.update(known for known in self._by_edge.get(f"{stem[:_EDGE]}-", ()) if known.startswith(stem))
            elif len(word) > 4:
                for edge in _edges(word, _EDGE + (len(word) > 7)):
                    near = extract(word, self._by_edge.get(edge, ()), scorer=OSA.distance, score_cutoff=1, limit=None)
                    similar.update(known for known, _, _ in near)
        return similar


def _edges(word: str, size: int) -> tuple[str, str]:
    return f"{word[:size]}-", f"-{word[-size:]}"


def _glued(name: TeamName) -> set[str]:
    return {"".join(name.words), name.spelling.replace(" ", "").replace(".", "")}
