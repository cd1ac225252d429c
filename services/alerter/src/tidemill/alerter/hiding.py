"""Why an alert that fires is told to nobody: another alert is its cause, a silence, a maintenance window."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidemill.alerter.alerts import Alert
from tidemill.alerter.matchers import Matcher, all_hold
from tidemill.schedule import Days, Schedule, newest_slots, wall


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """While an alert of `when` fires, those of `hides` that have the same values in `equal` are its consequences."""

    name: str
    when: tuple[Matcher, ...]
    hides: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What somebody does not want to hear of, for a time."""

    id: int
    matchers: tuple[Matcher, ...]
    author: str
    comment: str
    starts_at: datetime
    ends_at: datetime

    def hides(self, alert: Alert, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at and all_hold(self.matchers, alert.matchable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Times at which trouble is expected: after each slot of `begins` for as long as it `lasts`, and on whole days."""

    name: str
    matchers: tuple[Matcher, ...]
    begins: Schedule | None = None
    lasts: timedelta = timedelta(0)
    days: tuple[Days, ...] = ()

    def is_on(self, now: datetime) -> bool:
        if self.begins is None:
            return False
        today = wall(now, self.begins.zone).date()
        if any(days.hold(today) for days in self.days):
            return True
        return bool(self.lasts and newest_slots(self.begins, now - self.lasts, now, 1))

    def hides(self, alert: Alert, now: datetime) -> bool:
        return all_hold(self.matchers, alert.matchable) and self.is_on(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """Everything that hides alerts."""

    inhibitions: Sequence[Inhibition] = ()
    silences: Sequence[Silence] = ()
    maintenance: Sequence[Maintenance] = ()

    def reasons(self, alerts: Collection[Alert], now: datetime) -> Mapping[str, str]:
        """By id of a firing alert that is hidden: why, as `inhibited by …`, `silence 3`, `maintenance weekly`."""
        firing = [alert for alert in alerts if alert.firing]
        on = [window for window in self.maintenance if window.is_on(now)]
        found: dict[str, str] = {}
        for alert in firing:
            if reason := self._reason(alert, on, now):
                found[alert.id] = reason
        # A hidden alert still hides its consequences: they would be told in its place otherwise.
        for inhibition in self.inhibitions:
            for alert, cause in _consequences(inhibition, firing):
                found.setdefault(alert.id, f"inhibited by {cause.id}")
        return found

    def _reason(self, alert: Alert, on: Sequence[Maintenance], now: datetime) -> str:
        labels = alert.matchable
        for silence in self.silences:
            if silence.hides(alert, now):
                return f"silence {silence.id}"
        return next((f"maintenance {window.name}" for window in on if all_hold(window.matchers, labels)), "")


def _consequences(inhibition: Inhibition, firing: Sequence[Alert]) -> list[tuple[Alert, Alert]]:
    causes: dict[tuple[str, ...], Alert] = {}
    for alert in firing:
        if all_hold(inhibition.when, alert.matchable):
            causes.setdefault(_values(alert, inhibition.equal), alert)
    if not causes:
        return []
    hidden = []
    for alert in firing:
        cause = causes.get(_values(alert, inhibition.equal))
        # An alert that is a cause itself is never hidden: two would hide each other.
        if cause and not all_hold(inhibition.when, alert.matchable) and all_hold(inhibition.hides, alert.matchable):
            hidden.append((alert, cause))
    return hidden


def _values(alert: Alert, names: Sequence[str]) -> tuple[str, ...]:
    labels = alert.matchable
    return tuple(labels.get(name, "") for name in names)
