"""When a group of alerts is told: hypothesis makes the times, simulated minutes pass in a row."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerter.alerts import Acknowledged, Alert, Seen, Timing, advance
from tidemill.alerter.notify import Decision, Escalation, Group, Pace, Reason, decide

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EMPTY = Group(route="default", labels={"source": "paper"})
PACE = Pace(to=("mail",), wait=timedelta(seconds=30), interval=5 * MINUTE, repeat=timedelta(hours=4))
NAMES = ("a", "b", "c")


def alert(name: str) -> Alert:
    return Alert(rule=name, severity="error", labels={"source": "paper"})


def rounds(
    holds: Callable[[int, str], bool],
    *,
    minutes: int,
    pace: Pace = PACE,
    timing: Timing = Timing(),  # noqa: B008 - frozen
    hidden: Callable[[int, str], bool] = lambda minute, name: False,
    acknowledged_from: int | None = None,
    every: int = 60,
) -> Iterator[tuple[int, dict[str, Alert], Decision]]:
    """Look at three alerts, again and again."""
    alerts: dict[str, Alert] = {}
    group = EMPTY
    for look in range(minutes * 60 // every):
        now = START + timedelta(seconds=look * every)
        minute = look * every // 60
        for name in NAMES:
            seen = Seen() if holds(minute, name) else None
            moved = advance(alerts.get(name, alert(name)), seen, timing, now)
            if moved is not None:
                taken = acknowledged_from is not None and minute >= acknowledged_from and moved.firing
                alerts[name] = replace(moved, acknowledged=Acknowledged(by="eva", at=now)) if taken else moved
        hide = {each.id: "silence 1" for name, each in alerts.items() if hidden(minute, name)}
        decision = decide(group, list(alerts.values()), hide, pace, now)
        group = decision.group
        yield minute, dict(alerts), decision


def told(decisions: Iterator[tuple[int, dict[str, Alert], Decision]]) -> list[tuple[int, str]]:
    return [(minute, decision.reason.value) for minute, _, decision in decisions if decision.tells]


def test_alerts_that_come_together_are_one_message() -> None:
    found = [each for each in rounds(lambda minute, name: True, minutes=10) if each[2].tells]
    ((minute, _, decision),) = found
    assert (minute, decision.reason, len(decision.firing)) == (1, Reason.FIRST, 3)


def test_what_is_known_is_repeated_and_its_end_is_told_with_its_duration() -> None:
    found = list(rounds(lambda minute, name: name == "a" and minute < 300, minutes=400))
    assert told(iter(found)) == [(1, "first"), (241, "repeat"), (300, "resolved")]
    (end,) = [decision for _, _, decision in found if decision.reason is Reason.RESOLVED]
    assert end.resolved[0].duration == 300 * MINUTE


def test_the_end_of_what_was_never_told_is_not_told() -> None:
    assert not told(rounds(lambda minute, name: minute == 0, minutes=60))
    assert not told(rounds(lambda minute, name: minute < 30, minutes=60, hidden=lambda minute, name: True))


def test_what_flaps_every_minute_for_a_day_is_told_a_handful_of_times() -> None:
    timing = Timing(times=4, within=timedelta(hours=6))
    found = told(rounds(lambda minute, name: name == "a" and minute % 2 == 0, minutes=24 * 60, timing=timing, every=30))
    most = 2 * timing.times - 1 + timedelta(days=1) // PACE.repeat
    assert len(found) <= most
    assert [reason for _, reason in found].count("flapping") <= 1
    assert any(reason in {"flapping", "first"} for _, reason in found)


@given(st.lists(st.booleans(), min_size=10, max_size=600), st.integers(2, 5), st.integers(1, 4))
def test_however_it_flaps_messages_are_bounded(pattern: list[bool], times: int, repeat_hours: int) -> None:
    """By what is configured: those before it counts as flapping, and one each repeat interval."""
    timing = Timing(times=times, within=timedelta(days=30))
    pace = replace(PACE, repeat=timedelta(hours=repeat_hours))
    found = told(
        rounds(lambda minute, name: name == "a" and pattern[minute], minutes=len(pattern), timing=timing, pace=pace)
    )
    assert len(found) <= 2 * times - 1 + len(pattern) * MINUTE / pace.repeat


LOOKS = st.lists(st.tuples(*[st.booleans() for _ in NAMES]), min_size=1, max_size=200)


@given(LOOKS)
def test_an_end_is_told_once_and_only_after_its_beginning(pattern: list[tuple[bool, ...]]) -> None:
    open_: set[str] = set()
    for _, _, decision in rounds(
        lambda minute, name: pattern[minute][NAMES.index(name)], minutes=len(pattern), timing=Timing(times=50)
    ):
        ended = {each.id for each in decision.resolved} if decision.tells else set()
        assert ended <= open_
        open_ -= ended
        if decision.tells:
            open_ |= {each.id for each in decision.firing}
        assert set(decision.group.told) == open_


@given(LOOKS)
def test_messages_about_news_keep_their_distance(pattern: list[tuple[bool, ...]]) -> None:
    last = None
    for minute, _, decision in rounds(lambda minute, name: pattern[minute][NAMES.index(name)], minutes=len(pattern)):
        if decision.tells:
            assert last is None or (minute - last) * MINUTE >= PACE.interval
            last = minute


@given(LOOKS)
def test_whatever_fires_for_long_is_told(pattern: list[tuple[bool, ...]]) -> None:
    stays = [*pattern, *[(True, True, True)] * 10]
    *_, last = rounds(lambda minute, name: stays[minute][NAMES.index(name)], minutes=len(stays))
    assert set(last[2].group.told) == {alert(name).id for name in NAMES}


def test_nobody_acknowledges_and_others_are_told() -> None:
    pace = replace(
        PACE, escalations=(Escalation(after=30 * MINUTE, to=("sms",)), Escalation(after=60 * MINUTE, to=("boss",)))
    )
    found = list(rounds(lambda minute, name: name == "a" and minute < 90, minutes=120, pace=pace))
    assert [(minute, d.reason.value, d.to) for minute, _, d in found if d.tells] == [
        (1, "first", ("mail",)),
        (30, "escalation", ("sms",)),
        (60, "escalation", ("boss",)),
        (90, "resolved", ("mail", "sms", "boss")),
    ]


def test_an_acknowledgement_stops_repeats_and_escalation() -> None:
    pace = replace(PACE, escalations=(Escalation(after=30 * MINUTE, to=("sms",)),))
    found = rounds(lambda minute, name: minute < 600, minutes=700, pace=pace, acknowledged_from=10)
    assert told(found) == [(1, "first"), (600, "resolved")]


def test_what_is_hidden_is_told_when_it_comes_out() -> None:
    found = list(rounds(lambda minute, name: name == "a", minutes=60, hidden=lambda minute, name: minute < 20))
    assert {d.reason for minute, _, d in found if minute < 20} == {Reason.HIDDEN}
    assert told(iter(found)) == [(21, "first")]
