"""What events say of a run, and when it has ended as what."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.events import (
    Changes,
    DocumentConverted,
    DocumentFailed,
    DocumentGone,
    DocumentRefused,
    DocumentStored,
    DocumentUnchanged,
    Event,
    JobDead,
    RunPlanned,
)
from tidemill.scheduler.items import OUTCOMES, Item, Rank, merge
from tidemill.scheduler.runs import Ending, Run, count, hear, judge, may_end
from tidemill.scheduler.words import (
    Word,
    word_of_converted,
    word_of_dead,
    word_of_failed,
    word_of_gone,
    word_of_plan,
    word_of_refused,
    word_of_stored,
    word_of_unchanged,
)

START = datetime(2026, 3, 1, 6, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def planned(*items: str, closed: bool = True, total: int = 0, seconds: float = 0, **more: Any) -> RunPlanned:
    total = total or (len(items) if closed else 0)
    return RunPlanned(
        source="paper",
        run="paper-1",
        trigger="schedule",
        items=items,
        closed=closed,
        total=total,
        planned_at=at(seconds),
        **more,
    )


def stored(item: str, *, previous: str = "", seconds: float = 1, **more: Any) -> DocumentStored:
    return DocumentStored(
        source="paper",
        run="paper-1",
        sha256=f"sha-{item}",
        name=item,
        item=item,
        previous_sha256=previous,
        received_at=at(seconds),
        **more,
    )


def converted(
    item: str, outcome: str = "converted", *, previous: str = "", seconds: float = 2, **more: Any
) -> DocumentConverted:
    return DocumentConverted(
        source="paper",
        run="paper-1",
        sha256=f"sha-{item}",
        name=item,
        item=item,
        previous_sha256=previous,
        converter="paper",
        converter_version="1",
        outcome=outcome,
        converted_at=at(seconds),
        **more,
    )


def unchanged(item: str, *, seconds: float = 1, **more: Any) -> DocumentUnchanged:
    return DocumentUnchanged(
        source="paper",
        run="paper-1",
        sha256=f"sha-{item}",
        name=item,
        item=item,
        duplicate_of="first",
        received_at=at(seconds),
        **more,
    )


def failed(item: str, failure: str = "timeout", *, seconds: float = 3) -> DocumentFailed:
    return DocumentFailed(
        source="paper", run="paper-1", item=item, failure=failure, requests=4, bytes_received=10, failed_at=at(seconds)
    )


def gone(item: str, *, seconds: float = 3) -> DocumentGone:
    return DocumentGone(
        source="paper",
        run="paper-1",
        item=item,
        url=f"https://example.org/{item}",
        reason="unlisted",
        requests=1,
        gone_at=at(seconds),
    )


def refused(item: str, *, seconds: float = 3) -> DocumentRefused:
    return DocumentRefused(
        source="paper", run="paper-1", item=item, name=item, reason="too_large", received_at=at(seconds)
    )


def dead(event: Event, service: str = "converter", *, reason: str = "exhausted", seconds: float = 4) -> JobDead:
    return JobDead(
        source="paper",
        service=service,
        consumer=service,
        event_id="e",
        origin_subject=event.subject_filled(),
        reason=reason,
        error="it crashed",
        payload=base64.b64encode(event.to_json()),
        died_at=at(seconds),
    )


READERS: dict[type[Event], Callable[..., Word | None]] = {
    RunPlanned: word_of_plan,
    DocumentConverted: word_of_converted,
    DocumentUnchanged: word_of_unchanged,
    DocumentRefused: word_of_refused,
    DocumentFailed: word_of_failed,
    DocumentGone: word_of_gone,
    JobDead: word_of_dead,
}


def word_of(event: Event, *, converts: bool = True) -> Word | None:
    if isinstance(event, DocumentStored):
        return word_of_stored(event, converts=converts)
    return READERS[type(event)](event)


def add_up(events: Sequence[Event], *, converts: bool = True) -> tuple[Run, dict[str, Item]]:
    """The ledger without its tables: the items of `paper-1`, and the run they make."""
    run = Run(run="paper-1", source="paper", requested_at=at(-1), trigger="schedule", released_at=at(-1))
    items: dict[str, Item] = {}
    for event in events:
        word = word_of(event, converts=converts)
        if word is None:
            continue
        run = hear(run, word)
        for name, said in word.items.items():
            before = items.get(name)
            items[name] = now = said if before is None else merge(before, said)
            run = count(run, before, now)
        run = judge(run, ending_of(items) if may_end(run) else Ending())
    return run, items


def ending_of(items: dict[str, Item]) -> Ending:
    reasons: dict[str, int] = {}
    for item in items.values():
        if item.outcome == "failed":
            reasons[item.reason] = reasons.get(item.reason, 0) + 1
    return Ending(max((item.ended_at for item in items.values() if item.ended_at), default=None), reasons)


ENDS: dict[str, tuple[list[Event], str, str, dict[str, int]]] = {
    "nothing was planned": ([planned()], "complete", "", {"items": 0}),
    "a new document": ([planned("a"), stored("a"), converted("a")], "complete", "", {"new": 1}),
    "the item held something before": (
        [planned("a"), stored("a", previous="x"), converted("a", previous="x")],
        "complete",
        "",
        {"changed": 1},
    ),
    "the same bytes": ([planned("a"), unchanged("a")], "complete", "", {"unchanged": 1}),
    "it may not be stored": ([planned("a"), refused("a")], "failed", "too_large", {"failed": 1}),
    "one of two could not be had": (
        [planned("a", "b"), unchanged("a"), failed("b")],
        "partial",
        "timeout",
        {"unchanged": 1, "failed": 1},
    ),
    "none could be had": ([planned("a", "b"), failed("a"), failed("b", "http")], "failed", "http", {"failed": 2}),
    "we may not ask": ([planned("a", "b"), failed("a", "blocked"), failed("b", "robots")], "blocked", "blocked", {}),
    "the converter does not know it": (
        [planned("a"), stored("a"), converted("a", "unrecognised")],
        "failed",
        "unrecognised",
        {"failed": 1},
    ),
    "the converter gave up": (
        [planned("a"), stored("a"), dead(stored("a"))],
        "failed",
        "dead_exhausted",
        {"failed": 1},
    ),
    "and was mended": (
        [planned("a"), stored("a"), dead(stored("a")), converted("a", seconds=9)],
        "complete",
        "",
        {"new": 1, "failed": 0},
    ),
    "known items were left out": ([planned(skipped={"fresh": 3, "budget": 2})], "complete", "", {"skipped": 5}),
    "the plan has not come in whole": ([planned("b", total=2), unchanged("b")], "running", "", {"items": 1}),
    "the plan is not closed": ([planned("a", closed=False), unchanged("a")], "running", "", {}),
    "nothing has happened yet": ([planned("a")], "planned", "", {}),
    "the outcome came first": ([stored("a")], "running", "", {}),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_run_ends_as_what_its_items_say(name: str) -> None:
    events, state, reason, counts = ENDS[name]
    run, _ = add_up(events)
    assert (run.state, run.reason) == (state, reason)
    assert {count: getattr(run, count) for count in counts} == counts
    assert run.ended == (run.finished_at is not None)


def test_where_nothing_converts_a_stored_document_is_all_that_is_wanted() -> None:
    run, _ = add_up([planned("a", "b"), stored("a"), stored("b", previous="x")], converts=False)
    assert (run.state, run.new, run.changed) == ("complete", 1, 1)


def test_a_mended_run_is_marked_corrected_and_keeps_its_first_end() -> None:
    run, items = add_up([planned("a"), dead(stored("a"), seconds=4), converted("a", seconds=1000)])
    assert (run.state, run.corrected, run.finished_at) == ("complete", True, at(4))
    assert items["a"].at == at(1000)


def test_a_document_that_is_converted_again_later_changes_no_run_of_the_past() -> None:
    before, _ = add_up([planned("a"), converted("a", records={"d": Changes(new=3)})])
    after, items = add_up(
        [
            planned("a"),
            converted("a", records={"d": Changes(new=3)}),
            converted("a", records={"d": Changes()}, seconds=9),
        ]
    )
    assert (after.told, after.corrected) == (before.told, False)
    assert items["a"].records == {"d": {"new": 3, "changed": 0, "unchanged": 0, "history": 0, "gone": 0}}


def test_costs_add_up_over_items_and_not_over_repeats() -> None:
    run, _ = add_up(
        [
            planned("a", "b", requests=1, bytes_received=5),
            stored("a", requests=2, bytes_received=100),
            converted("a", requests=2, bytes_received=100, cpu_seconds=0.5, peak_memory_bytes=70),
            converted("a", requests=2, bytes_received=100, cpu_seconds=0.5, peak_memory_bytes=70),
            failed("b"),
        ]
    )
    assert (run.requests, run.bytes, run.cpu_seconds, run.peak_memory_bytes) == (7, 115, 0.5, 70)


def test_a_plan_that_died_ends_its_run_until_it_is_made_after_all() -> None:
    requested = JobDead(
        source="",
        service="downloader",
        consumer="downloader-requested",
        event_id="e",
        origin_subject="tidemill.run.requested.paper",
        reason="poison",
        error="no index",
        headers={"Tidemill-Run": "paper-1"},
        died_at=at(5),
    )
    run, _ = add_up([requested])
    assert (run.state, run.reason, run.finished_at) == ("failed", "plan_dead_poison", at(5))
    run, _ = add_up([requested, planned("a", seconds=60), unchanged("a", seconds=61)])
    assert (run.state, run.corrected) == ("complete", True)


@pytest.mark.parametrize(
    "letter",
    [
        dead(converted("a"), "reporter"),
        dead(stored("a"), "converter").model_copy(update={"payload": b""}),
        dead(stored("a"), "converter").model_copy(update={"payload": b"[1]"}),
        dead(stored("a"), "converter").model_copy(update={"payload": b"not JSON"}),
    ],
    ids=["only listens", "too large to be told", "a list", "no JSON"],
)
def test_a_dead_letter_that_names_no_item_harms_no_run(letter: JobDead) -> None:
    assert word_of_dead(letter) is None


def test_what_the_ledger_itself_could_not_note_counts_as_failed() -> None:
    word = word_of_dead(dead(converted("a"), "scheduler"))
    assert word is not None
    assert word.items["a"].reason == "dead_exhausted"


def test_the_letter_that_postgres_cannot_keep_is_taken_out() -> None:
    assert list(word_of_failed(failed("a\x00b")).items) == ["ab"]


def test_an_item_may_be_an_address_of_any_length() -> None:
    long = "https://example.org/" + "a" * 5000
    [one], [other] = (list(word_of_failed(failed(f"{long}{n}")).items) for n in (1, 2))
    assert one != other
    assert len(one.encode()) < 1000
    assert list(word_of_plan(planned(f"{long}1")).items) == [one]


def test_what_is_over_stays_over() -> None:
    run, _ = add_up([planned("a")])
    over = replace(run, state="timed_out", reason="time_limit", ended_by="time_limit", finished_at=at(50))
    word = word_of(unchanged("a"))
    assert word is not None
    late = judge(count(hear(over, word), Item(Rank.PLANNED, at(0), planned=True), word.items["a"]), Ending())
    assert (late.state, late.reason, late.finished_at) == ("timed_out", "time_limit", at(50))


NAMES = st.sampled_from("abc")
MOMENTS = st.integers(0, 20).map(at)


@st.composite
def items(draw: st.DrawFn) -> Item:
    rank = draw(st.sampled_from(Rank))
    moment = draw(MOMENTS)
    return Item(
        rank=rank,
        at=moment,
        outcome=draw(st.sampled_from(OUTCOMES)) if rank >= Rank.DEAD else "",
        reason=draw(st.sampled_from(("", "timeout"))),
        planned=draw(st.booleans()),
        begun_at=moment if rank >= Rank.STORED else None,
        ended_at=moment if rank >= Rank.DEAD else None,
        requests=draw(st.integers(0, 3)),
        bytes=draw(st.integers(0, 3)),
        cpu_seconds=draw(st.sampled_from((0.0, 0.5))),
        peak_memory_bytes=draw(st.integers(0, 3)),
    )


@given(items(), items(), items())
def test_what_is_said_of_an_item_adds_up_in_any_order(a: Item, b: Item, c: Item) -> None:
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


def outcome_events(item: str, seconds: int) -> st.SearchStrategy[list[Event]]:
    """What may come of one item, in the order in which it happens."""
    one, two, three = seconds, seconds + 1, seconds + 2
    return st.sampled_from(
        [
            [],
            [unchanged(item, seconds=one, requests=1)],
            [failed(item, seconds=one)],
            [failed(item, "blocked", seconds=one)],
            [refused(item, seconds=one)],
            [stored(item, seconds=one, bytes_received=7)],
            [stored(item, seconds=one), converted(item, seconds=two, cpu_seconds=0.25)],
            [stored(item, seconds=one, previous="x"), converted(item, previous="x", seconds=two)],
            [stored(item, seconds=one), converted(item, "empty", seconds=two)],
            [stored(item, seconds=one, reappeared=True), converted(item, reappeared=True, seconds=two)],
            [gone(item, seconds=two)],
            [failed(item, seconds=one), gone(item, seconds=two)],
            [stored(item, seconds=one), dead(stored(item, seconds=one), seconds=two)],
            [
                stored(item, seconds=one),
                dead(stored(item, seconds=one), seconds=two),
                converted(item, seconds=three, records={"d": Changes(new=2)}),
            ],
        ]
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A run as it happened: its plan in one or two parts, and what came of its items."""
    names = draw(st.lists(NAMES, unique=True, max_size=3))
    cut = draw(st.integers(0, len(names)))
    events: list[Event] = []
    if cut and draw(st.booleans()):
        events.append(planned(*names[:cut], closed=False, seconds=-0.5))
        events.append(planned(*names[cut:], total=len(names), skipped={"fresh": 1}))
    else:
        events.append(planned(*names, skipped={"fresh": 2}))
    for number, name in enumerate(names):
        events += draw(outcome_events(name, number * 5))
    return events


@given(histories(), st.data())
def test_the_events_of_a_run_give_the_same_in_any_order(history: list[Event], data: st.DataObject) -> None:
    outcomes = [event for event in history if not isinstance(event, RunPlanned)]
    again = data.draw(st.lists(st.sampled_from(outcomes))) if outcomes else []
    shuffled = data.draw(st.permutations([*history, *again]))
    assert add_up(shuffled) == add_up(history)


def test_what_is_gone_and_what_is_there_again_are_outcomes_of_their_own() -> None:
    run, items = add_up(
        [
            planned("a", "b", "c"),
            gone("a"),
            stored("b", previous="x", reappeared=True),
            converted("b", previous="x", reappeared=True),
            stored("c", previous="x"),
            converted("c", previous="x"),
        ]
    )
    assert (run.state, run.gone, run.reappeared, run.changed, run.done) == ("complete", 1, 1, 1, 3)
    assert (items["a"].outcome, items["a"].reason, items["b"].outcome) == ("gone", "unlisted", "reappeared")
    kept, _ = add_up([planned("b"), stored("b", reappeared=True)], converts=False)
    assert kept.reappeared == 1
