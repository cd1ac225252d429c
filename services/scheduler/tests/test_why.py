"""Why there is no data: every cause has its answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill.scheduler.why import Facts, Hold, RunFacts, Slot, explain

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)


def facts(**changes: Any) -> Facts:
    """A day of a source that is due at six, seen at noon."""
    usual = Facts(
        source="paper",
        start=DAY,
        end=DAY + timedelta(days=1),
        now=NOON,
        schedules=["cron 0 6 * * *"],
        next_slot=DAY + timedelta(hours=30),
    )
    return replace(usual, **changes)


def run(state: str, **more: Any) -> RunFacts:
    return RunFacts(**{"run": "paper-1", "state": state, "requested_at": NOON - timedelta(minutes=10), **more})


def one(state: str, **more: Any) -> Facts:
    return facts(runs=[run(state, **more)])


STOPPED = Hold("stop.all", "the site asked us")
CASES: dict[str, tuple[Facts, list[str], str]] = {
    "no schedule at all": (facts(schedules=(), next_slot=None), ["not_scheduled"], "paper has no schedule"),
    "no slot on that day": (facts(start=DAY - timedelta(days=1), end=DAY), ["not_scheduled"], "no slot on this day"),
    "later today": (facts(next_slot=NOON + timedelta(hours=1)), ["not_yet"], "the next slot is 2026-03-01 13:00:00"),
    "a day to come": (
        facts(start=DAY + timedelta(days=1), end=DAY + timedelta(days=2)),
        ["not_yet"],
        "the day has not come",
    ),
    "an empty folder": (facts(schedules=(), next_slot=None, watched="inbox"), ["no_file"], "no file came into inbox"),
    "no scheduler": (facts(due_since=NOON - timedelta(minutes=5)), ["late"], "no scheduler is at work"),
    "due this second": (facts(due_since=NOON - timedelta(seconds=1)), ["not_scheduled"], "no slot"),
    "stopped": (facts(holds=[STOPPED], due_since=DAY), ["stopped"], "all is stopped: the site asked us"),
    "paused": (facts(holds=[Hold("pause.source.paper", "")]), ["paused"], "source paper is paused"),
    "the service is paused": (facts(holds=[Hold("pause.service.downloader", "")]), ["paused"], "service downloader"),
    "stopped after the day was over": (
        facts(holds=[STOPPED], now=DAY + timedelta(days=2), next_slot=None),
        ["not_scheduled"],
        "no slot on this day",
    ),
    "skipped by policy": (
        facts(slots=[Slot(DAY, "skipped", "blackout", "2026-03-01")]),
        ["skipped"],
        "slot 2026-03-01 00:00:00 UTC was skipped (blackout): 2026-03-01",
    ),
    "many slots skipped": (
        facts(slots=[Slot(DAY, "skipped", "missed", "", NOON)]),
        ["skipped"],
        "slot 2026-03-01 00:00:00 UTC to 2026-03-01 12:00:00 UTC was skipped (missed)",
    ),
    "waiting for its group": (one("waiting", reason="group"), ["waiting"], "waits to begin (group)"),
    "no worker answers": (replace(one("requested"), absent=["downloader"]), ["no_worker"], "no downloader is at work"),
    "nobody plans it": (one("requested"), ["no_worker"], "nobody has planned it"),
    "asked for just now": (one("requested", requested_at=NOON), ["running"], "begins now"),
    "its host is not asked": (
        replace(one("requested"), fetch_held="example.org is not asked (breaker_open)"),
        ["held"],
        "example.org is not asked",
    ),
    "under way": (
        one("running", items=3, new=1, deadline_at=NOON),
        ["running"],
        "1 of 3 items, until 2026-03-01 12:00",
    ),
    "under way without a converter": (replace(one("running"), absent=["converter"]), ["no_worker"], "no converter"),
    "under way and held": (replace(one("running", items=3), fetch_held="budget"), ["held"], "0 of 3 items; budget"),
    "unchanged": (one("complete", items=2, unchanged=2), ["unchanged"], "nothing new (2 items as they were)"),
    "gone": (one("complete", items=2, gone=2), ["gone"], "2 items are gone"),
    "nothing to ask for": (one("complete", skipped=4), ["nothing_found"], "4 known ones were left out"),
    "new bytes, the same records": (one("complete", items=1, changed=1), ["no_change"], "no record is new or changed"),
    "there is data": (one("complete", items=3, new=2, changed=1, records=9), ["data"], "2 new and 1 changed documents"),
    "some of it": (
        one("partial", items=2, new=1, failed=1, reason="timeout", details={"timeout": "no byte for 30 s"}),
        ["data"],
        "brought 1 new document; 1 failed: timeout (no byte for 30 s)",
    ),
    "refused": (one("failed", items=1, failed=1, reason="too_large"), ["refused"], "1 of 1 items failed: too_large"),
    "failed": (one("failed", items=1, failed=1, details={"http": "500"}), ["failed"], "http (500)"),
    "nothing usable": (
        one("partial", items=2, unchanged=1, failed=1, reason="http"),
        ["failed"],
        "1 of 2 items failed",
    ),
    "nothing said why": (one("failed"), ["failed"], "for no reason that was told"),
    "blocked": (one("blocked", items=1, failed=1, details={"robots": ""}), ["blocked"], "does not let us ask: robots"),
    "timed out": (one("timed_out", items=2, unchanged=1, reason="time_limit"), ["timed_out"], "1 of 2 items were done"),
    "timed out with something": (one("timed_out", items=2, new=1), ["data"], "1 new document; then it was timed out"),
    "cancelled": (one("cancelled", reason="asked"), ["cancelled"], "was cancelled (asked)"),
    "data in spite of a stop since": (
        replace(one("complete", items=1, new=1, records=1), holds=[STOPPED]),
        ["data"],
        "1 new document",
    ),
    "stopped in the middle": (
        replace(one("running", items=1), holds=[STOPPED]),
        ["stopped", "running"],
        "all is stopped",
    ),
    "a failure and a skip": (
        facts(runs=[run("failed", reason="http")], slots=[Slot(NOON, "skipped", "overlap"), Slot(DAY, "fired")]),
        ["failed", "skipped"],
        "http",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_cause_has_its_answer(name: str) -> None:
    given, causes, says = CASES[name]
    answers = explain(given)
    assert [answer.why for answer in answers] == causes
    assert says in answers[0].says


def test_the_hint_takes_back_what_holds() -> None:
    keys = ("stop.all", "pause.service.converter", "pause.source.paper")
    answers = explain(facts(holds=[Hold(key, "") for key in keys]))
    assert [answer.hint for answer in answers] == [
        "tidemill resume --all",
        "tidemill resume --service converter",
        "tidemill resume paper",
    ]
