"""Leagues as printed: country, women, youth, clubs or nations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.football.teams.competitions import parse_competition
from tidemill.football.teams.countries import by_adjective, by_mark, by_name, countries
from tidemill.football.teams.fold import fold


@pytest.mark.parametrize(
    "league, country, level",
    [
        ("Kínai bajnokság", "CN", 1),
        ("Norvég 3., 2. csoport", "NO", 3),
        ("Argentin 2", "AR", 2),
        ("Spanyol 2, rájátszás a feljutásért", "ES", 2),
        ("Dél-koreai 2.", "KR", 2),
        ("Feröer-szigeteki bajnokság", "FO", 1),
        ("LengyeL bajnokság", "PL", 1),
        ("Észak-Ír bajnokság", "GB-NIR", 1),
        ("Ír FA Kupa", "IE", 0),
        ("Olasz B, bennmaradásért", "IT", 2),
        ("Premier Liga", "GB-ENG", 1),
        ("Orosz Premier Liga", "RU", 1),
        ("USL Championship", "US", 2),
        ("MLS", "US", 1),
        ("NB I", "HU", 1),
        ("NB II", "HU", 2),
        ("NWSL, női", "US", 1),
        ("Mexikói Bajnokok Szuper Kupája", "MX", 0),
    ],
)
def test_a_league_tells_its_country(league: str, country: str, level: int) -> None:
    competition = parse_competition(league)
    assert (competition.country, competition.level, competition.sides) == (country, level, "clubs")


@pytest.mark.parametrize(
    "league, sides",
    [
        ("Klubcsapat vb, G csoport", "clubs"),
        ("BL-selejtező", "clubs"),
        ("KL-selejtező", "clubs"),
        ("Copa Libertadores", "clubs"),
        ("vb-selejtező, Ázsia, C csoport", "nations"),
        ("Gold Cup, D csoport", "nations"),
        ("Afrikai Nemzetek Bajnoksága", "nations"),
        ("U21 Eb", "nations"),
        ("Touloni Ifjúsági Torna", "nations"),
        ("Felkészülési mérkőzés", "any"),
        ("", "any"),
    ],
)
def test_an_international_competition_has_no_country(league: str, sides: str) -> None:
    assert (parse_competition(league).country, parse_competition(league).sides) == ("", sides)


@pytest.mark.parametrize(
    "league, confederation",
    [
        ("BL-selejtező", "UEFA"),
        ("Ázsiai BL", "AFC"),
        ("Afrikai Bajnokok Ligája", "CAF"),
        ("Copa Sudamericana", "CONMEBOL"),
        ("Leagues Cup", "CONCACAF"),
        ("Klubcsapat vb", ""),
        ("Gold Cup", ""),
        ("Svéd 2.", ""),
    ],
)
def test_a_continental_club_competition_tells_its_confederation(league: str, confederation: str) -> None:
    assert parse_competition(league).confederation == confederation


@pytest.mark.parametrize(
    "league, women, age",
    [
        ("Svéd bajnokság, női", True, 0),
        ("NWSL", True, 0),
        ("U19 Eb, női, rájátszás", True, 19),
        ("U21 Eb", False, 21),
        ("Touloni Ifjúsági Torna", False, 1),
        ("Svéd bajnokság", False, 0),
    ],
)
def test_a_league_tells_women_and_youth(league: str, women: bool, age: int) -> None:
    assert (parse_competition(league).women, parse_competition(league).age) == (women, age)


def test_groups_and_stages_are_one_competition() -> None:
    assert parse_competition("Argentin 2., B csoport") == parse_competition("Argentin 2")
    assert parse_competition("Klubcsapat vb, A csoport") == parse_competition("Klubcsapat vb")


@given(st.text(max_size=40))
def test_any_text_is_a_competition(league: str) -> None:
    assert parse_competition(league).sides in {"clubs", "nations", "any"}


def test_no_two_countries_share_a_code_a_name_an_adjective_or_a_mark() -> None:
    assert len({country.code for country in countries()}) == len(countries()) > 200
    for country in countries():
        assert {by_name()[fold(name)].code for name in country.names} == {country.code}
        assert {by_adjective()[fold(adjective)].code for adjective in country.adjectives} == {country.code}
        assert {by_mark()[mark.casefold()].code for mark in country.marks} == {country.code}
