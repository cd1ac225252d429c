"""The markets of the offer: what a printed market text asks, as data.

A text is compared without accents, case and blanks, so that a missing space glyph or a capital changes nothing.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

OTHER = "other"
"""Key of a market that the table below does not know. Its text is kept verbatim."""

RESULT = {"H": "home", "D": "draw", "V": "away"}
TEAMS = {"H": "home", "D": "equal", "V": "away"}
UNDER_OVER = {"H": "under", "V": "over"}
YES_NO = {"H": "yes", "V": "no"}
ODD_EVEN = {"H": "odd", "V": "even"}
DOUBLE_CHANCE = {"H": "1X", "D": "12", "V": "X2"}
HALVES = {"H": "1H", "D": "equal", "V": "2H"}
NEXT_GOAL = {"H": "home", "D": "none", "V": "away"}
COLUMNS = {"H": "H", "D": "D", "V": "V"}


@dataclass(frozen=True, slots=True)
class Market:
    """What is asked, by one row of the offer."""

    key: str
    period: str = "FT"
    """`FT`, `1H`, `2H`, or `FT+ET` with extra time."""
    side: str | None = None
    """`home` or `away` where the market is about one team."""
    line: float | None = None
    """The number to be over or under, or to start from."""
    param: str | None = None
    """What else distinguishes markets of one key: a score, a player, a number."""
    outcome: str | None = None
    """The outcome as printed, where each has a row of its own."""
    outcomes: Mapping[str, str] | None = None
    """The outcome that stands in column H, D or V, where one row holds several."""

    def outcome_in(self, column: str, kim: str) -> str:
        """The name of the outcome that a price of this row belongs to."""
        if self.outcome:
            return self.outcome
        if kim:
            return kim
        return (self.outcomes or COLUMNS).get(column, column)


_N = r"\d+(?:[.,]\d+)?"
_LISTED = r"(?:\((?P<outcome>.+)\))?"

# key, pattern over folded text without blanks, outcomes by column. A side before the pattern turns `total_*` to
# `team_total_*`. Keys and their frequency in print are listed in the format notes of the source.
_MARKETS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("match_result", r"(?:1x2)?", RESULT),
    ("total_goals", rf"golszam(?P<line>{_N})", UNDER_OVER),
    ("goals_band", r"golszam\((?P<outcome>\d-\d|\d\+)\)", {}),
    ("exact_goals", r"golszam\(pontosan\)\((?P<outcome>.+)\)", {}),
    ("goals_odd_even", r"golszam:?parosvagyparatlan\??", ODD_EVEN),
    ("result_and_total_goals", rf"1x2\+golszam(?P<line>{_N}){_LISTED}", {}),
    ("handicap_3way", r"hendikep(?P<param>\d+:\d+)", RESULT),
    ("btts", r"mindketcsapatszerezgolt\??", YES_NO),
    ("result_and_btts", rf"1x2\+mindketcsapatszerezgolt\??{_LISTED}", {}),
    ("btts_and_total_goals", rf"mindketcsapatszerezgolt\??\+golszam(?P<line>{_N}){_LISTED}", {}),
    ("halftime_fulltime", rf"felido/vegeredmeny{_LISTED}", {}),
    ("double_chance", r"ketesely", DOUBLE_CHANCE),
    ("draw_no_bet", r"dontetlennelatetvisszajar", TEAMS),
    ("player_to_score_if_starting", r"(?P<param>.+?)kezdoke?n+t?szerezgolt\??", YES_NO),
    ("player_n_goals_if_starting", r"(?P<param>.+?)kezdoke?n+t?legalabb(?P<line>\d+)goltszerez\??", YES_NO),
    ("total_corners", rf"szogletszam(?P<line>{_N})", UNDER_OVER),
    ("corners_handicap_2way", rf"szoglethendikep(?P<line>[+-]?{_N})(?:\(hazai.+\))?", TEAMS),
    ("most_corners", r"melyikcsapatvegezeltobbszogletet\??", TEAMS),
    ("corners_range", r"szogletekszama", {}),
    ("correct_score_group", r"pontosvegeredmenyek\((?P<outcome>.+)\)", {}),
    ("correct_score", r"pontosvegeredmeny\((?P<outcome>.+)\)", {}),
    ("first_minutes_result", r"azelso(?P<param>\d+)perceredmenye(?:\(.+\))?", RESULT),
    ("total_cards", rf"buntetolap-?szam(?P<line>{_N})", UNDER_OVER),
    ("most_cards", r"melyikcsapatkaptobbbuntetolapot\??", TEAMS),
    ("both_teams_carded", r"mindketcsapatkapbuntetolapot\??", YES_NO),
    ("both_teams_n_cards", r"mindketcsapatlegalabb(?P<param>\d+)buntetolapotkap\??", YES_NO),
    ("red_card", r"leszkiallitas\??", YES_NO),
    ("penalty_awarded", r"lesz11-es\??", YES_NO),
    ("own_goal", r"leszongol\??", YES_NO),
    ("to_qualify", r"kijuttovabb\??", TEAMS),
    ("to_lift_trophy", r"kinyeriaz?(?P<param>.+?)\??", TEAMS),
    ("extra_time_and_goal", r"leszhosszabbitas\??\+leszgolahosszabbitasban\??", YES_NO),
    ("decided_by_shootout", r"atovabbjutas11-esparbajbandolel\??", YES_NO),
    ("both_halves_over", rf"mindketfelidobentobb,?mint(?P<line>{_N})gollesz\??", YES_NO),
    ("both_halves_under", rf"mindketfelidobenkevesebb,?mint(?P<line>{_N})gollesz\??", YES_NO),
    ("half_with_most_goals", r"melyikfelidobenlesztobbgol\??", HALVES),
    ("team_half_with_most_goals", r"melyikfelidobenszereztobbgolt\??", HALVES),
    ("team_wins_both_halves", r"nyerimindketfelidot\??", YES_NO),
    ("nth_goal_team", r"melyikcsapatszerzia\(?z?\)?(?P<param>\d+)\.golt\??", NEXT_GOAL),
    ("total_shots", rf"kapuratartogolszerzesikiserletekszama(?P<line>{_N})", UNDER_OVER),
    (
        "total_shots_on_target",
        rf"kapueltalalogolszerzesikiserletekszama(?P<line>{_N})".replace("kapu", "kaput"),
        UNDER_OVER,
    ),
    ("total_offsides", rf"lesszam(?P<line>{_N})", UNDER_OVER),
)
_PATTERNS = tuple((key, re.compile(pattern), outcomes) for key, pattern, outcomes in _MARKETS)
_OF_ONE_TEAM = frozenset({"team_half_with_most_goals", "team_wins_both_halves"})

_PERIOD = re.compile(r"([12])\.felido-")
_SIDE = re.compile(r"(hazaicsapat|vendegcsapat)-?")
_EXTRA_TIME = re.compile(r"\(hosszabbitassal\)")
_LEGEND = re.compile(r"\((?=h:|d:|v:)[^()]*\)$")
_LEGEND_ITEM = re.compile(r"([hdv]):(.*?)(?=[,.]?a?[hdv]:|$)")
_LEGEND_WORDS = (
    (re.compile(r"kev(?:es|esebb)?\.?"), "under"),
    (re.compile(r"tobb"), "over"),
    (re.compile(r"igen"), "yes"),
    (re.compile(r"nem"), "no"),
    (re.compile(r"ptlan|paratlan"), "odd"),
    (re.compile(r"paros"), "even"),
    (re.compile(r"1"), "home"),
    (re.compile(r"2"), "away"),
    (re.compile(r"ua\.?"), "equal"),
    (re.compile(r"1\.fi\.?"), "1H"),
    (re.compile(r"2\.fi\.?"), "2H"),
    (re.compile(r"0gol"), "none"),
    (re.compile(r"1x"), "1X"),
    (re.compile(r"x2"), "X2"),
)


@dataclass(frozen=True, slots=True)
class _Squeezed:
    """Folded text without blanks, and where each of its characters comes from."""

    text: str
    places: tuple[int, ...]

    def original(self, printed: str, span: tuple[int, int]) -> str:
        start, stop = span
        return printed[self.places[start] : self.places[stop - 1] + 1].strip()


def _squeeze(printed: str) -> _Squeezed:
    kept = [(_base(character), place) for place, character in enumerate(printed) if not character.isspace()]
    return _Squeezed("".join(letter for letter, _ in kept), tuple(place for _, place in kept))


def _base(character: str) -> str:
    """One lower-case letter without accent, always one character."""
    return unicodedata.normalize("NFKD", character)[0].lower()[0]


@lru_cache(maxsize=4096)
def classify(printed: str) -> Market:
    """The market of a printed text; an empty text is the match result."""
    squeezed = _squeeze(printed)
    text = squeezed.text
    start, period = 0, "FT"
    if found := _PERIOD.match(text):
        start, period = found.end(), f"{found[1]}H"
    side = None
    if found := _SIDE.match(text, start):
        start, side = found.end(), "home" if found[1] == "hazaicsapat" else "away"
    legend = _LEGEND.search(text)
    stop = legend.start() if legend else len(text)
    if found := _EXTRA_TIME.search(text, start, stop):
        stop, period = found.start(), "FT+ET"
    printed_outcomes = _outcomes(legend[0]) if legend else {}
    for key, pattern, outcomes in _PATTERNS:
        found = pattern.fullmatch(text, start, stop)
        if found and (key in _OF_ONE_TEAM) <= (side is not None) and _fits(key, start, stop, side):
            groups = found.groupdict()
            return Market(
                key=f"team_{key}" if side and key not in _OF_ONE_TEAM else key,
                period=period,
                side=side,
                line=float(groups["line"].replace(",", ".")) if groups.get("line") else None,
                param=squeezed.original(printed, found.span("param")) if groups.get("param") else None,
                outcome=squeezed.original(printed, found.span("outcome")) if groups.get("outcome") else None,
                outcomes={**outcomes, **printed_outcomes},
            )
    return Market(OTHER, period, side, outcomes=printed_outcomes)


def _fits(key: str, start: int, stop: int, side: str | None) -> bool:
    """An empty rest is the match result only where nothing but nothing was printed; a team alone has no result."""
    if key == "match_result":
        return side is None and (start == 0 or stop > start)
    return side is None or key in _OF_ONE_TEAM or key.startswith("total_")


def _outcomes(legend: str) -> dict[str, str]:
    """What the text says about its own columns: `(H: kev., V: több)`. It wins over the table."""
    return {
        column.upper(): next((name for pattern, name in _LEGEND_WORDS if pattern.fullmatch(word)), word)
        for column, raw in _LEGEND_ITEM.findall(legend[1:-1])
        if (word := raw.strip(",").removesuffix(",a"))
    }
