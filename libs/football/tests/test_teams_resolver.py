"""The chain of answers: exact, alias, register, fuzzy, review, new."""

import pytest

from tidemill.football.teams import TEAMS, resolve_all
from tidemill.football.teams.resolver import TeamResolver
from tidemill.plugin import KnownName, Resolution


def seen(raw: str, league: str, entity: str, *, by_user: bool = False, kind: str = "senior") -> KnownName:
    return KnownName(raw, league, entity, raw, kind, by_user)


def resolve(raw: str, league: str, *known: KnownName) -> Resolution:
    return TEAMS.open(known).resolve(raw, league)


def refusals(answer: Resolution) -> dict[str, str]:
    return {candidate.entity: candidate.refused_by for candidate in answer.candidates}


def test_a_name_seen_before_is_known_by_a_look_up() -> None:
    resolver = TEAMS.open([seen("Foo", "Svéd 4.", "se.foo")])
    answer = resolver.known("Foo", "Svéd 4.")
    assert answer is not None
    assert (answer.entity, answer.method, answer.confidence) == ("se.foo", "exact", 1.0)


def test_a_name_that_needs_likeness_is_not_known() -> None:
    assert TEAMS.open([]).known("Malmberget Nowhere", "Svéd 4.") is None


def test_a_known_name_in_another_group_of_its_league_is_a_look_up_too() -> None:
    resolver = TEAMS.open([seen("Foobar IF", "Svéd 4.", "se.foobar")])
    answer = resolver.known("foobar IF", "Svéd 4., B csoport")
    assert answer is not None
    assert (answer.entity, answer.method) == ("se.foobar", "exact")
    assert resolver.known("foobar IF", "Svéd 4., B csoport") is answer


def test_the_register_knows_other_spellings() -> None:
    answer = resolve("AGF Aarhus", "Dán bajnokság")
    assert (answer.name, answer.method, answer.kind) == ("Aarhus GF", "register", "senior")
    assert answer.confidence > 0.95


def test_a_name_without_country_is_less_sure() -> None:
    assert resolve("FTC", "Felkészülési mérkőzés").confidence < resolve("FTC", "NB I").confidence


def test_a_near_miss_says_which_guard_refused_it() -> None:
    answer = resolve("Foobar", "Svéd bajnokság, női", seen("Foobar", "Svéd bajnokság", "se.foobar"))
    assert (answer.entity, answer.method) == ("se.foobar.women", "new")
    assert refusals(answer) == {"se.foobar": "women"}


@pytest.mark.parametrize(
    "raw, league, guard",
    [
        ("Foobar 2", "Svéd 4.", "reserve"),
        ("U19 Foobar", "Svéd 4.", "age"),
        ("Foobar", "Norvég 4.", "country"),
        ("Foobar", "vb-selejtező", "nation"),
        ("AD Foobar", "Svéd 4.", "club form"),
    ],
)
def test_a_guard_keeps_a_name_from_the_team_with_the_same_words(raw: str, league: str, guard: str) -> None:
    answer = resolve(raw, league, seen("CD Foobar", "Svéd 4.", "se.foobar"))
    assert answer.entity != "se.foobar"
    assert refusals(answer)["se.foobar"] == guard


def test_a_misprint_is_likely_the_team_it_resembles() -> None:
    answer = resolve("Foobarstadt Nord", "Német 4.", seen("Foobarstad Nord", "Német 4.", "de.foobarstad-nord"))
    assert (answer.entity, answer.method) == ("de.foobarstad-nord", "fuzzy")
    assert 0.8 < answer.confidence < 1


def test_a_missing_space_is_forgiven() -> None:
    known = seen("Foo Barville", "Walesi 3.", "gb-wls.barville-foo")
    assert resolve("FooBarville", "Walesi 3.", known).entity == "gb-wls.barville-foo"


def test_a_club_form_may_be_missing_or_added() -> None:
    known = seen("CS Foobar", "Argentin 4.", "ar.foobar")
    assert resolve("Foobar", "Argentin 4.", known).method == "fuzzy"
    assert resolve("FC CS Foobar", "Argentin 4.", known).entity == "ar.foobar"


def test_a_missing_club_form_that_two_clubs_have_goes_to_a_person() -> None:
    known = (seen("CD Foobar", "Spanyol 4.", "es.cd-foobar"), seen("UD Foobar", "Spanyol 4.", "es.foobar-ud"))
    answer = resolve("Foobar", "Spanyol 4.", *known)
    assert (answer.method, refusals(answer)) == ("review", {"es.cd-foobar": "margin", "es.foobar-ud": "margin"})


def test_an_abbreviation_of_two_known_names_goes_to_a_person() -> None:
    known = (seen("Racing Foobar", "Spanyol 4.", "es.racing"), seen("Real Foobar", "Spanyol 4.", "es.real"))
    answer = resolve("R. Foobar", "Spanyol 4.", *known)
    assert (answer.method, answer.reason) == ("review", "margin")
    assert (refusals(answer)["es.racing"], refusals(answer)["es.real"]) == ("margin", "margin")


def test_a_short_name_is_not_taken_for_one_of_several_longer_names() -> None:
    known = (seen("Foobar City", "Walesi 3.", "gb-wls.city"), seen("Foobar Rovers", "Walesi 3.", "gb-wls.rovers"))
    answer = resolve("Foobar", "Walesi 3.", *known)
    assert (answer.method, answer.reason) == ("review", "margin")


def test_a_longer_name_with_other_words_goes_to_a_person() -> None:
    answer = resolve("Foobar Syrianska", "Svéd 4.", seen("Foobar", "Svéd 4.", "se.foobar"))
    assert (answer.method, answer.reason) == ("review", "other words: syrianska")
    assert answer.entity == "se.foobar-syrianska"
    assert answer.confidence < 0.8


def test_likeness_without_a_country_goes_to_a_person() -> None:
    answer = resolve("Foobarstadt Nord", "BL-selejtező", seen("Foobarstad Nord", "Német 4.", "de.foobarstad-nord"))
    assert (answer.method, answer.reason) == ("review", "country unknown")


def test_a_name_that_resembles_nothing_is_a_team_of_its_own() -> None:
    answer = resolve("Qwertz Uiop", "Svéd 4.")
    assert (answer.entity, answer.name, answer.method) == ("se.qwertz-uiop", "Qwertz Uiop", "new")
    assert resolve("UIOP, Qwertz", "Svéd 3.").entity == answer.entity


def test_a_learned_team_is_known_to_the_names_that_follow() -> None:
    resolver = TeamResolver([])
    first = resolver.resolve("Qwertzstadt 1911", "Német 4.")
    resolver.learn(first)
    assert resolver.resolve("Qwertzstadt 1911", "Német 4.").method == "exact"
    assert resolver.resolve("SV Qwertzstadt 1911", "Német Kupa").entity == first.entity


def test_two_teams_never_share_an_id() -> None:
    known = seen("CD Foobar", "Spanyol 4.", "es.foobar")
    answer = resolve("UD Foobar", "Spanyol 4.", known)
    assert answer.entity.startswith("es.foobar~")
    assert answer.entity == resolve("UD Foobar", "Spanyol 3.", known).entity


def test_the_alias_of_a_user_wins_over_all_else() -> None:
    known = (seen("Foo", "Svéd 4.", "se.foo"), seen("Foo", "", "se.malmo", by_user=True))
    assert resolve("Foo", "Svéd 4.", *known).entity == "se.malmo"
    answer = resolve("FTC", "NB I", seen("ftc", "", "hu.mtk", by_user=True))
    assert (answer.entity, answer.method, answer.confidence) == ("hu.mtk", "alias", 1.0)


def test_the_alias_of_a_user_holds_where_the_guards_allow() -> None:
    alias = seen("Foo", "", "se.malmo", by_user=True)
    assert resolve("Foo", "BL-selejtező", alias).entity == "se.malmo"
    assert resolve("Foo", "Svéd bajnokság, női", alias).entity != "se.malmo"
    assert resolve("Foo", "Norvég 2.", alias).entity != "se.malmo"
    assert resolve("Foo", "Kanadai Kupa", seen("Foo", "", "us.toronto", by_user=True)).entity == "us.toronto"


def test_the_alias_of_a_user_for_one_league_holds_in_its_groups_and_beats_the_guards() -> None:
    alias = seen("Foo", "Norvég 2.", "se.malmo", by_user=True)
    assert resolve("Foo", "Norvég 2., rájátszás", alias).method == "alias"
    assert resolve("Foo", "Norvég 3.", alias).entity == "no.foo"


def test_an_alias_may_lead_to_an_id_of_foreign_making() -> None:
    alias = seen("Foo", "", "club/4711", by_user=True, kind="women")
    assert resolve("Foo", "Svéd bajnokság, női", alias).entity == "club/4711"
    assert resolve("Foo", "Svéd bajnokság", alias).entity == "se.foo"


@pytest.mark.parametrize(
    "raw, league, entity, kind",
    [
        ("Dánia", "Touloni Ifjúsági Torna", "nation.dk.youth", "youth"),
        ("Dánia", "Válogatott mérkőzés", "nation.dk", "senior"),
        ("U21Dánia", "U21 Eb", "nation.dk.u21", "youth"),
        ("U19Spanyolország", "U19 Eb, női, rájátszás", "nation.es.u19.women", "women"),
        ("Németország", "Eb, női, C csoport", "nation.de.women", "women"),
        ("szaúd-Arábia", "Gold Cup", "nation.sa", "senior"),
        ("Salvador", "Felkészülési mérkőzés", "nation.sv", "senior"),
        ("FC Andorra", "Spanyol 2.", "es.andorra", "senior"),
        ("Andorra", "Spanyol 2.", "es.andorra", "senior"),
        ("Klubi 04", "Finn 2.", "fi.04-klubi.reserve", "reserve"),
        ("Hammarby Talang", "Svéd 3.", "se.hammarby-talang.reserve", "reserve"),
        ("Liefering", "Osztrák 2.", "at.liefering.reserve", "reserve"),
        ("Gent", "Belga 2.", "be.gent.reserve", "reserve"),
        ("Gent", "Belga bajnokság", "be.gent", "senior"),
        ("Malmö FF", "Svéd bajnokság, női", "se.malmo.women", "women"),
        ("Kansas City", "NWSL, női", "us.city-current-kansas.women", "women"),
        ("Botafogo", "Brazil bajnokság", "br.botafogo-rj", "senior"),
    ],
)
def test_the_league_and_the_marks_tell_which_team_it_is(raw: str, league: str, entity: str, kind: str) -> None:
    answer = resolve(raw, league)
    assert (answer.entity, answer.kind) == (entity, kind)


def test_many_clubs_of_one_name_are_told_apart_by_country_or_left_to_a_person() -> None:
    assert resolve("Nacional", "Uruguayi bajnokság").entity == "uy.montevideo-nacional"
    assert resolve("Nacional", "Paraguayi bajnokság").entity == "py.asuncion-nacional"
    assert resolve("Nacional", "Copa Libertadores").method == "review"


def test_a_continental_cup_is_for_the_clubs_of_the_continent() -> None:
    assert resolve("Barcelona", "Copa Libertadores").entity == "ec.barcelona-guayaquil"
    assert resolve("Barcelona", "BL").entity == "es.barcelona"
    assert refusals(resolve("Barcelona", "BL"))["ec.barcelona-guayaquil"] == "confederation"
    assert resolve("Al-Ahly (EGY)", "Klubcsapat vb").entity == "eg.ahly"


def test_answers_of_many_leagues_are_forgotten_rather_than_hoarded() -> None:
    resolver = TeamResolver([], remembered=2)
    answers = [resolver.known("FTC", f"NB I, {number}. forduló") for number in range(5)]
    assert {answer.entity for answer in answers if answer} == {"hu.ftc"}


def test_all_names_are_answered_in_the_order_of_lines() -> None:
    lines = [("FTC", "NB I"), ("ftC", "BL-selejtező"), ("FTC", "NB I")]
    assert [(answer.raw, answer.scope) for answer in resolve_all(iter(lines))] == lines
