"""One alert, followed through time: hypothesis makes the times."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerter.alerts import Acknowledged, Alert, Seen, State, Timing, advance, alert_id

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NEW = Alert(rule="disk_full", severity="error", labels={"folder": "data"})
TIMING = st.builds(
    Timing,
    wait=st.integers(0, 5).map(lambda minutes: minutes * MINUTE),
    keep=st.integers(0, 5).map(lambda minutes: minutes * MINUTE),
    times=st.integers(2, 5),
    within=st.integers(5, 60).map(lambda minutes: minutes * MINUTE),
)
LOOKS = st.lists(st.tuples(st.integers(1, 240), st.booleans()), min_size=1, max_size=120)
"""Seconds since the look before, and whether the condition held."""


def follow(looks: list[tuple[int, bool]], timing: Timing) -> list[tuple[datetime, bool, Alert | None]]:
    found, now, alert = [], START, None
    for seconds, holds in looks:
        now += timedelta(seconds=seconds)
        alert = advance(alert or NEW, Seen() if holds else None, timing, now)
        found.append((now, holds, alert))
    return found


def states(minutes: str, timing: Timing) -> list[str]:
    """Of a condition written minute by minute: `x` holds, `.` does not."""
    seen = follow([(60, letter == "x") for letter in minutes], timing)
    return [alert.state if alert else "" for _, _, alert in seen]


def test_a_condition_has_to_hold_for_its_time() -> None:
    assert states(".xx.xxx..", Timing(wait=2 * MINUTE)) == [
        *("", "pending", "pending", "", "pending", "pending", "firing", "resolved", "resolved")
    ]


def test_an_alert_goes_on_firing_through_a_gap() -> None:
    assert states("x.x...", Timing(keep=2 * MINUTE)) == [*4 * ["firing"], *2 * ["resolved"]]


def test_what_comes_and_goes_flaps_until_it_has_settled() -> None:
    timing = Timing(times=3, within=10 * MINUTE)
    found = states("x.x.x.x." + 12 * ".", timing)
    assert found[:6] == ["firing", "resolved", "firing", "resolved", "flapping", "flapping"]
    assert found[-1] == "resolved"
    ((settled, before),) = [(n, found[n - 1]) for n in range(5, len(found)) if found[n] == "resolved" != found[n - 1]]
    assert before == "flapping" and settled == 14  # Ten minutes after all but one of its fires.


def test_an_acknowledgement_ends_with_the_trouble_or_its_time() -> None:
    alert = advance(NEW, Seen(), Timing(), START)
    assert alert is not None
    taken = Alert(**{**_fields(alert), "acknowledged": Acknowledged(by="eva", at=START, until=START + 3 * MINUTE)})
    assert taken.state is State.ACKNOWLEDGED
    later = advance(taken, Seen(), Timing(), START + 2 * MINUTE)
    assert later is not None and later.state is State.ACKNOWLEDGED
    snoozed = advance(later, Seen(), Timing(), START + 3 * MINUTE)
    assert snoozed is not None and snoozed.state is State.FIRING
    over = advance(later, None, Timing(), START + 2 * MINUTE)
    assert over is not None and over.acknowledged is None and over.duration == 2 * MINUTE


def _fields(alert: Alert) -> dict[str, object]:
    return {name: getattr(alert, name) for name in Alert.__dataclass_fields__}


@given(LOOKS, TIMING)
def test_nothing_fires_before_its_condition_held_for_its_time(looks: list[tuple[int, bool]], timing: Timing) -> None:
    held_since = None
    fires: tuple[datetime, ...] = ()
    for now, holds, alert in follow(looks, timing):
        held_since = (held_since or now) if holds else None
        new = alert.fires if alert else ()
        if new[-1:] != fires[-1:]:
            assert held_since is not None and now - held_since >= timing.wait
        fires = new


@given(LOOKS, TIMING)
def test_an_alert_that_is_over_says_when_and_one_that_fires_since_when(
    looks: list[tuple[int, bool]], timing: Timing
) -> None:
    for now, holds, alert in follow(looks, timing):
        if alert is None:
            assert not holds
        elif alert.state is State.RESOLVED:
            assert alert.duration is not None and alert.duration >= timedelta(0) and not holds
        elif alert.firing:
            assert alert.fired_at is not None and alert.fired_at <= now


@given(LOOKS, TIMING)
def test_an_alert_flaps_only_while_it_fired_often(looks: list[tuple[int, bool]], timing: Timing) -> None:
    for now, _, alert in follow(looks, timing):
        if alert and alert.flapping:
            recent = [at for at in alert.fires if now - at < timing.within]
            assert len(recent) >= (timing.times + 1) // 2


@given(LOOKS, TIMING)
def test_a_look_that_is_repeated_changes_nothing(looks: list[tuple[int, bool]], timing: Timing) -> None:
    for now, holds, alert in follow(looks, timing):
        if alert is not None:
            assert advance(alert, alert.seen if holds else None, timing, now) == alert


def test_the_id_does_not_depend_on_the_order_of_labels() -> None:
    assert alert_id("a", {"x": "1", "y": "2"}) == alert_id("a", {"y": "2", "x": "1"}) != alert_id("a", {"x": "1"})
