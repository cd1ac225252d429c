"""Every metric of Tidemill, declared once with its meaning; `python -m` prints them as `docs/metrics.md`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

M = TypeVar("M", Counter, Gauge, Histogram)

CONTENT_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BYTES = tuple(float(2**power) for power in range(20, 31))

_NAME = re.compile(r"tidemill_[a-z][a-z0-9_]*[a-z0-9]")


@dataclass(frozen=True, eq=False)
class Metric(Generic[M]):
    """One declaration. Every metric has a label `service` besides its own; values of labels are few and known, so no
    ids, paths or texts."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    family: M
    """What prometheus-client keeps; services reach it through `Metrics.of`."""

    @property
    def kind(self) -> str:
        return type(self.family).__name__.lower()


METRICS: dict[str, Metric[Any]] = {}


def _declare(name: str, meaning: str, labels: tuple[str, ...], family: M) -> Metric[M]:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a metric is named tidemill_…, not {name!r}")
    METRICS[name] = metric = Metric(name, meaning, labels, family)
    return metric


def counter(name: str, meaning: str, *labels: str) -> Metric[Counter]:
    """Declare something that only grows; its name ends with `_total`."""
    if not name.endswith("_total"):
        raise ValueError(f"a counter's name ends with _total, not {name!r}")
    return _declare(name, meaning, labels, Counter(name, meaning, ("service", *labels), registry=REGISTRY))


def gauge(name: str, meaning: str, *labels: str) -> Metric[Gauge]:
    """Declare a value of this moment."""
    return _declare(name, meaning, labels, Gauge(name, meaning, ("service", *labels), registry=REGISTRY))


def histogram(name: str, meaning: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Metric[Histogram]:
    """Declare a distribution; the name ends with its unit."""
    family = Histogram(name, meaning, ("service", *labels), registry=REGISTRY, buckets=buckets)
    return _declare(name, meaning, labels, family)


# The bus

HANDLED = counter("tidemill_handled_total", "Events through `record`, by what became of them", "consumer", "outcome")
PUBLISHED = counter("tidemill_published_total", "Events confirmed by the stream", "stream")
DUPLICATES_SUPPRESSED = counter(
    "tidemill_duplicates_suppressed_total", "Repeats that did nothing: seen by inbox, stream or owner's table", "layer"
)
GROUP_COMMIT_SIZE = histogram(
    "tidemill_group_commit_size", "Results recorded in one transaction", "consumer", buckets=SIZES
)
QUEUE_WAIT_SECONDS = histogram("tidemill_queue_wait_seconds", "From published to taken up by `work`", "consumer")
WORK_SECONDS = histogram("tidemill_work_seconds", "One `work`, without waiting and recording", "consumer")
RECORD_SECONDS = histogram("tidemill_record_seconds", "One group's transaction, to commit", "consumer")
OUTBOX_UNSENT = gauge("tidemill_outbox_unsent", "Committed events that the stream has not confirmed")
OUTBOX_OLDEST_SECONDS = gauge("tidemill_outbox_oldest_seconds", "Age of the oldest event not confirmed; 0 for none")
REDELIVERIES = counter("tidemill_redeliveries_total", "Messages that came again, unanswered before", "consumer")
DEAD_LETTERS = gauge("tidemill_dead_letters", "Dead letters that wait for a person")
DEAD_LETTERED = counter("tidemill_dead_lettered_total", "Events given up", "consumer", "reason")
RETRIES = counter("tidemill_retries_total", "Failures that will be tried again", "consumer")
RETRIES_WAITING = gauge("tidemill_retries_waiting", "Events that wait in Postgres for their time, or for a stop to end")
COMMANDS = counter("tidemill_commands_total", "Commands answered", "verb", "outcome")
RETENTION_REMOVED = counter("tidemill_retention_removed_total", "What was removed because it was too old", "layer")
CONTROL_STATE = gauge("tidemill_control_state", "1 while the control bucket holds this service so", "state")
CONTROL_HELD = gauge("tidemill_control_held", "1 while this key of the control bucket stops or pauses something", "key")
BUS_CONNECTED = gauge("tidemill_bus_connected", "1 while connected to NATS")
RECONNECTS = counter("tidemill_reconnects_total", "Connections made again after a loss", "to")

# The watcher

FILES = counter("tidemill_files_total", "Files the watcher decided on", "source", "outcome")
WATCH_LATENCY_SECONDS = histogram(
    "tidemill_watch_latency_seconds", "From the end of the stability window to the committed event", "source"
)

# The downloader

DOWNLOADS = counter("tidemill_downloads_total", "Files that runs asked for, by what came of them", "source", "outcome")
DOWNLOADS_WAITING = gauge("tidemill_downloads_waiting", "Files that runs ask for and whose turn has not come")
PUBLICATION_LATE = gauge(
    "tidemill_publication_late", "1 when the last publication window brought no new file", "source"
)

# The scraper

PAGES = counter("tidemill_pages_total", "Pages that runs asked for, by what came of them", "source", "kind", "outcome")
PAGES_WAITING = gauge("tidemill_pages_waiting", "Pages that runs ask for and whose turn has not come")
DECISIONS = counter("tidemill_decisions_total", "What runs decided about targets they knew", "source", "decision")
TARGETS = gauge("tidemill_targets", "Pages that are followed, by what is known of them", "source", "state")

# The converter

DOCUMENTS = counter("tidemill_documents_total", "Documents through conversion", "source", "outcome")
ROWS = counter("tidemill_rows_total", "Rows seen in documents: accepted, rejected, ignored", "source", "outcome")
RECORDS = counter("tidemill_records_total", "Records by what storing changed", "dataset", "change")
CONVERSION_CPU_SECONDS = histogram("tidemill_conversion_cpu_seconds", "CPU of one conversion in its worker", "source")
CONVERSION_PEAK_BYTES = histogram(
    "tidemill_conversion_peak_bytes", "Peak memory of the worker in one conversion", "source", buckets=BYTES
)
RECONVERTED = counter("tidemill_reconverted_total", "Documents converted once more, by what came of it", "outcome")
CHECKS_FAILED = counter(
    "tidemill_checks_failed_total",
    "Records that did not pass a check of their source file",
    "source",
    "check",
    "severity",
)
QUARANTINED = counter(
    "tidemill_quarantined_total",
    "Records held by a check, and what became of them: held, released, dropped",
    "source",
    "outcome",
)
WORKER_RESTARTS = counter("tidemill_worker_restarts_total", "Worker processes replaced", "reason")
WORKERS_BUSY = gauge("tidemill_workers_busy", "Worker processes at work")

# Runs

SLOTS = counter("tidemill_slots_total", "Slots decided: fired, or the reason why not", "source", "outcome")
SLOT_LATENESS_SECONDS = histogram("tidemill_slot_lateness_seconds", "From due, stagger included, to the committed run")
RUNS_WAITING = gauge("tidemill_runs_waiting", "Runs that wait to begin, by what for", "reason")
RUNS = counter("tidemill_runs_total", "Runs that ended", "source", "state")

# Requests to other people's hosts

HTTP_REQUESTS = counter(
    "tidemill_http_requests_total",
    "Requests on the wire, by class of status or failure",
    "source",
    "purpose",
    "outcome",
)
HTTP_BYTES = counter("tidemill_http_bytes_total", "Bytes of bodies as received", "source")
HTTP_SAVED_BYTES = counter("tidemill_http_saved_bytes_total", "Bytes not sent again thanks to 304", "source")
HTTP_ANSWER_SECONDS = histogram("tidemill_http_answer_seconds", "From a request to the head of its answer")
HTTP_WAIT_SECONDS = histogram("tidemill_http_wait_seconds", "Waiting for leave to ask a host")
HTTP_HELD = counter("tidemill_http_held_total", "Requests not made because a host must not be asked now", "reason")
ROBOTS_DECISIONS = counter("tidemill_robots_decisions_total", "What robots.txt said of a URL", "source", "decision")
LIMITER_CONNECTED = gauge("tidemill_limiter_connected", "0 while Redis is lost and nothing is fetched")

# Channels

DELIVERIES = counter(
    "tidemill_deliveries_total",
    "Messages that ended: delivered, or the reason why they were given up",
    "channel",
    "outcome",
)
DELIVERY_ATTEMPTS = counter(
    "tidemill_delivery_attempts_total", "Attempts to deliver: taken, later, never", "channel", "verdict"
)
DELIVERY_SECONDS = histogram("tidemill_delivery_seconds", "One attempt to deliver a message", "channel")
DELIVERIES_WAITING = gauge("tidemill_deliveries_waiting", "Messages not yet taken by the channel", "channel")
DELIVERIES_OLDEST_SECONDS = gauge(
    "tidemill_deliveries_oldest_seconds", "Age of the oldest message not yet taken; 0 for none", "channel"
)
HEARTBEATS = counter(
    "tidemill_heartbeats_total", "Times for a sign of life outwards: sent, failed, withheld while unwell", "outcome"
)

# The configuration

CONFIG_VERSION = gauge("tidemill_config_version", "Configuration the service works by; 0 for the files of its folder")
CONFIG_PROBLEM = gauge("tidemill_config_problem", "1 while the active configuration, or a part of it, cannot be taken")
CONFIGS_OFFERED = counter("tidemill_configs_offered_total", "Configurations offered: applied, refused", "outcome")
AUDIT_BROKEN = gauge("tidemill_audit_broken", "1 while the audit chain does not lead to the head kept outside of it")

# What every service uses

ARCHIVE_BYTES = counter(
    "tidemill_archive_bytes_total", "Bytes through the archive, as stored: written, read", "direction"
)
ARCHIVE_PUTS = counter(
    "tidemill_archive_puts_total", "Contents offered to the archive: stored, known, failed", "outcome"
)
REPORTS = counter(
    "tidemill_reports_total",
    "Reports that were due: kept as an edition, the same as before, or failed",
    "kind",
    "outcome",
)
REPORT_SECONDS = histogram("tidemill_report_seconds", "One report, from its facts to its edition", "kind")
ANOMALIES = counter("tidemill_anomalies_total", "Measures that were stated as unusual", "source", "severity")
CACHE_REQUESTS = counter(
    "tidemill_cache_requests_total", "Keys looked up; the hit ratio is hit ÷ (hit + miss)", "namespace", "result"
)
CACHE_CONNECTED = gauge("tidemill_cache_connected", "0 while Redis is lost and every look-up is a miss")
SPANS_DROPPED = counter("tidemill_spans_dropped_total", "Spans the collector did not take")
LOOP_LAG_SECONDS = gauge("tidemill_loop_lag_seconds", "How late the event loop was at its last heartbeat")
READY = gauge("tidemill_ready", "1 when the last readiness check found nothing wrong")


class Metrics:
    """The metrics of one service. `of` costs a dictionary look-up; keep its result where even that counts."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._children: dict[tuple[Any, ...], Any] = {}

    def of(self, metric: Metric[M], **labels: str) -> M:
        """The counter, gauge or histogram of this service with these labels; all of them must be given."""
        key = (metric, *labels.items())
        child: M | None = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.family.labels(service=self.service, **labels)
        return child


class _Selected:
    """The families of one service, for services that share a process but are scraped one by one."""

    def __init__(self, service: str | None) -> None:
        self._service = service

    def collect(self) -> Iterable[Family]:
        for family in REGISTRY.collect():
            selected = Family(family.name, family.documentation, family.type)
            selected.samples = [
                sample
                for sample in family.samples
                if not sample.name.endswith("_created")
                and self._service in (None, sample.labels.get("service", self._service))
            ]
            if selected.samples:
                yield selected


def exposition(service: str | None = None) -> bytes:
    """The text for Prometheus: of one service with its process, or of all in this process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Selected(service))
    return generate_latest(registry)


def value(name: str, **labels: str) -> float:
    """What a sample (`…_total`, `…_count`) shows now; 0 when it was never touched."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def render_docs(metrics: Mapping[str, Metric[Any]] = METRICS) -> str:
    """`docs/metrics.md`, from the declarations."""
    lines = [
        "# Metrics",
        "",
        "Written by `python -m tidemill.common.telemetry.metrics > docs/metrics.md`; a test holds it equal.",
        "",
        "Every metric has the label `service` besides those below. A service's `/metrics` shows its own and those of",
        "its process (`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, …).",
        "",
        "| metric | kind | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for metric in metrics.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render_docs(), end="")
