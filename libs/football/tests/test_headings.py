"""Headings tell day, sport and league, and nothing else is a heading."""

from datetime import date

import pytest

from tidemill.football.headings import DayHeading, LeagueHeading, names_a_sport, parse_heading


@pytest.mark.parametrize(
    "text, sport, league",
    [
        ("Labdarúgás, Dél-koreai bajnokság \uf153 : 9. oldal", "Labdarúgás", "Dél-koreai bajnokság"),
        ("Labdarúgás, Norvég 3., 2. csoport ► : 8, 9. oldal", "Labdarúgás", "Norvég 3., 2. csoport"),
        ("Labdarúgás, Argentin 2 : 13,14. oldal", "Labdarúgás", "Argentin 2"),
        ("Labdarúgás, U19 Eb, női, rájátszás", "Labdarúgás", "U19 Eb, női, rájátszás"),
        ("3x3 Kosárlabda, Képzelt torna", "3x3 Kosárlabda", "Képzelt torna"),
        ("Labdarúgás, MLS (folytatás)", "Labdarúgás", "MLS"),
        ("Labdarúgás, NB I (speciális)", "Labdarúgás", "NB I (speciális)"),
    ],
)
def test_a_league_heading_names_sport_and_league(text: str, sport: str, league: str) -> None:
    assert parse_heading(text) == LeagueHeading(sport, league)


@pytest.mark.parametrize(
    "sport, is_football",
    [
        ("Labdarúgás", True),
        ("LABDARÚGÁS", True),
        ("Virtuális Labdarúgás", False),
        ("Amerikai foci", False),
        ("Futsal", False),
        ("3x3 Kosárlabda", False),
    ],
)
def test_only_football_is_football(sport: str, is_football: bool) -> None:
    assert LeagueHeading(sport, "MLS").is_football is is_football


def test_a_day_heading_comes_before_a_league() -> None:
    assert parse_heading("Péntek (2025. június 27.)") == DayHeading(date(2025, 6, 27))


@pytest.mark.parametrize(
    "text",
    [
        "szuper odds – labdarúgás, u19 eb, női, rájátszás",
        "D: 12, V: X2)",
        "kev., V: több)",
        "(Hazai +1,5, Vendég -1,5)",
        "Igen és több, mint 2,5)",
        "4:2, 4:3, 5:1)",
        "Rövidítések:",
        "fogadási ajánlat",
        "2,04 3,30",
        "",
    ],
)
def test_the_tail_of_a_cell_is_no_heading(text: str) -> None:
    assert parse_heading(text) is None


def test_a_sport_seen_in_print_is_known() -> None:
    assert names_a_sport("Aussie Rules, AFL")
    assert not names_a_sport("Ujkmjartá, MLS")
