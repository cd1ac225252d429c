"""What hides an alert, and that it says so."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerter.alerts import Alert, Phase
from tidemill.alerter.hiding import Hiding, Inhibition, Maintenance, Silence
from tidemill.alerter.matchers import InvalidMatcher, Matcher
from tidemill.schedule import Cron, Days, Schedule, find_zone

NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def firing(rule: str, severity: str = "error", **labels: str) -> Alert:
    return Alert(rule=rule, severity=severity, labels=labels, phase=Phase.FIRING, fired_at=NOON)


def matchers(*written: str) -> tuple[Matcher, ...]:
    return tuple(map(Matcher.parse, written))


DOWN = firing("host_blocked", source="paper")
LATE = firing("run_late", source="paper")
OTHER = firing("run_late", source="homes")
BY_SOURCE = Inhibition(
    name="blocked", when=matchers("rule=host_blocked"), hides=matchers("rule=~run_.*"), equal=("source",)
)


def test_a_cause_hides_its_consequences_and_nothing_else() -> None:
    reasons = Hiding(inhibitions=[BY_SOURCE]).reasons([DOWN, LATE, OTHER], NOON)
    assert reasons == {LATE.id: f"inhibited by {DOWN.id}"}
    assert not Hiding(inhibitions=[BY_SOURCE]).reasons([LATE, OTHER], NOON)


RULES = st.sampled_from(["a", "b", "c"])
MATCHED = st.sampled_from(["rule=a", "rule!=a", "rule=~a|b", "rule!~c", "severity=error"])


@given(st.lists(RULES, unique=True, min_size=1), st.lists(st.tuples(MATCHED, MATCHED), max_size=4))
def test_alerts_never_all_hide_one_another(rules: list[str], pairs: list[tuple[str, str]]) -> None:
    """Of one inhibition: somebody is told of the cause."""
    for when, hides in pairs:
        alerts = [firing(rule) for rule in rules]
        hiding = Hiding(inhibitions=[Inhibition(name="x", when=matchers(when), hides=matchers(hides))])
        assert len(hiding.reasons(alerts, NOON)) < len(alerts)


def test_a_silence_hides_what_it_names_until_it_expires() -> None:
    silence = Silence(
        id=3,
        matchers=matchers("source=paper", "severity!=critical"),
        author="eva",
        comment="they move",
        starts_at=NOON,
        ends_at=NOON + HOUR,
    )
    hiding = Hiding(silences=[silence])
    alerts = [LATE, OTHER, firing("disk_full", "critical", source="paper")]
    assert hiding.reasons(alerts, NOON + HOUR / 2) == {LATE.id: "silence 3"}
    assert not hiding.reasons(alerts, NOON + HOUR)
    assert not hiding.reasons(alerts, NOON - HOUR)


def test_a_window_comes_again_and_follows_the_clock_of_its_zone() -> None:
    helsinki = find_zone("Europe/Helsinki")
    nightly = Maintenance(
        name="nightly", matchers=(), begins=Schedule(timing=Cron.parse("0 2 * * *"), zone=helsinki), lasts=2 * HOUR
    )
    winter = datetime(2026, 3, 28, 1, 0, tzinfo=UTC)  # 3:00 in Helsinki
    summer = datetime(2026, 3, 31, 1, 30, tzinfo=UTC)  # 4:30
    assert nightly.is_on(winter) and not nightly.is_on(summer) and nightly.is_on(summer - HOUR)
    assert Hiding(maintenance=[nightly]).reasons([LATE], winter) == {LATE.id: "maintenance nightly"}


def test_whole_days_may_be_windows() -> None:
    christmas = Maintenance(
        name="christmas",
        matchers=matchers("source=paper"),
        begins=Schedule(timing=Cron.parse("0 0 * * *"), zone=find_zone("Europe/Budapest")),
        days=(Days.parse("2026-12-24..2026-12-26"),),
    )
    day = datetime(2026, 12, 25, 12, 0, tzinfo=UTC)
    assert christmas.hides(LATE, day) and not christmas.hides(OTHER, day) and not christmas.hides(LATE, NOON)


@pytest.mark.parametrize("written", ["paper", "source", "=paper", "rule=~(", "Source=x"])
def test_what_is_no_matcher_is_refused_with_the_form(written: str) -> None:
    with pytest.raises(InvalidMatcher):
        Matcher.parse(written)
