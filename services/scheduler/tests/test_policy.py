"""Whether runs begin, wait or are dropped."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.scheduler.policy import Ask, Decision, Situation, failures_after


def situation(**known: Any) -> Situation:
    return Situation(**{"held": lambda source: None, **known})


def ask(run: str = "demo-2", **more: Any) -> Ask:
    return Ask(**{"run": run, "source": "demo", **more})


@pytest.mark.parametrize(
    ("overlap", "what", "instead_of"),
    [("skip", "drop", ()), ("buffer", "wait", ()), ("cancel", "begin", ("demo-1",)), ("allow", "begin", ())],
)
def test_the_overlap_policy_decides_while_another_run_is_under_way(
    overlap: str, what: str, instead_of: tuple[str, ...]
) -> None:
    decision = situation(under_way={"demo": ["demo-1"]}).decide(ask(overlap=overlap))
    assert (decision.what, decision.instead_of) == (what, instead_of)
    assert decision.reason == ("" if what == "begin" else "overlap")


@pytest.mark.parametrize("overlap", ["skip", "buffer"])
def test_one_run_may_wait_and_no_more(overlap: str) -> None:
    now = situation(under_way={"demo": ["demo-1"]}, waiting={"demo": ["demo-0"]})
    assert now.decide(ask(overlap=overlap)) == Decision("drop", "overlap", "demo-0 waits to begin")


def test_what_is_cancelled_for_another_run_is_out_of_the_way() -> None:
    now = situation(under_way={"demo": ["demo-1"]}, waiting={"demo": ["demo-0"]})
    assert now.decide(ask("demo-2", overlap="cancel")).instead_of == ("demo-1", "demo-0")
    assert now.decide(ask("demo-3", overlap="cancel")).instead_of == ("demo-2",)


def test_what_holds_a_run_is_named() -> None:
    assert situation(held=lambda source: "pause.all").decide(ask()) == Decision("wait", "held", "pause.all")
    assert situation(disk="full").decide(ask()) == Decision("wait", "disk", "full")
    full = situation(in_group={"heavy": 1})
    assert full.decide(ask(group="heavy")) == Decision("wait", "group", "1 of group heavy are under way")


def test_the_run_that_gives_way_makes_room_in_its_group() -> None:
    now = situation(under_way={"demo": ["demo-1"]}, in_group={"heavy": 1})
    assert now.decide(ask(overlap="cancel", group="heavy")) == Decision("begin", instead_of=("demo-1",))
    assert now.in_group == {"heavy": 1}


def test_runs_of_a_backfill_have_a_limit_of_their_own() -> None:
    now = situation(under_way={"demo": ["demo-1"]}, backfill_size={"b": 2})
    decisions = [now.decide(ask(f"demo-b{number}", backfill="b")) for number in range(3)]
    assert [decision.what for decision in decisions] == ["begin", "begin", "wait"]
    assert situation(in_backfill={"b": 2}).decide(ask()).what == "begin"


def test_a_run_that_waited_is_not_dropped_for_those_behind_it() -> None:
    now = situation(waiting={"demo": ["demo-1", "demo-2"]})
    assert now.decide(ask("demo-1", waited=True)).what == "begin"
    assert now.decide(ask("demo-2", waited=True)) == Decision("wait", "overlap", "demo-1 comes first")


SOURCES = {
    "one": ("skip", "heavy"),
    "two": ("cancel", "heavy"),
    "three": ("allow", "heavy"),
    "four": ("buffer", "heavy"),
    "five": ("cancel", None),
}


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    source = draw(st.sampled_from(sorted(SOURCES)))
    overlap, group = SOURCES[source]
    return ask(
        draw(st.uuids().map(str)),
        source=source,
        overlap=overlap,
        group=group,
        backfill=draw(st.sampled_from([None, None, "b"])),
        queued=draw(st.booleans()),
    )


@given(st.lists(asks(), max_size=30))
def test_limits_hold_whatever_is_asked_in_whatever_order(wanted: list[Ask]) -> None:
    now = situation(group_size={"heavy": 2}, backfill_size={"b": 3})
    under_way: dict[str, Ask] = {}
    waiting: dict[str, Ask] = {}
    for each in wanted:
        decision = now.decide(each)
        for gone in decision.instead_of:
            under_way.pop(gone, None)
            waiting.pop(gone, None)
        {"begin": under_way, "wait": waiting, "drop": {}}[decision.what][each.run] = each
        assert bool(decision.reason) == (decision.what != "begin")
        assert sum(run.backfill == "b" for run in under_way.values()) <= 3
        assert sum(run.group == "heavy" for run in under_way.values()) <= 2


def test_failures_in_a_row_are_counted() -> None:
    assert failures_after(0, ["failed", "blocked"]) == 2
    assert failures_after(2, ["cancelled"]) == 2
    assert failures_after(2, ["partial", "timed_out"]) == 1
    assert failures_after(4, ["complete"]) == 0
