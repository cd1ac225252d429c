"""Pairs of printed names that are one team or two, ours and those of the real issues; order never matters."""

import json
from collections import Counter
from collections.abc import Sequence
from random import Random
from unicodedata import combining, normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.testing import shared_data
from tidemill.football.teams import TEAMS, resolve_all
from tidemill.football.teams.countries import countries
from tidemill.football.teams.register import registered
from tidemill.football.teams.spellings import Spelling

Name = tuple[str, str]

ONE_TEAM: list[tuple[Name, Name]] = [
    (("Malmö FF", "Svéd bajnokság"), ("ff malmo", "BL-selejtező")),
    (("Estudiantes Buenos Aires", "Argentin 2."), ("Estudiantes de Buenos Aires", "Argentin 2., B csoport")),
    (("Cracovia Krakkó", "Lengyel bajnokság"), ("Cracovia", "Lengyel bajnokság")),
    (("Real Madrid", "Klubcsapat vb"), ("real madrid", "Spanyol bajnokság")),
    (("Turku PS", "Finn 2."), ("turku Ps", "Finn 2.")),
    (("Szaúd-Arábia", "Gold Cup"), ("szaúd-Arábia", "Gold Cup, D csoport")),
    (("Al-Hilal (KSA)", "Klubcsapat vb"), ("Al-Hilal", "Szaúd-arábiai bajnokság")),
    (("Univ.Catolica de Santiago", "Chilei bajnokság"), ("Univ. Catolica de Santiago", "Chilei bajnokság")),
    (("1. FC Köln", "Német Kupa"), ("Koeln", "Német bajnokság")),
    (("Bohemians 1905", "Cseh bajnokság"), ("bohemians 1905", "Cseh Kupa")),
    (("JS Saoura", "Algériai bajnokság"), ("Saoura", "Algériai bajnokság")),
    (("Queen's Park", "Skót Liga-kupa"), ("Queen’s Park", "Skót Liga-kupa, B csoport")),
    (("Sahtar Doneck", "Ukrán bajnokság"), ("Shakhtar Donetsk", "EL-selejtező")),
    (("AZ Alkmaar 2", "Holland 2."), ("Jong AZ", "Holland 2.")),
    (("Vinotinto Ecuador", "Ecuadori bajnokság"), ("Vinotinto FC Ecuador", "Ecuadori bajnokság")),
    (("Independ. de Chivilcoy", "Argentin 3, Torneo Federal"), ("Independiente de Chivilcoy", "Argentin 3.")),
    (("Brighton", "Premier Liga"), ("Brighton & Hove Albion", "Angol FA Kupa")),
    (("Ullensaker/Kisa", "Norvég 3."), ("Ull-Kisa", "Norvég 3., 2. csoport")),
    (("Paris SG", "Francia bajnokság"), ("Paris Saint-Germain", "Klubcsapat vb")),
    (("U21Finnország", "U21 Eb"), ("u21finnország", "U21 Eb")),
    # Clubs that no register knows: the normaliser alone.
    (("Qwertz/Uiop", "Norvég 4."), ("qwertz-Uiop", "Norvég 4.")),
    (("Blåfjell", "Norvég 4."), ("Blaafjell IL", "Norvég 4.")),
    (("Grünstadt", "Német 4."), ("Gruenstadt", "Német 4.")),
    (("CA Quxbar", "Argentin 4."), ("Quxbar", "Argentin 4.")),
    (("Deportivo Quxbar", "Kolumbiai 3."), ("Dep. Quxbar", "Kolumbiai 3.")),
    (("Quxbar United", "Angol 7."), ("Quxbar Utd.", "Angol 7.")),
    (("Saint Quxbar", "Angol 7."), ("St. Quxbar", "Angol 7.")),
    (("Quxbarstad", "Holland 4."), ("Quxbarrstad", "Holland 4.")),
    (("Academia del Quxbar Fooense", "Bolíviai 2."), ("Academia del Q. Fooense", "Bolíviai 2.")),
    (("Quxbar Foo", "Svéd 4."), ("QuxbarFoo", "Svéd 4.")),
]
TWO_TEAMS: list[tuple[Name, Name]] = [
    (("Brann Bergen", "Norvég bajnokság"), ("Brann Bergen", "Norvég bajnokság, női")),
    (("Svájc", "vb-selejtező"), ("Svájc", "Eb, női")),
    (("Chicago", "MLS"), ("Chicago", "NWSL, női")),
    (("Gent", "Belga bajnokság"), ("Gent", "Belga 2.")),
    (("Genk", "Belga bajnokság"), ("Genk 2", "Belga 2.")),
    (("Porto", "Portugál bajnokság"), ("Porto B", "Portugál 2.")),
    (("Salzburg", "Osztrák bajnokság"), ("Liefering", "Osztrák 2.")),
    (("Hammarby", "Svéd bajnokság"), ("Hammarby Talang", "Svéd 3.")),
    (("U21Dánia", "U21 Eb"), ("Dánia", "Touloni Ifjúsági Torna")),
    (("Dánia", "vb-selejtező"), ("Dánia", "Touloni Ifjúsági Torna")),
    (("Zambia", "vb-selejtező"), ("Gambia", "vb-selejtező")),
    (("Niger", "vb-selejtező"), ("Nigéria", "vb-selejtező")),
    (("Szlovákia", "U21 Eb"), ("Szlovénia", "U21 Eb")),
    (("CSZKA Szófia", "Bolgár bajnokság"), ("CSZKA 1948 Szófia", "Bolgár bajnokság")),
    (("CS Univ. Craiova", "Román bajnokság"), ("FC U Craiova 1948", "Román bajnokság")),
    (("River Plate", "Klubcsapat vb"), ("River Plate Montevideo", "Uruguayi bajnokság")),
    (("Everton", "Premier Liga"), ("Everton Vina Del Mar", "Chilei bajnokság")),
    (("Dundee Utd.", "Skót Liga-kupa"), ("FC Dundee", "Skót Liga-kupa, C csoport")),
    (("Paris FC", "Francia bajnokság"), ("Paris 13 Atl.", "Francia 3.")),
    (("Hearts", "Skót Liga-kupa"), ("Kelty Hearts", "Skót Liga-kupa")),
    (("Vikingur Reykjavik", "Izlandi bajnokság"), ("Vikingur Olafsvik", "Izlandi 3.")),
    (("Dinamo Minszk", "Fehérorosz bajnokság"), ("FK Minszk", "Fehérorosz bajnokság")),
    (("América", "Mexikói bajnokság"), ("América de Cali", "Kolumbiai bajnokság")),
    (("Arsenal", "Premier Liga"), ("Arsenal Sarandí", "Argentin 2.")),
    (("Northampton", "Angol Liga 1."), ("Southampton", "Angol Liga bajnokság")),
    # Clubs that no register knows.
    (("Quxbar", "Svéd 4."), ("Quxbar", "Norvég 4.")),
    (("Quxbar", "Svéd 4."), ("IFK Quxbar", "Svéd 4.")),
    (("CD Quxbar", "Spanyol 4."), ("UD Quxbar", "Spanyol 4.")),
    (("Quxbar City", "Angol 7."), ("Quxbar Rovers", "Angol 7.")),
    (("Quxbar", "Angol 7."), ("Quxbar Utd.", "Angol 7.")),
    (("Quxbar", "Román 4."), ("Quxbar 1948", "Román 4.")),
    (("Quxbar RJ", "Brazil 4."), ("Quxbar SP", "Brazil 4.")),
    (("Quxbar", "Svéd 4."), ("Quxbar 2", "Svéd 6.")),
    (("U19Quxbar", "Svéd 4."), ("U21Quxbar", "Svéd 4.")),
]
NAMES = [name for pair in (*ONE_TEAM, *TWO_TEAMS) for name in pair]


def teams(names: Sequence[Name]) -> dict[Name, str]:
    return {(answer.raw, answer.scope): answer.entity for answer in resolve_all(names)}


ANSWERS = teams(NAMES)
REGISTER_ONLY = TEAMS.open([])


@pytest.mark.parametrize("one, other", ONE_TEAM)
def test_a_team_is_recognised(one: Name, other: Name) -> None:
    assert ANSWERS[one] == ANSWERS[other]
    assert len(set(teams([one, other]).values())) == 1


@pytest.mark.parametrize("one, other", TWO_TEAMS)
def test_two_teams_are_never_merged(one: Name, other: Name) -> None:
    assert ANSWERS[one] != ANSWERS[other]
    assert len(set(teams([one, other]).values())) == 2


@pytest.mark.unmeasured
@given(st.permutations(NAMES))
@settings(max_examples=15, deadline=None)
def test_the_order_of_lines_does_not_matter(names: list[Name]) -> None:
    assert teams(names) == ANSWERS


def issues() -> list[Name]:
    """Every name of the real issues, with its league."""
    data = shared_data()
    if data is None:
        pytest.skip("needs the real issues")
    truths = [json.loads(path.read_text("utf-8")) for path in sorted((data / "football" / "dev").glob("*.truth.json"))]
    return sorted(
        {(match[side], match["league"]) for t in truths for match in t["matches"] for side in ("home", "away")}
    )


@pytest.mark.unmeasured
def test_the_pairs_of_the_real_issues_are_told_apart_and_recognised() -> None:
    data = shared_data()
    if data is None:
        pytest.skip("needs the real pairs")
    lines = (data / "football" / "team_pairs.jsonl").read_text("utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    answers = {
        (answer.raw, answer.scope): answer
        for answer in resolve_all([(p[side]["raw"], p[side]["league"]) for p in pairs for side in "ab"])
    }
    found: Counter[str] = Counter()
    for pair in pairs:
        one, other = (answers[pair[side]["raw"], pair[side]["league"]] for side in "ab")
        merged = one.entity == other.entity
        assert pair["same"] or not merged, (one, other)
        assert [one.kind, other.kind] == [pair["a"]["kind"], pair["b"]["kind"]]
        found["same" if merged else "missed" if pair["same"] else "told apart"] += 1
        offered = {candidate.entity for candidate in (*one.candidates, *other.candidates)}
        assert not pair["same"] or merged or offered & {one.entity, other.entity}, (one, other)
    assert found["same"] >= 0.85 * (found["same"] + found["missed"])


@pytest.mark.unmeasured
def test_no_two_names_of_a_real_issue_are_merged_but_those_of_one_club() -> None:
    names: dict[str, set[str]] = {}
    for (raw, _), entity in teams(issues()).items():
        names.setdefault(entity, set()).add(raw)
    merged = sorted(sorted(raws) for raws in names.values() if len(raws) > 1)
    assert merged == [["Al-Ahly", "Al-Ahly (EGY)"], ["Dinamo Bukarest", "FC Dinamo Bukarest"]]


@settings(deadline=None)
@given(st.sampled_from([s for s in registered() if s.own and not s.team.nation]), st.randoms(use_true_random=False))
def test_a_registered_club_is_recognised_in_damaged_print(spelling: Spelling, random: Random) -> None:
    league = next(c.adjectives[0] for c in countries() if c.code == spelling.team.countries[0]) + " 9."
    scope = f"{league}, női" if spelling.team.kind.women else league
    name = spelling.team.name
    damaged = "".join(random.choice((letter.lower(), letter.upper(), letter)) for letter in name)
    plain = "".join(letter for letter in normalize("NFKD", damaged) if not combining(letter))
    for printed in (damaged, plain, plain.replace(" ", "\u00a0").replace("fi", "ﬁ"), name.replace("ö", "oe")):
        assert REGISTER_ONLY.resolve(printed, scope).entity == spelling.team.id
