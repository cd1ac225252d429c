from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.downloading import Download, Template
from tidemill.common.config.politeness import Politeness
from tidemill.common.http.pacing import room_at_host
from tidemill.downloader import policy
from tidemill.downloader.errors import Unplannable
from tidemill.downloader.policy import Known, Wanted

NOW = datetime(2026, 7, 24, 5, 0, tzinfo=UTC)  # a Friday


def template(url: str, **more: Any) -> Template:
    return Template.model_validate({"url": f"https://paper.example/{url}", **more})


def names(template: Template, newest: int | None = None, **more: Any) -> list[str]:
    asked = {"trigger": "schedule", "params": {}, **more}
    return [wanted.name for wanted in policy.from_template(template, NOW, newest, **asked)]


def test_a_date_template_asks_for_the_publication_days_of_some_time_back_the_newest_first() -> None:
    papers = template("{date:%Y-%m-%d}.pdf", days=["tue", "fri"], last="7d")
    assert names(papers) == ["2026-07-24.pdf", "2026-07-21.pdf", "2026-07-17.pdf"]


def test_days_are_those_of_the_zone() -> None:
    assert names(template("{date:%d}.pdf", last="0s", zone="Pacific/Apia")) == ["24.pdf"]
    assert names(template("{date:%d}.pdf", last="0s", zone="America/Los_Angeles")) == ["23.pdf"]


def test_a_backfill_asks_for_the_day_of_its_slot_alone() -> None:
    assert names(template("{date:%d}.pdf"), trigger="backfill") == ["24.pdf"]
    assert names(template("{date:%d}.pdf", days=["mon"]), trigger="backfill") == []


def test_a_person_may_ask_for_a_day_or_an_issue() -> None:
    assert names(template("{date:%d.%m}"), params={"date": "2025-02-01"}) == ["01.02"]
    assert names(template("{issue:04d}.pdf"), params={"issue": "57"}) == ["0057.pdf"]


@pytest.mark.parametrize(
    ("url", "params", "sentence"),
    [
        ("{date:%d}", {"issue": "5"}, "unknown parameter issue; this source takes date"),
        ("{date:%d}", {"date": "tomorrow"}, "date 'tomorrow' is not a day"),
        ("{issue}", {"issue": "-1"}, "issue '-1' is not a number"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(url: str, params: dict[str, str], sentence: str) -> None:
    with pytest.raises(Unplannable, match=sentence):
        names(template(url), params=params)


def test_a_source_without_variables_takes_no_parameters() -> None:
    with pytest.raises(Unplannable, match="this source takes none"):
        policy.expect_params({"date": "2026-07-24"})


def test_issue_numbers_go_on_after_the_newest_we_have() -> None:
    papers = template("{issue}.pdf", first=50, ahead=2)
    assert names(papers) == ["51.pdf", "50.pdf"]
    assert names(papers, 57) == ["59.pdf", "58.pdf"]


def test_an_item_is_the_same_for_the_same_address_and_tells_its_name() -> None:
    item = policy.item_of("https://Paper.example/a/mix%2057.pdf?x=1#top")
    assert item == policy.item_of("HTTPS://paper.example/a/mix%2057.pdf?x=1")
    assert item != policy.item_of("https://paper.example/b/mix%2057.pdf?x=1")
    assert item.startswith("mix 57.pdf~")


@given(st.text(max_size=300))
def test_a_file_name_is_harmless_whatever_the_address(path: str) -> None:
    name = policy.file_name(f"https://paper.example/{path}")
    assert name
    assert len(name) <= 120
    assert not set(name) & set("/\\\0\n\r")
    assert name not in (".", "..")


def known(**more: Any) -> Known:
    return Known(**{"sha256": "1", "checked_at": NOW - timedelta(hours=1), "next_check_at": None, **more})


ARCHIVE = Download.model_validate({"template": {"url": "https://paper.example/{issue}"}})
FILE = Download.model_validate({"url": "https://paper.example/a"})


@pytest.mark.parametrize(
    ("before", "download", "trigger", "reason"),
    [
        (None, ARCHIVE, "schedule", None),
        (known(), ARCHIVE, "schedule", "fresh"),
        (known(), ARCHIVE, "manual", "fresh"),
        (known(), ARCHIVE, "retry", None),
        (known(), FILE, "schedule", None),
        (known(checked_at=NOW - timedelta(days=2)), ARCHIVE, "schedule", None),
        (known(sha256=None, checked_at=None), ARCHIVE, "schedule", None),
        (known(next_check_at=NOW + timedelta(minutes=1)), FILE, "schedule", "backoff"),
        (known(next_check_at=NOW + timedelta(minutes=1)), FILE, "manual", None),
        (known(next_check_at=NOW), FILE, "schedule", None),
    ],
)
def test_why_a_file_is_left_alone(before: Known | None, download: Download, trigger: str, reason: str | None) -> None:
    assert policy.reason_to_skip(before, download, NOW, trigger=trigger) == reason


def test_people_go_first_then_what_is_new() -> None:
    order = [("manual", True), ("manual", False), ("schedule", True), ("schedule", False), ("backfill", True)]
    ranks = [policy.priority(trigger, is_new=is_new) for trigger, is_new in order]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize(
    ("rate", "concurrency", "room"), [("1/s", 1, 3), ("1/m", 1, 2), ("5/s", 2, 12), ("900/s", 64, 32)]
)
def test_a_host_is_given_what_it_may_start_soon(rate: str, concurrency: int, room: int) -> None:
    assert room_at_host(Politeness(rate=rate, concurrency=concurrency), policy.MOST_AT_A_HOST) == room


def test_a_failure_is_tried_again_with_growing_pauses_and_then_given_up() -> None:
    pauses = [policy.pause_after(attempts, None, NOW) for attempts in range(1, 6)]
    assert pauses[-1] is None
    assert sorted(pause for pause in pauses if pause) == pauses[:-1]


def test_what_the_host_said_about_patience_counts() -> None:
    assert policy.pause_after(1, NOW + timedelta(minutes=7), NOW) == timedelta(minutes=7)
    assert policy.pause_after(1, NOW - timedelta(minutes=7), NOW) == policy.RETRIES[0]


@given(st.integers(1, 10_000))
def test_runs_that_fail_make_schedules_ask_more_seldom_but_daily_at_least(failures: int) -> None:
    pause = policy.next_check(failures, NOW) - NOW
    assert policy.BACKOFF <= pause <= policy.LONGEST_BACKOFF < timedelta(days=1)
    assert policy.next_check(failures + 1, NOW) - NOW >= pause


def test_small_files_are_refused() -> None:
    empty = policy.rejection(0, FILE)
    small = policy.rejection(5, FILE.model_copy(update={"min_size": 10}))
    assert (empty and empty.reason, small and small.reason) == ("empty", "too_small")
    assert policy.rejection(5, FILE) is None


def test_a_wanted_file_knows_its_names() -> None:
    wanted = Wanted("https://paper.example/mix.pdf")
    assert (wanted.name, wanted.item) == ("mix.pdf", policy.item_of("https://paper.example/mix.pdf"))


def test_the_host_of_an_address_with_a_password_is_the_host_alone() -> None:
    assert policy.host_of("https://anna:secret@Files.example:8443/a.pdf") == "files.example:8443"
