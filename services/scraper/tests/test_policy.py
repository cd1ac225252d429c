from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.scraping import Retry
from tidemill.extract import Judgement, SearchRules, Start, Why
from tidemill.scraper import policy
from tidemill.scraper.errors import Unplannable

NOW = datetime(2026, 7, 24, 5, 0, tzinfo=UTC)
SEARCH = SearchRules.model_validate(
    {
        "url": ["https://portal.example/{city}/{kind}", "https://portal.example/new"],
        "each": {"city": {"Helsinki": "64", "Espoo": "39"}, "kind": ["sale", "rent"]},
        "link": {"css": "a", "attribute": "href"},
    }
)


def test_a_run_searches_for_what_it_was_asked_to() -> None:
    every = policy.searches_of(SEARCH, {})
    assert [dict(search.labels) for search in every] == [
        {"city": "Helsinki", "kind": "sale"},
        {"city": "Helsinki", "kind": "rent"},
        {"city": "Espoo", "kind": "sale"},
        {"city": "Espoo", "kind": "rent"},
        {},
    ]
    espoo = policy.searches_of(SEARCH, {"city": "Espoo"})
    assert [search.number for search in espoo] == [2, 3, 4]
    assert len({search.item for search in every}) == 5
    assert all(policy.is_search_item(search.item) for search in every)
    assert every[0].item.startswith("search Helsinki sale~")
    assert every[4].item.startswith("search portal.example~")


@pytest.mark.parametrize(
    ("params", "wishes"),
    [
        ({}, policy.Wishes()),
        ({"limit": "10"}, policy.Wishes(most=10)),
        ({"full": "True"}, policy.Wishes(everything=True)),
        ({"city": "Espoo"}, policy.Wishes(values={"city": "Espoo"})),
    ],
)
def test_what_a_run_may_be_asked_for(params: dict[str, str], wishes: policy.Wishes) -> None:
    assert policy.read_params(params, SEARCH) == wishes
    assert wishes.partial == bool(params.keys() & {"limit", "city"})


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ({"town": "Espoo"}, "unknown parameter town; this source takes limit, full, city, kind"),
        ({"city": "Turku"}, "city 'Turku' is not searched; valid are Helsinki, Espoo"),
        ({"limit": "0"}, "limit '0' is not a number of pages"),
        ({"limit": "many"}, "limit 'many' is not a number of pages"),
        ({"full": "yes"}, "full is true or false, not 'yes'"),
    ],
)
def test_what_it_may_not(params: dict[str, str], detail: str) -> None:
    with pytest.raises(Unplannable) as wrong:
        policy.read_params(params, SEARCH)
    assert (wrong.value.failure, wrong.value.detail) == ("params", detail)


@given(st.text(max_size=60))
def test_items_are_short_and_differ_where_identities_do(path: str) -> None:
    item = policy.item_of(f"https://portal.example/{path}")
    assert len(item) <= 73
    assert len(item.rpartition("~")[2]) == 12
    assert "/" not in item
    assert item.isprintable()
    assert item != policy.item_of(f"https://portal.example/{path}x")


def test_items_name_the_page() -> None:
    assert policy.item_of("https://portal.example/homes/123").startswith("123~")
    assert policy.item_of("https://portal.example/show?id=7").startswith("show?id=7~")
    assert policy.item_of("https://portal.example/").startswith("portal.example~")
    assert policy.item_of("https://portal.example/k%C3%A4pyl%C3%A4").startswith("käpylä~")


def test_people_go_first_and_searches_before_pages() -> None:
    order = [
        policy.run_priority("manual"),
        *(policy.priority(policy.run_priority("manual"), decision) for decision in policy.FETCHED),
        policy.run_priority("schedule"),
        policy.priority(policy.run_priority("schedule"), "new"),
        policy.run_priority("backfill"),
    ]
    assert order == sorted(set(order))


@given(st.integers(1, 200), st.text(min_size=1, max_size=20))
def test_pauses_between_runs_grow_and_have_an_end(failures: int, item: str) -> None:
    retry = Retry(first=timedelta(hours=1), longest=timedelta(days=7), give_up_after=10)
    pause = policy.next_check(retry, failures, item, NOW) - NOW
    usual = timedelta(hours=1) * 2 ** min(failures - 1, 8) if failures < 9 else timedelta(days=7)
    assert usual * 0.899 <= pause <= min(timedelta(days=7), usual * 1.101)
    assert policy.gives_up(retry, failures) == (failures >= 10)


def test_what_failed_together_does_not_come_together() -> None:
    pauses = {policy.next_check(Retry(), 3, f"item-{number}", NOW) for number in range(100)}
    assert len(pauses) > 90


def test_a_run_asks_again_as_often_as_the_failure_is_worth_it() -> None:
    assert [policy.pause_after("network", n, None, NOW) for n in (1, 4, 5)] == [
        timedelta(seconds=2),
        timedelta(minutes=5),
        None,
    ]
    assert policy.pause_after("layout", 2, None, NOW) == timedelta(seconds=10)
    assert policy.pause_after("layout", 3, None, NOW) is None
    assert policy.pause_after("not_found", 1, None, NOW) is None
    assert policy.pause_after("blocked", 1, NOW + timedelta(seconds=40), NOW) == timedelta(seconds=40)


FIRST, AGAIN, WELL = policy.Trouble("timeout", True), policy.Trouble("timeout", False), policy.Trouble("", True)


@pytest.mark.parametrize(
    ("troubles", "row"),
    [
        ([FIRST], policy.InRow(1, 1, False)),
        ([FIRST, WELL, FIRST, AGAIN], policy.InRow(1, 2, True)),
        ([FIRST, WELL], policy.InRow(0, 0, True)),
        ([AGAIN, AGAIN], policy.InRow(0, 2, False)),
        ([], policy.InRow(0, 0, False)),
    ],
)
def test_failures_in_a_row_are_counted_from_the_last_answer_on(
    troubles: list[policy.Trouble], row: policy.InRow
) -> None:
    assert policy.in_a_row(troubles) == row


def test_a_host_is_left_alone_longer_each_time_and_then_for_good() -> None:
    pauses = [policy.host_pause(in_row) for in_row in range(7, 13)]
    assert pauses == [None, *(timedelta(seconds=30 * 2**n) for n in range(4)), None]


@pytest.mark.parametrize(
    ("state", "why", "failure"),
    [
        ("gone", "sign", "removed"),
        ("soft_404", "sign", "not_found"),
        ("blocked", "bot_wall", "blocked"),
        ("shell", "javascript_shell", "shell"),
        ("incomplete", "required_missing", "layout"),
        ("incomplete", "unreadable", "parse"),
        ("incomplete", "empty", "parse"),
    ],
)
def test_each_state_of_a_page_has_its_class(state: str, why: str, failure: str) -> None:
    assert policy.failure_of(Judgement(state, (Why(why, ""),))) == failure  # type: ignore[arg-type]


def test_hosts_are_named_without_logins() -> None:
    assert policy.host_of("https://user:secret@Portal.example:8080/a") == "portal.example:8080"


def test_a_search_without_values_is_named_for_its_host() -> None:
    assert policy.search_item(Start("https://portal.example/list?page={page}")).startswith("search portal.example~")
