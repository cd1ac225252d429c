"""Every metric of Tidemill, declared once with its meaning; `python -m` prints them as `docs/metrics.md`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

M = TypeVar("M", Counter, Gauge, Histogram)

CONTENT_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BYTES = tuple(float(2**power) for power in range(20, 31))

OTHER = "other"

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

CONSUMER_WAITING = gauge("tidemill_consumer_waiting", "Events before a consumer, those in hand included", "consumer")
CONSUMER_IN_HAND = gauge("tidemill_consumer_in_hand", "Events that a consumer was given and did not answer", "consumer")
CONSUMER_OLDEST_SECONDS = gauge(
    "tidemill_consumer_oldest_seconds",
    "Age of the oldest event that a consumer has not finished; 0 for none",
    "consumer",
)
STREAM_MESSAGES = gauge("tidemill_stream_messages", "Messages in a stream", "stream")
STREAM_BYTES = gauge("tidemill_stream_bytes", "Bytes of a stream", "stream")
STREAM_LIMIT_BYTES = gauge("tidemill_stream_limit_bytes", "Bytes that a stream may have; 0 for no limit", "stream")
STREAM_SEQUENCE = gauge("tidemill_stream_sequence", "Number of the last message of a stream", "stream")
STREAM_CONSUMERS = gauge("tidemill_stream_consumers", "Consumers of a stream", "stream")

# The watcher

FILES = counter("tidemill_files_total", "Files the watcher decided on", "source", "outcome")
WATCH_LATENCY_SECONDS = histogram(
    "tidemill_watch_latency_seconds", "From the end of the stability window to the committed event", "source"
)

# The downloader

DOWNLOADS = counter("tidemill_downloads_total", "Files that runs asked for, by what came of them", "source", "outcome")
JOBS_HANDED_OUT = gauge(
    "tidemill_jobs_handed_out", "Jobs that hosts allow to begin now: handed out, and not ended; by it one scales"
)
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
RUN_SECONDS = histogram(
    "tidemill_run_seconds",
    "One run, from the request to its end",
    "source",
    buckets=(1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600),
)
ITEMS = counter("tidemill_items_total", "Items of runs that ended, by what came of them", "source", "outcome")
SOURCE_AGE_SECONDS = gauge(
    "tidemill_source_age_seconds",
    "Since the last run of a source that brought all or part of what it planned",
    "source",
)
RECORD_QUALITY = gauge(
    "tidemill_record_quality", "Mean quality of the records of the last run that was reported", "source", "dataset"
)
QUARANTINE = gauge("tidemill_quarantine", "Records that checks hold and nobody decided on", "source")

# Requests to other people's hosts

HTTP_REQUESTS = counter(
    "tidemill_http_requests_total",
    "Requests on the wire, by class of status or failure; hosts beyond the first hundred are `other`",
    "source",
    "host",
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

# The alerter

ALERTS = gauge("tidemill_alerts", "Alerts, by state", "state")
NOTIFICATIONS = counter(
    "tidemill_notifications_total", "Decisions whether a group of alerts is told now, by their reason", "reason"
)
ALERT_ROUND_SECONDS = histogram("tidemill_alert_round_seconds", "One round of measuring, judging and telling")

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
SLOW_STATEMENTS = counter("tidemill_slow_statements_total", "Statements that took Postgres a second or more")
DATABASE_BYTES = gauge("tidemill_database_bytes", "Bytes of a schema, indexes included", "schema")
DATABASE_CONNECTIONS = gauge("tidemill_database_connections", "Connections to the database, by what they do", "state")
DATABASE_OLDEST_SECONDS = gauge("tidemill_database_oldest_seconds", "Age of the oldest open transaction")
BACKUP_AGE_SECONDS = gauge("tidemill_backup_age_seconds", "Age of the last good backup, where they come by themselves")
DISK_FREE_RATIO = gauge("tidemill_disk_free_ratio", "Free share of the disk that holds `data_dir`")
MEMORY_FREE_RATIO = gauge("tidemill_memory_free_ratio", "Share of this machine's memory that can be had")
LOOP_LAG_SECONDS = gauge("tidemill_loop_lag_seconds", "How late the event loop was at its last heartbeat")
READY = gauge("tidemill_ready", "1 when the last readiness check found nothing wrong")


class Metrics:
    """The metrics of one service. `of` costs a dictionary look-up; keep its result where even that counts."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._children: dict[tuple[Any, ...], Any] = {}
        self._shown: dict[Metric[Gauge], set[tuple[str, ...]]] = {}

    def of(self, metric: Metric[M], **labels: str) -> M:
        """The counter, gauge or histogram of this service with these labels; all of them must be given."""
        key = (metric, *labels.items())
        child: M | None = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.family.labels(service=self.service, **labels)
        return child

    def show(self, metric: Metric[Gauge], values: Mapping[tuple[str, ...], float]) -> None:
        """All values of a gauge by their labels, in the order of the declaration; what is not among them goes."""
        for labels in self._shown.get(metric, set()) - values.keys():
            metric.family.remove(self.service, *labels)
        for labels, value in values.items():
            metric.family.labels(self.service, *labels).set(value)
        self._shown[metric] = set(values)


class Few:
    """Values of a label that others choose: the first ones by their name, the rest together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def name(self, value: str) -> str:
        if value not in self._known and len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class _Network:
    """What went over the network of this machine or container: processes have no counts of their own."""

    def collect(self) -> Iterable[Family]:
        counted = psutil.net_io_counters()
        for what, meaning, received, sent in (
            ("bytes", "Bytes", counted.bytes_recv, counted.bytes_sent),
            ("errors", "Errors and dropped packets", counted.errin + counted.dropin, counted.errout + counted.dropout),
        ):
            family = CounterMetricFamily(
                f"network_{what}", f"{meaning} on the network of this machine or container", labels=["direction"]
            )
            family.add_metric(["received"], received)
            family.add_metric(["sent"], sent)
            yield family


REGISTRY.register(_Network())


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
        "its process (`process_cpu_seconds_total`, `process_resident_memory_bytes`, …), and those of",
        "the network of its machine or container (`network_bytes_total`, `network_errors_total`, by `direction`).",
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
