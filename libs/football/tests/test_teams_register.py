"""The shipped register, and how a register is read."""

from collections import defaultdict

from tidemill.football.teams.countries import by_code
from tidemill.football.teams.kinds import Kind
from tidemill.football.teams.register import read_register, registered
from tidemill.football.teams.teams import read_team

RESERVE = Kind(reserve=2)


def test_no_spelling_of_the_register_means_two_teams_of_one_country() -> None:
    teams = defaultdict(set)
    for spelling in registered():
        for country in spelling.side.countries:
            side = (country, spelling.side.kind, spelling.side.nation, spelling.level)
            teams[spelling.name.spelling, side].add(spelling.team.id)
    assert {place: ids for place, ids in teams.items() if len(ids) > 1} == {}


def test_every_team_has_an_id_of_its_own_that_tells_country_and_kind() -> None:
    owners = defaultdict(set)
    for spelling in registered():
        team = spelling.team
        owners[team.id].add((team.name, team.countries))
        again = read_team(team.id, team.name, team.kind.label)
        assert (again.kind, again.countries, again.nation) == (team.kind, team.countries[:1], team.nation)
    assert all(len(names) == 1 for names in owners.values())


def test_every_team_has_one_name_of_its_own_and_a_known_country() -> None:
    own: dict[str, int] = defaultdict(int)
    for spelling in registered():
        own[spelling.team.id] += spelling.own
        assert set(spelling.team.countries) <= set(by_code())
    assert set(own.values()) == {1}


def test_an_entry_is_a_name_and_its_aliases_in_a_country() -> None:
    spellings = read_register("# clubs\n[US CA]\nToronto FC; Toronto\n")
    assert [(s.name.spelling, s.own) for s in spellings] == [("toronto fc", True), ("toronto", False)]
    assert spellings[0].team.countries == ("US", "CA")
    assert spellings[0].team.id == "us.toronto"


def test_words_in_brackets_may_be_left_out() -> None:
    spellings = read_register("[BO]\nAurora [Cochabamba]\n")
    assert [s.name.spelling for s in spellings] == ["aurora cochabamba", "aurora"]
    assert {s.team.name for s in spellings} == {"Aurora Cochabamba"}


def test_a_team_with_a_name_of_its_own_has_its_kind_whatever_the_name_says() -> None:
    klubi, hjk = read_register("[FI]\nreserve: Klubi 04; HJK 2\n")
    assert klubi.team == hjk.team
    assert (klubi.team.kind, klubi.side.kind, hjk.side.kind) == (RESERVE, Kind(), RESERVE)


def test_an_alias_may_hold_at_one_level_only() -> None:
    assert [s.level for s in read_register("[BE]\nreserve: Gent 2; Gent @2\n")] == [0, 2]


def test_clubs_that_share_their_words_have_their_form_in_the_id() -> None:
    spellings = read_register("[BR]\nBotafogo RJ\nBotafogo SP\nSantos SP\n")
    assert [s.team.id for s in spellings] == ["br.botafogo-rj", "br.botafogo-sp", "br.santos"]
