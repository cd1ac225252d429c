"""Likeness of names, word by word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.football.teams.kinds import Kind, difference
from tidemill.football.teams.likeness import likeness
from tidemill.football.teams.names import parse_name
from tidemill.football.teams.teams import Side, refusal

some_words = st.lists(
    st.sampled_from(
        [
            "malmo",
            "malma",
            "helsingborg",
            "helsingbork",
            "real",
            "lp",
            "la",
            "plata",
            "b.",
            "bal.",
            "balompie",
            "city",
            "u21",
        ]
    ),
    max_size=5,
)
kinds = st.builds(Kind, st.booleans(), st.sampled_from([0, 1, 19, 21]), st.sampled_from([0, 2, 3]))
sides = st.builds(
    Side,
    kinds,
    st.lists(st.sampled_from(["SE", "NO", "US", "CA"]), max_size=2).map(tuple),
    st.sampled_from([None, True, False]),
)


def alike(one: str, other: str) -> str:
    return likeness(parse_name(one).words, parse_name(other).words, lambda word: 1.0).fault


@given(some_words, some_words)
def test_likeness_is_symmetric(one: list[str], other: list[str]) -> None:
    there, back = likeness(one, other, len), likeness(other, one, len)
    assert (round(there.score, 9), there.shared, there.typos, set(there.missing)) == (
        round(back.score, 9),
        back.shared,
        back.typos,
        set(back.missing),
    )
    assert 0 <= there.score <= 1


@given(sides, sides)
def test_guards_are_symmetric(one: Side, other: Side) -> None:
    assert refusal(one, other) == refusal(other, one)
    assert difference(one.kind, one.kind) == ""


@given(sides)
def test_no_guard_keeps_a_team_from_itself(side: Side) -> None:
    assert refusal(side, side) == ""


@pytest.mark.parametrize(
    "one, other, guard",
    [
        (Side(Kind()), Side(Kind(women=True)), "women"),
        (Side(Kind(age=19)), Side(Kind(age=21)), "age"),
        (Side(Kind(reserve=2)), Side(Kind()), "reserve"),
        (Side(Kind(), ("SE",)), Side(Kind(), ("NO",)), "country"),
        (Side(Kind(), ("US",)), Side(Kind(), ("CA", "US")), ""),
        (Side(Kind(), ("AD",), True), Side(Kind(), ("AD",), False), "nation"),
        (Side(Kind(), (), None), Side(Kind(), ("AD",), True), ""),
    ],
)
def test_a_guard_is_named(one: Side, other: Side, guard: str) -> None:
    assert refusal(one, other) == guard


@given(kinds)
def test_a_kind_is_read_from_its_tags(kind: Kind) -> None:
    assert Kind.from_tags(kind.tags) == kind


def test_foreign_tags_are_no_kind() -> None:
    assert Kind.from_tags(("seniors",)) is None


@pytest.mark.parametrize(
    "one, other",
    [
        ("Millonarios", "Millionarios"),
        ("Academia del Balompie Boliviano", "Academia del B. Boliviano"),
        ("Academia del Bal. Boliviano", "Academia del B. Boliviano"),
        ("Estudiantes LP", "Estudiantes La Plata"),
        ("New York RB", "New York Red Bulls"),
        ("Kashiwa R.", "Kashiwa Reysol"),
        ("Detroit", "Detroit City FC"),
        ("Metaliszt 1925", "Metalist 1925"),
    ],
)
def test_the_same_words_misprinted_or_cut_are_one_name(one: str, other: str) -> None:
    assert alike(one, other) == ""


@pytest.mark.parametrize(
    "one, other, fault",
    [
        ("Lyn", "Lyon", "no meaningful word shared"),
        ("Northampton", "Southampton", "no meaningful word shared"),
        ("Zambia", "Gambia", "no meaningful word shared"),
        ("Real Madrid", "Real Zaragoza", "no meaningful word shared"),
        ("Dundee", "Dundee Utd.", "other words: united"),
        ("Bristol City", "Bristol Rovers", "other words: city rovers"),
        ("Rouen", "Quevilly Rouen", "other words: quvilly"),
        ("CSZKA Szófia", "CSZKA 1948 Szófia", "other words: 1948"),
        ("B36 Torshavn", "B68 Torshavn", "other words: b36 b68"),
        ("Foobar Barfoos", "Foober Barfoas", "no meaningful word shared"),
        ("Goodenough Foobar Barfoos", "Goodenough Foober Barfoas", "more than one misprint"),
    ],
)
def test_other_names_are_refused_with_the_reason(one: str, other: str, fault: str) -> None:
    assert alike(one, other) == alike(other, one)
    assert alike(one, other) == fault
