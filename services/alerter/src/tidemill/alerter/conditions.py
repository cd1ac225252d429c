"""Whether the condition of a rule holds, and about which labels. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidemill.alerter.alerts import Seen
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.rules import Rule, Where
from tidemill.alerter.signals import Signal

Labels = tuple[tuple[str, str], ...]
"""Of an alert, sorted, so that they can be a key."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at a moment: events that came, values that were measured."""

    signals: Mapping[str, Sequence[Signal]] = field(default_factory=dict)
    """By event."""
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """By measure."""

    @classmethod
    def of(cls, signals: Iterable[Signal] = (), samples: Iterable[Sample] = ()) -> "Facts":
        by_event, by_measure = defaultdict(list), defaultdict(list)
        for signal in signals:
            by_event[signal.event].append(signal)
        for sample in samples:
            by_measure[sample.measure].append(sample)
        return cls(by_event, by_measure)


def judge(rule: Rule, facts: Facts, now: datetime) -> dict[Labels, Seen]:
    """What is seen of each set of labels for which the condition holds."""
    return _of_events(rule, facts, now) if rule.event is not None else _of_measures(rule, facts)


def _of_events(rule: Rule, facts: Facts, now: datetime) -> dict[Labels, Seen]:
    assert rule.event is not None
    cleared = _cleared(rule, facts, now)
    found: dict[Labels, list[Signal]] = defaultdict(list)
    for signal in _recent(facts.signals.get(rule.event, ()), rule, rule.where, now):
        labels = _key(rule.labelled(signal.labels))
        since = cleared.get(labels)
        if since is None or signal.at > since:
            found[labels].append(signal)
    return {labels: _added_up(signals) for labels, signals in found.items() if _enough(rule, signals)}


def _cleared(rule: Rule, facts: Facts, now: datetime) -> dict[Labels, datetime]:
    """When each set of labels was cleared last."""
    found: dict[Labels, datetime] = {}
    if rule.clears is None:
        return found
    event = rule.clears.event or rule.event or ""
    for signal in _recent(facts.signals.get(event, ()), rule, rule.clears.where, now):
        labels = _key(rule.labelled(signal.labels))
        found[labels] = max(signal.at, found.get(labels, signal.at))
    return found


def _recent(signals: Sequence[Signal], rule: Rule, where: Where, now: datetime) -> Iterator[Signal]:
    after = now - rule.within
    return (signal for signal in signals if after < signal.at <= now and _meets(signal.labels, where))


def _meets(labels: Mapping[str, str], where: Where) -> bool:
    return all(labels.get(name, "") in values for name, values in where.items())


def _enough(rule: Rule, signals: Sequence[Signal]) -> bool:
    return sum(signal.count for signal in signals) >= rule.at_least


def _added_up(signals: Sequence[Signal]) -> Seen:
    last = max(signals, key=lambda signal: signal.at)
    count = sum(signal.count for signal in signals)
    return Seen(value=float(count), count=count, says=last.says, run=last.run, traceparent=last.traceparent)


def _of_measures(rule: Rule, facts: Facts) -> dict[Labels, Seen]:
    found: dict[Labels, Seen] = {}
    for sample in facts.samples.get(rule.measure or "", ()):
        if not _meets(sample.labels, rule.where) or not _beyond(rule, sample.value):
            continue
        labels = _key(rule.labelled(sample.labels))
        known = found.get(labels)
        if known is None or known.value is None or _worse(rule, sample.value, known.value):
            found[labels] = Seen(value=sample.value, says=sample.says, run=sample.run)
    return found


def _beyond(rule: Rule, value: float) -> bool:
    return (rule.above is not None and value > rule.above) or (rule.below is not None and value < rule.below)


def _worse(rule: Rule, value: float, other: float) -> bool:
    return value > other if rule.above is not None else value < other


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
