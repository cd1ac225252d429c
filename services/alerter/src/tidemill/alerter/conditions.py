"""Whether the condition of a rule holds, and about which labels. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidemill.alerter.alerts import Seen
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.rules import Clears, Rule, Where
from tidemill.alerter.signals import Signal

Labels = tuple[tuple[str, str], ...]
"""Of an alert, sorted, so that they can be a key."""


Series = Sequence[Signal]
"""Signals of one event with the same labels."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at a moment: events that came, values that were measured."""

    signals: Mapping[str, Sequence[Series]] = field(default_factory=dict)
    """By event. Many signals have few sets of labels, and rules ask for labels."""
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """By measure."""

    @classmethod
    def of(cls, signals: Iterable[Signal] = (), samples: Iterable[Sample] = ()) -> "Facts":
        series: dict[tuple[str, Labels], list[Signal]] = defaultdict(list)
        for signal in signals:
            series[signal.event, _key(signal.labels)].append(signal)
        return cls(_by_event(series), _by_measure(samples))

    @classmethod
    def counted(cls, signals: Mapping[tuple[str, str, datetime], Signal]) -> "Facts":
        """Of signals by event, digest of their labels, and minute."""
        series: dict[tuple[str, str], list[Signal]] = defaultdict(list)
        for (event, digest, _), signal in signals.items():
            series[event, digest].append(signal)
        return cls(_by_event(series))

    def measured(self, samples: Iterable[Sample]) -> "Facts":
        """With these values."""
        return Facts(self.signals, _by_measure(samples))


def _by_event(series: Mapping[tuple[str, Any], Series]) -> dict[str, list[Series]]:
    found: dict[str, list[Series]] = defaultdict(list)
    for (event, _), signals in series.items():
        found[event].append(signals)
    return found


def _by_measure(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.measure].append(sample)
    return found


def judge(rule: Rule, facts: Facts, now: datetime) -> dict[Labels, Seen]:
    """What is seen of each set of labels for which the condition holds."""
    return _of_events(rule, facts, now) if rule.event is not None else _of_measures(rule, facts)


def _of_events(rule: Rule, facts: Facts, now: datetime) -> dict[Labels, Seen]:
    assert rule.event is not None
    found: dict[Labels, list[Signal]] = defaultdict(list)
    for labels, signals in _recent(facts.signals.get(rule.event, ()), rule, rule.where, now):
        found[labels] += signals
    if rule.clears is not None and found:
        cleared = _cleared(rule, rule.clears, facts, now)
        for labels in found.keys() & cleared.keys():
            found[labels] = [signal for signal in found[labels] if signal.at > cleared[labels]]
    return {labels: _added_up(signals) for labels, signals in found.items() if _enough(rule, signals)}


def _cleared(rule: Rule, clears: Clears, facts: Facts, now: datetime) -> dict[Labels, datetime]:
    """When each set of labels was cleared last."""
    found: dict[Labels, datetime] = {}
    for labels, signals in _recent(facts.signals.get(clears.event or rule.event or "", ()), rule, clears.where, now):
        last = max(signal.at for signal in signals)
        found[labels] = max(last, found.get(labels, last))
    return found


def _recent(
    all_series: Sequence[Series], rule: Rule, where: Where, now: datetime
) -> Iterator[tuple[Labels, list[Signal]]]:
    """What counts at this moment, by the labels of the alert that it is about."""
    after = now - rule.within
    for series in all_series:
        if not _meets(series[0].labels, where):
            continue
        if signals := [signal for signal in series if after < signal.at <= now]:
            yield _key(rule.labelled(series[0].labels)), signals


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
        # Most values are well, and a look at labels takes longer.
        if not _beyond(rule, sample.value) or not _meets(sample.labels, rule.where):
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
