"""A rule on the past says what it would have said then."""

from datetime import UTC, datetime, timedelta

from tidemill.alerter.alerts import Timing
from tidemill.alerter.keys import digest
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.replay import replay
from tidemill.alerter.rules import Rule
from tidemill.alerter.shipped import shipped_rules
from tidemill.alerter.signals import Signal

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def finished(hours: float, state: str, source: str = "paper") -> Signal:
    labels = {"source": source, "state": state, "reason": "", "trigger": "schedule", "news": "no"}
    return Signal(event="RunFinished", labels=labels, at=START + hours * HOUR, says=f"run is {state}")


def test_events_of_the_past_fire_and_clear_a_rule() -> None:
    rule = shipped_rules()["run_failed"]
    past = [finished(1, "failed"), finished(2, "failed"), finished(3, "complete"), finished(4, "failed", "homes")]
    turns = list(replay("run_failed", rule, Timing(), past, [], START, START + 10 * HOUR))
    assert [((turn.at - START) / HOUR, turn.state, turn.alert.labels["source"]) for turn in turns] == [
        (1, "firing", "paper"),
        (3, "resolved", "paper"),
        (4, "firing", "homes"),
    ]


def test_an_event_that_nothing_clears_ends_by_itself() -> None:
    rule = Rule(event="RunFinished", by=("source",), within=HOUR, summary="x")
    turns = list(replay("mine", rule, Timing(), [finished(1, "failed")], [], START, START + 10 * HOUR))
    assert [((turn.at - START) / HOUR, turn.state) for turn in turns] == [(1, "firing"), (2, "resolved")]


def test_a_value_holds_until_the_next_one_and_for_its_time() -> None:
    rule = Rule.model_validate({"measure": "queue_length", "above": 10, "for": "30m", "summary": "{value} wait"})
    series = {"consumer": "converter"}
    measured = [
        (START + hours * HOUR, value and Sample(measure="queue_length", labels=series, value=value), digest(series))
        for hours, value in ((1, 50.0), (1.25, 5.0), (2, 60.0), (4, None))
    ]
    turns = list(
        replay("mine", rule, Timing(wait=rule.for_), [], measured, START, START + 10 * HOUR)  # type: ignore[arg-type]
    )
    assert [((turn.at - START) / HOUR, turn.state) for turn in turns] == [(2.5, "firing"), (4, "resolved")]
    assert turns[0].summary == "60 wait"
