"""Every market of the taxonomy, and texts that are not in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.football.markets import OTHER, Market, classify

TAXONOMY = [
    ("", "match_result", "FT", None, None, None, None),
    ("Gólszám 2,5 (H: kev., V: több)", "total_goals", "FT", None, 2.5, None, None),
    ("Gólszám (0-1)", "goals_band", "FT", None, None, None, "0-1"),
    ("Gólszám (6+)", "goals_band", "FT", None, None, None, "6+"),
    ("Gólszám (pontosan) (0)", "exact_goals", "FT", None, None, None, "0"),
    ("Gólszám: páros vagy páratlan (H: Ptlan, V: Páros)", "goals_odd_even", "FT", None, None, None, None),
    ("1X2 + Gólszám 2,5 (Hazai és kevesebb)", "result_and_total_goals", "FT", None, 2.5, None, "Hazai és kevesebb"),
    ("1. félidő - 1X2 + Gólszám 1,5", "result_and_total_goals", "1H", None, 1.5, None, None),
    ("Hendikep 0:1", "handicap_3way", "FT", None, None, "0:1", None),
    ("Mindkét csapat szerez gólt (H: Igen, V: Nem)", "btts", "FT", None, None, None, None),
    ("1. félidő - Mindkét csapat szerez gólt? (H: Igen, V: Nem)", "btts", "1H", None, None, None, None),
    ("1X2 + Mindkét csapat szerez gólt (Vendég és nem)", "result_and_btts", "FT", None, None, None, "Vendég és nem"),
    (
        "Mindkét csapat szerez gólt + Gólszám 2,5 (Igen és több, mint 2,5)",
        "btts_and_total_goals",
        "FT",
        None,
        2.5,
        None,
        "Igen és több, mint 2,5",
    ),
    (
        "Félidő/végeredmény (Döntetlen/Al-Hilal (KSA))",
        "halftime_fulltime",
        "FT",
        None,
        None,
        None,
        "Döntetlen/Al-Hilal (KSA)",
    ),
    ("Kétesély (H: 1X, D: 12, V: X2)", "double_chance", "FT", None, None, None, None),
    ("2. félidő - Kétesély (H: 1X, D: 12, V: X2)", "double_chance", "2H", None, None, None, None),
    ("Döntetlennél a tét visszajár", "draw_no_bet", "FT", None, None, None, None),
    (
        "Esther Gonzalez kezdőként szerez gólt? (H: Igen)",
        "player_to_score_if_starting",
        "FT",
        None,
        None,
        "Esther Gonzalez",
        None,
    ),
    (
        "Marin Jurina kezdőkénnt szerez gólt? (H: Igen)",
        "player_to_score_if_starting",
        "FT",
        None,
        None,
        "Marin Jurina",
        None,
    ),
    (
        "Memphis Depay kezdőként legalább 2 gólt szerez? (H: Igen)",
        "player_n_goals_if_starting",
        "FT",
        None,
        2.0,
        "Memphis Depay",
        None,
    ),
    ("1. félidő - 1X2", "match_result", "1H", None, None, None, None),
    ("2. félidő - 1X2", "match_result", "2H", None, None, None, None),
    ("Szögletszám 8,5 (H: kev., V: több)", "total_corners", "FT", None, 8.5, None, None),
    ("Hazai csapat szögletszám 5,5 (H: kev., V: több)", "team_total_corners", "FT", "home", 5.5, None, None),
    (
        "Pontos végeredmények (Real Madrid 3:2, 4:2, 4:3, 5:1)",
        "correct_score_group",
        "FT",
        None,
        None,
        None,
        "Real Madrid 3:2, 4:2, 4:3, 5:1",
    ),
    ("Pontos végeredmény (U21Németország 1:0)", "correct_score", "FT", None, None, None, "U21Németország 1:0"),
    ("Az első 10 perc eredménye (0-9:59)", "first_minutes_result", "FT", None, None, "10", None),
    ("Hazai csapat - Gólszám 0,5 (H: kev., V: több)", "team_total_goals", "FT", "home", 0.5, None, None),
    ("1. félidő - Vendégcsapat - Gólszám 0,5 (H: kev., V: több)", "team_total_goals", "1H", "away", 0.5, None, None),
    ("Büntetőlap-szám 4,5 (H: kev., V: több)", "total_cards", "FT", None, 4.5, None, None),
    ("1. félidő - Büntetőlap-szám 0,5 (H: kev., V: több)", "total_cards", "1H", None, 0.5, None, None),
    ("Ki jut tovább?", "to_qualify", "FT", None, None, None, None),
    (
        "Szöglet hendikep -1,5 (Hazai -1,5, Vendég +1,5)",
        "corners_handicap_2way",
        "FT",
        None,
        -1.5,
        None,
        None,
    ),
    (
        "Melyik csapat végez el több szögletet? (H: 1,a D: ua., V: 2)",
        "most_corners",
        "FT",
        None,
        None,
        None,
        None,
    ),
    ("Szögletek száma (H: 0-8, D: 9-11, V: 12+)", "corners_range", "FT", None, None, None, None),
    (
        "Lesz hosszabbítás+Lesz gól a hosszabbításban? (H: Igen, V: Nem)",
        "extra_time_and_goal",
        "FT",
        None,
        None,
        None,
        None,
    ),
    ("A továbbjutás 11-es párbajban dől el? (H: Igen, V: Nem)", "decided_by_shootout", "FT", None, None, None, None),
    ("Lesz 11-es? (H: Igen, V: Nem)", "penalty_awarded", "FT", None, None, None, None),
    (
        "Mindkét csapat legalább 2 büntetőlapot kap? (H: Igen, V: Nem)",
        "both_teams_n_cards",
        "FT",
        None,
        None,
        "2",
        None,
    ),
    ("Melyik csapat kap több büntetőlapot? (H: 1, D: ua., V: 2)", "most_cards", "FT", None, None, None, None),
    ("Mindkét csapat kap büntetőlapot? (H: Igen, V: Nem)", "both_teams_carded", "FT", None, None, None, None),
    ("Lesz kiállítás? (H: Igen, V: Nem)", "red_card", "FT", None, None, None, None),
    ("Ki nyeri a Szuper Kupát?", "to_lift_trophy", "FT", None, None, "Szuper Kupát", None),
    (
        "Mindkét félidőben több, mint 1,5 gól lesz? (H: Igen, V: Nem)",
        "both_halves_over",
        "FT",
        None,
        1.5,
        None,
        None,
    ),
    (
        "Mindkét félidőben kevesebb, mint 1,5 gól lesz? (H: Igen, V: Nem)",
        "both_halves_under",
        "FT",
        None,
        1.5,
        None,
        None,
    ),
    (
        "Melyik félidőben lesz több gól? (H: 1. fi, D: ua., V: 2. fi)",
        "half_with_most_goals",
        "FT",
        None,
        None,
        None,
        None,
    ),
    ("Lesz öngól?", "own_goal", "FT", None, None, None, None),
    ("Lesz öngól? (H: Igen)", "own_goal", "FT", None, None, None, None),
    (
        "Vendégcsapat melyik félidőben szerez több gólt? (H: 1. fi, D: ua., V: 2. fi)",
        "team_half_with_most_goals",
        "FT",
        "away",
        None,
        None,
        None,
    ),
    ("Melyik csapat szerzi a(z) 1. gólt? (H: 1, D: 0 gól, V: 2)", "nth_goal_team", "FT", None, None, "1", None),
    ("Hazai csapat nyeri mindkét félidőt? (H: Igen, V: Nem)", "team_wins_both_halves", "FT", "home", None, None, None),
    (
        "Kapura tartó gólszerzési kísérletek száma 29,5 (hosszabbítással) (H: kev., V: több)",
        "total_shots",
        "FT+ET",
        None,
        29.5,
        None,
        None,
    ),
    (
        "Kaput eltaláló gólszerzési kísérletek száma 8,5 (H: kev., V: több)",
        "total_shots_on_target",
        "FT",
        None,
        8.5,
        None,
        None,
    ),
    ("Lesszám 3,5 (H: keves, V: több)", "total_offsides", "FT", None, 3.5, None, None),
]


@pytest.mark.parametrize("text, key, period, side, line, param, outcome", TAXONOMY, ids=[row[0] for row in TAXONOMY])
def test_a_printed_text_has_its_market(
    text: str, key: str, period: str, side: str | None, line: float | None, param: str | None, outcome: str | None
) -> None:
    market = classify(text)
    found = (market.key, market.period, market.side, market.line, market.param, market.outcome)
    assert found == (key, period, side, line, param, outcome)


@pytest.mark.parametrize("row", TAXONOMY, ids=[row[0] for row in TAXONOMY])
def test_blanks_case_and_accents_change_nothing(row: tuple[str, ...]) -> None:
    text = row[0]
    for other in (text.replace(" ", ""), text.upper(), text.replace(" ", "  "), text.replace("ő", "o")):
        assert classify(other).key == classify(text).key
        assert classify(other).line == classify(text).line


@pytest.mark.parametrize(
    "text, outcomes",
    [
        ("", {"H": "home", "D": "draw", "V": "away"}),
        ("Gólszám 2,5 (H: kev., V: több)", {"H": "under", "V": "over"}),
        ("Gólszám 2,5 (H: több, V: kev.)", {"H": "over", "V": "under"}),
        ("Mindkét csapat szerez gólt (H: Igen, V: Nem)", {"H": "yes", "V": "no"}),
        ("Gólszám: páros vagy páratlan (H: Ptlan, V: Páros)", {"H": "odd", "V": "even"}),
        ("Kétesély (H: 1X, D: 12, V: X2)", {"H": "1X", "D": "12", "V": "X2"}),
        ("Szögletek száma (H: 0-8, D: 9-11, V: 12+)", {"H": "0-8", "D": "9-11", "V": "12+"}),
        ("Melyik csapat kap több büntetőlapot? (H: 1,a D: ua., V: 2)", {"H": "home", "D": "equal", "V": "away"}),
        ("Melyik félidőben lesz több gól? (H: 1. fi, D: ua., V: 2. fi)", {"H": "1H", "D": "equal", "V": "2H"}),
        ("Melyik csapat szerzi a(z) 1. gólt? (H: 1, D: 0 gól, V: 2)", {"H": "home", "D": "none", "V": "away"}),
        ("Lesszám 3,5 (H: keves, V: több)", {"H": "under", "V": "over"}),
        ("Ki jut tovább?", {"H": "home", "V": "away"}),
    ],
)
def test_a_column_stands_for_what_the_text_says(text: str, outcomes: dict[str, str]) -> None:
    market = classify(text)
    assert {column: market.outcome_in(column, "") for column in outcomes} == outcomes


def test_an_outcome_of_its_own_row_has_its_printed_name_or_its_number() -> None:
    assert classify("Gólszám (0-1)").outcome_in("H", "01") == "0-1"
    assert classify("1. félidő - 1X2 + Gólszám 1,5").outcome_in("H", "04") == "04"


@pytest.mark.parametrize(
    "text",
    ["Hány csapat szerez gólt? 8,5", "Lesz eső?", "Hazai csapat - 1X2", "1. félidő -", "Gólszám", "Hendikep 1,5"],
)
def test_an_unknown_text_is_other(text: str) -> None:
    assert classify(text).key == OTHER


@given(st.text(max_size=90))
def test_any_text_has_exactly_one_market(text: str) -> None:
    market = classify(text)
    assert isinstance(market, Market)
    assert market == classify(text)
    assert all(market.outcome_in(column, "") for column in "HDV")
