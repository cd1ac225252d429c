"""Printed names taken apart: folding, club forms, marks of women, youth and reserves."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidemill.football.teams.fold import fold
from tidemill.football.teams.kinds import Kind
from tidemill.football.teams.names import parse_name

printed = st.text(
    st.one_of(
        st.sampled_from(" .-/'()’2BUu19IéöÖåøæœßłıﬁﬂŞ\u00a0\u00ad\u0308ЈА"), st.characters(exclude_categories=("Cs",))
    ),
    max_size=24,
)
wordy = st.lists(
    st.sampled_from(
        ["FC", "Malmö", "2", "II", "B", "U19", "de", "Al", "SC", "1.", "Univ.", "Real", "w", "RJ", "Jong", "női"]
    ),
    max_size=5,
).map(" ".join)


@given(printed)
@example("a.e.")
@example("aeaeb")
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(printed)
def test_folding_does_not_depend_on_case(text: str) -> None:
    assert fold(text.swapcase().casefold()) == fold(text.casefold())


@given(st.one_of(printed, wordy))
def test_the_words_of_a_name_are_their_own_words(raw: str) -> None:
    name = parse_name(raw)
    assert parse_name(str(name)).words == name.words


@given(st.one_of(printed, wordy))
def test_a_name_with_letters_or_digits_keeps_a_word(raw: str) -> None:
    assert bool(fold(parse_name(raw).spelling)) == bool(parse_name(raw).words)


@pytest.mark.parametrize(
    "one, other",
    [
        ("Malmö FF", "ff Malmö"),
        ("Malmö FF", "Malmo FF"),
        ("Bodö/Glimt", "Bodoe Glimt"),
        ("Bodø/Glimt", "BODÖ-GLIMT"),
        ("FC København", "fC köbenhavn"),
        ("Aalesund", "Ålesund"),
        ("Szaúd-Arábia", "szaúd-Arábia"),
        ("Univ.Catolica de Santiago", "Univ. Catolica Santiago"),
        ("Newell's", "Newell’s"),
        ("St-Etienne", "Saint-Étienne"),
        ("St. Louis", "Saint Louis"),
        ("D.C. United", "DC Utd."),
        ("B.93", "B93"),
        ("1. FC Köln", "FC Koeln"),
        ("Sheffield Wed.", "Sheffield Wednesday"),
        ("Dep. Moron", "Deportivo Moron"),
        ("Al-Ahly", "Ahly"),
        ("Club Almagro", "Almagro"),
        ("Sheﬃeld\u00a0Utd.", "Sheffield United"),
        ("GEЈ", "GEJ"),
        ("Dinamo Bukarest", "Dinamo Bucuresti"),
    ],
)
def test_the_same_words_in_other_print_have_one_key(one: str, other: str) -> None:
    assert parse_name(one).key == parse_name(other).key


@pytest.mark.parametrize(
    "one, other",
    [
        ("Sheffield Utd.", "Sheffield Wed."),
        ("Yokohama FC", "Yokohama FM"),
        ("AaB", "AB"),
        ("FC Vienna", "FAC Wien"),
        ("Sporting CP", "Sporting"),
        ("CSZKA Szófia", "CSZKA 1948 Szófia"),
        ("Skövde", "IFK Skovde FK"),
    ],
)
def test_other_words_have_another_key(one: str, other: str) -> None:
    assert parse_name(one).key != parse_name(other).key


def test_club_forms_are_left_out_and_remembered() -> None:
    assert (parse_name("CS Dock Sud").words, parse_name("CS Dock Sud").forms) == (("dock", "sud"), {"cs"})
    assert parse_name("Botafogo RJ").forms == parse_name("Botafogo rj FC").forms == {"rj"}


def test_club_forms_stay_where_the_rest_would_name_nobody() -> None:
    assert parse_name("Sporting CP").words == ("sporting", "cp")
    assert parse_name("FC").words == ("fc",)
    assert parse_name("Red Star FC").words == ("red", "star")


@pytest.mark.parametrize(
    "raw, kind",
    [
        ("U21Spanyolország", Kind(age=21)),
        ("u19spanyolország", Kind(age=19)),
        ("U 17 Anglia", Kind(age=17)),
        ("Spain U-20", Kind(age=20)),
        ("FC U19Dánia", Kind(age=19)),
        ("AZ Alkmaar 2", Kind(reserve=2)),
        ("Real Sociedad B", Kind(reserve=2)),
        ("porto b", Kind(reserve=2)),
        ("Sturm Graz Amatőr", Kind(reserve=2)),
        ("Jeonbuk FC II", Kind(reserve=2)),
        ("Sparta Praha 2 FK", Kind(reserve=2)),
        ("Jong Ajax", Kind(reserve=2)),
        ("Barcelona C", Kind(reserve=3)),
        ("Brann Bergen (női)", Kind(women=True)),
        ("Arsenal Women", Kind(women=True)),
        ("Chelsea (W)", Kind(women=True)),
        ("U19 Dánia (női)", Kind(women=True, age=19)),
        ("ADC Juan Pablo II", Kind()),
        ("Willem II", Kind()),
        ("PK-35", Kind()),
        ("Klubi 04", Kind()),
        ("Bohemians 1905", Kind()),
        ("Schalke 04", Kind()),
        ("3B da Amazonia", Kind()),
        ("CS 2 de Mayo", Kind()),
        ("Paris 13 Atl.", Kind()),
        ("Aurora C.", Kind()),
        ("FC U", Kind()),
    ],
)
def test_marks_of_a_kind_are_told_from_numbers_of_a_name(raw: str, kind: Kind) -> None:
    assert parse_name(raw).kind == kind


@pytest.mark.parametrize(
    "raw, country, words",
    [
        ("Al-Hilal (KSA)", "SA", ("hilal",)),
        ("Al-Ahly (eGY)", "EG", ("ahly",)),
        ("Al-Ain (UAE", "AE", ("ain",)),
        ("Caerau (Ely)", "", ("carau", "ely")),
    ],
)
def test_a_country_mark_is_not_part_of_the_name(raw: str, country: str, words: tuple[str, ...]) -> None:
    assert (parse_name(raw).country, parse_name(raw).words) == (country, words)
