"""When a rule would have fired, held against what is known of the past. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidemill.alerter.alerts import Alert, State, Timing, advance, alert_id
from tidemill.alerter.conditions import Facts, judge
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.rules import Rule
from tidemill.alerter.signals import Signal
from tidemill.alerter.words import words_of

Measured = tuple[datetime, Sample | None, str]
"""When, what (None: it was there no more), and the digest of its labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An alert would have begun to fire, to flap, or been resolved."""

    at: datetime
    state: State
    alert: Alert
    summary: str


def replay(
    name: str,
    rule: Rule,
    timing: Timing,
    signals: Sequence[Signal],
    measured: Sequence[Measured],
    since: datetime,
    until: datetime,
) -> Iterator[Turn]:
    """In the order of time. Looked at whenever something came, and whenever that may have become old enough."""
    alerts: dict[str, Alert] = {}
    history = _History(signals, measured, rule.within)
    for now in _moments(rule, timing, signals, measured, since, until):
        seen = {alert_id(name, dict(key)): (dict(key), what) for key, what in judge(rule, history.at(now), now).items()}
        for id in {*alerts, *seen}:
            labels, what = seen.get(id, ({}, None))
            before = alerts.get(id) or Alert(rule=name, severity=rule.severity, labels=labels)
            after = advance(before, what, timing, now)
            if after is None:
                alerts.pop(id, None)
                continue
            alerts[id] = after
            if after.state is not before.state and after.state is not State.PENDING and after.fired_at:
                yield Turn(at=now, state=after.state, alert=after, summary=words_of(rule, after).summary)


class _History:
    """What was known at each moment."""

    def __init__(self, signals: Sequence[Signal], measured: Sequence[Measured], within: timedelta) -> None:
        self._signals = sorted(signals, key=lambda signal: signal.at)
        self._times = [signal.at for signal in self._signals]
        self._measured = sorted(measured, key=lambda each: each[0])
        self._within = within
        self._taken = 0
        self._values: dict[str, Sample] = {}

    def at(self, now: datetime) -> Facts:
        """Asked in the order of time."""
        while self._taken < len(self._measured) and self._measured[self._taken][0] <= now:
            _, sample, series = self._measured[self._taken]
            self._taken += 1
            if sample is None:
                self._values.pop(series, None)
            else:
                self._values[series] = sample
        first, last = bisect_right(self._times, now - self._within), bisect_right(self._times, now)
        return Facts.of(self._signals[first:last], self._values.values())


def _moments(
    rule: Rule,
    timing: Timing,
    signals: Sequence[Signal],
    measured: Sequence[Measured],
    since: datetime,
    until: datetime,
) -> list[datetime]:
    came = {signal.at for signal in signals} | {at for at, _, _ in measured}
    ends = {at + rule.within for at in came} if rule.event is not None else set()
    base = came | ends
    later = {at + delay for at in base for delay in (timing.wait, timing.keep, timing.within)}
    return sorted(at for at in base | later if since <= at <= until)
