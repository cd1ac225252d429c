"""What rounds measure, as Prometheus sees it: of the replica that made the last ones, and of no other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import Gauge

from tidemill.alerter.measures.declared import MEASURES, Sample
from tidemill.alerter.measures.queues import Before, Held
from tidemill.common.telemetry.metrics import (
    BACKUP_AGE_SECONDS,
    CONSUMER_IN_HAND,
    CONSUMER_OLDEST_SECONDS,
    CONSUMER_WAITING,
    DATABASE_BYTES,
    DATABASE_CONNECTIONS,
    DATABASE_OLDEST_SECONDS,
    DISK_FREE_RATIO,
    MEMORY_FREE_RATIO,
    QUARANTINE,
    RECORD_QUALITY,
    SOURCE_AGE_SECONDS,
    STREAM_BYTES,
    STREAM_CONSUMERS,
    STREAM_LIMIT_BYTES,
    STREAM_MESSAGES,
    STREAM_SEQUENCE,
    Metric,
    Metrics,
)

GAUGES: Mapping[str, Metric[Gauge]] = {
    "backup_age": BACKUP_AGE_SECONDS,
    "database_bytes": DATABASE_BYTES,
    "database_connections": DATABASE_CONNECTIONS,
    "database_oldest": DATABASE_OLDEST_SECONDS,
    "disk_free": DISK_FREE_RATIO,
    "memory_free": MEMORY_FREE_RATIO,
    "quarantine": QUARANTINE,
    "record_quality": RECORD_QUALITY,
    "source_age": SOURCE_AGE_SECONDS,
}
"""By measure; the labels are those of the measure."""
OF_CONSUMERS = (CONSUMER_WAITING, CONSUMER_IN_HAND, CONSUMER_OLDEST_SECONDS)
OF_STREAMS = (STREAM_MESSAGES, STREAM_BYTES, STREAM_LIMIT_BYTES, STREAM_SEQUENCE, STREAM_CONSUMERS)


class Shown:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def show(self, samples: Iterable[Sample], consumers: Mapping[str, Before], streams: Mapping[str, Held]) -> None:
        values: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        for sample in samples:
            if sample.measure in GAUGES:
                labels = tuple(sample.labels[label] for label in MEASURES[sample.measure].labels)
                values[sample.measure][labels] = sample.value
        for measure, gauge in GAUGES.items():
            self._metrics.show(gauge, values[measure])
        self._show(OF_CONSUMERS, {name: (one.waiting, one.in_hand, one.oldest) for name, one in consumers.items()})
        self._show(
            OF_STREAMS,
            {
                name: (one.messages, one.bytes, one.limit_bytes, one.sequence, one.consumers)
                for name, one in streams.items()
            },
        )

    def clear(self) -> None:
        """Another replica makes the rounds, and knows better."""
        self.show((), {}, {})

    def _show(self, gauges: tuple[Metric[Gauge], ...], rows: Mapping[str, tuple[Any, ...]]) -> None:
        for place, gauge in enumerate(gauges):
            self._metrics.show(gauge, {(name,): float(row[place]) for name, row in rows.items()})
