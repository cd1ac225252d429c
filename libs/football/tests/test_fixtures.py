"""What makes a match, and what makes a market of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill.football.datasets import MATCH, Match
from tidemill.football.fixtures import Event, Fixture, parse_event
from tidemill.football.markets import classify
from tidemill.football.rows import Price

ODDS = (Price("H", 1.5),)


@pytest.mark.parametrize(
    "text, home, away, venue",
    [
        ("Girona - Rayo Vallecano", "Girona", "Rayo Vallecano", None),
        ("Dél-Korea - Bosznia-Hercegovina", "Dél-Korea", "Bosznia-Hercegovina", None),
        ("Spanyolország - Svájc (Helyszín: Svájc)", "Spanyolország", "Svájc", "Svájc"),
        ("Real Madrid - Al-Hilal (KSA)", "Real Madrid", "Al-Hilal (KSA)", None),
        ("Turku PS – PK-35", "Turku PS", "PK-35", None),
        ("1. FC Köln - Busan I'Park", "1. FC Köln", "Busan I'Park", None),
    ],
)
def test_an_event_names_two_sides(text: str, home: str, away: str, venue: str | None) -> None:
    event = parse_event(text.replace("–", "-"))
    assert event
    assert (event.home, event.away, event.venue) == (home, away, venue)


@pytest.mark.parametrize("text", ["NB I, 4. forduló (6 mérkőzés)", "A - B - C", "Girona-Rayo", " - B", "", "- -"])
def test_a_text_without_exactly_two_sides_is_no_event(text: str) -> None:
    assert parse_event(text) is None


def test_country_marks_do_not_make_another_match() -> None:
    marked, plain = parse_event("Real Madrid - Al-Hilal (KSA)"), parse_event("Real Madrid - Al-Hilal")
    assert marked and plain
    assert marked.identity == plain.identity


@pytest.fixture
def fixture() -> Fixture:
    return Fixture("12345:a:b", Event("A", "B", None, ("a", "b")))


@pytest.mark.parametrize(
    "text, kim, key",
    [
        ("", "", "match_result/FT"),
        ("1. félidő - 1X2", "", "match_result/1H"),
        ("Gólszám 2,5 (H: kev., V: több)", "", "total_goals/FT/2.5"),
        ("Hendikep 0:1", "", "handicap_3way/FT/0:1"),
        ("Hazai csapat - Gólszám 1,5 (H: kev., V: több)", "", "team_total_goals/FT/home/1.5"),
        ("1X2 + Gólszám 2,5 (Hazai és kevesebb)", "01", "result_and_total_goals/FT/2.5/hazai es kevesebb"),
        ("1. félidő - 1X2 + Gólszám 1,5", "04", "result_and_total_goals/1H/1.5/kim 04"),
        ("Ákos Tóth kezdőként szerez gólt? (H: Igen)", "", "player_to_score_if_starting/FT/akos toth"),
        ("Lesz eső?", "", "other/FT/lesz eso?"),
    ],
)
def test_a_market_is_known_by_what_it_asks(text: str, kim: str, key: str, fixture: Fixture) -> None:
    assert fixture.add_row(classify(text), text, "10001", kim, ODDS) == key


def test_the_serial_is_part_of_a_key_only_where_a_bet_is_offered_twice(fixture: Fixture) -> None:
    market = classify("Hendikep 0:1")
    assert fixture.add_row(market, "Hendikep 0:1", "10001", "", ODDS) == "handicap_3way/FT/0:1"
    assert fixture.add_row(market, "Hendikep 0:1", "10002", "", ODDS) == "handicap_3way/FT/0:1@10002"


def test_a_row_printed_again_answers_with_its_first_prices(fixture: Fixture) -> None:
    market = classify("")
    fixture.add_row(market, "", "10001", "", ODDS)
    assert fixture.add_row(market, "", "10001", "", (Price("H", 9.0),)) == ODDS


def match(**changes: Any) -> Match:
    known: dict[str, Any] = {
        "date": "2025-06-27",
        "time": "23:00",
        "kickoff": datetime(2025, 6, 27, 21, tzinfo=UTC),
        "league": "Uruguayi bajnokság",
        "home": "Plaza Colonia",
        "away": "CA Cerro",
        "venue": None,
        "serial": "12345",
    }
    return Match(**{**known, **changes})


@pytest.mark.parametrize("days, same", [(0, True), (1, True), (21, True), (22, False), (-21, True), (-40, False)])
def test_a_kickoff_may_move_by_three_weeks(days: int, same: bool) -> None:
    assert MATCH.same_fact
    moved = match(kickoff=datetime(2025, 6, 27, 21, tzinfo=UTC) + timedelta(days=days))
    assert MATCH.same_fact(match(), moved) is same


def test_a_match_without_a_date_is_the_one_under_its_key() -> None:
    assert MATCH.same_fact
    assert MATCH.same_fact(match(), match(date=None, kickoff=None))
