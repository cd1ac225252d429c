"""Who plays in a competition, told from its printed name: which country, women or youth, clubs or nations."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tidemill.football.teams.countries import by_adjective
from tidemill.football.teams.fold import fold
from tidemill.football.teams.kinds import AGE_UNKNOWN

Sides = Literal["clubs", "nations", "any"]

_WOMEN = re.compile(r"\b(noi|women|womens|nwsl|wsl|uwcl|femenin[ao]|feminin[ao]?|frauen|damallsvenskan|toppserien)\b")
_AGE = re.compile(r"\bu ?(1[5-9]|2[0-3])\b")
_YOUTH = re.compile(r"\b(ifjusagi|touloni?|youth|primavera|utanpotlas)\b")
_NATIONS = re.compile(
    r"\b(vb|eb|valogatott\w*|nemzetek|gold|copa america|olimpiai?|azsia kupa|azsiai kupa|arab kupa|nations|euro"
    r"|world cup|baltic cup|balti kupa|touloni|afrika kupa|copa centroamericana|finalissima)\b"
)
_CLUBS = re.compile(
    r"\b(klubcsapat|klub|bl|el|kl|bajnokok|europa|konferencia|libertadores|sudamericana|recopa|leagus cup|ufa szuper"
    r"|club|champions|conference)\b"
)
_CONFEDERATIONS = tuple(
    (re.compile(rf"\b({words})\b"), confederation)
    for words, confederation in (
        ("libertadores|sudamericana|recopa|conmebol|del amerikai", "CONMEBOL"),
        ("concacaf|leagus cup|kozep amerikai", "CONCACAF"),
        ("azsiai|asian|afc", "AFC"),
        ("afrikai|caf", "CAF"),
        ("oceaniai|ofc", "OFC"),
        ("bl|el|kl|bajnokok ligaja|champions leagu|europa|konferencia|conference|ufa", "UEFA"),
    )
)
_LEVELS = tuple(
    (re.compile(rf"\b({printed})(?=[ ,]|$)"), level)
    for printed, level in (
        (r"2\.?|ii|b|championship", 2),
        (r"3\.?|iii|c", 3),
        (r"4\.?|iv", 4),
        (r"bajnoksag|liga|i|mls|nwsl", 1),
    )
)


@dataclass(frozen=True, slots=True)
class Competition:
    text: str
    """Folded, without group and stage: `Klubcsapat vb, G csoport` and `Klubcsapat vb` are one competition."""
    country: str
    """ISO code of the football association; empty for international competitions and friendlies."""
    confederation: str
    """Whose clubs an international competition is for; empty for a country's own, for nations, and if unknown."""
    women: bool
    age: int
    sides: Sides
    level: int
    """As printed: 1 for a championship, 2 for `Norvég 2.` and `NB II`; 0 for cups and where nothing tells."""


@lru_cache(maxsize=4096)
def parse_competition(league: str) -> Competition:
    """Pure and total: whatever nothing is known about is open to every team."""
    text = fold(league)
    country = _country(text)
    women = _WOMEN.search(text) is not None
    age = int(found[1]) if (found := _AGE.search(text)) else AGE_UNKNOWN if _YOUTH.search(text) else 0
    sides: Sides = "any"
    if country or _CLUBS.search(text):
        sides = "clubs"
    elif age or _NATIONS.search(text):
        sides = "nations"
    confederation = ""
    if sides == "clubs" and not country:
        confederation = next((name for pattern, name in _CONFEDERATIONS if pattern.search(text)), "")
    level = 0
    head = fold(league.partition(",")[0])
    if country and "kupa" not in head and " cup" not in head:
        level = next((level for pattern, level in _LEVELS if pattern.search(head)), 0)
    return Competition(head.replace(".", ""), country, confederation, women, age, sides, level)


def _country(text: str) -> str:
    """The country of the longest adjective that the league's name begins with."""
    parts = text.replace(".", "").split()
    adjectives = by_adjective()
    for length in range(min(4, len(parts)), 0, -1):
        if found := adjectives.get(" ".join(parts[:length])):
            return found.code
    return ""
