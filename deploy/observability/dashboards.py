"""The dashboards: what is wrong first, then where, then why."""

from collections.abc import Sequence

from deploy.observability.panels import Dashboard, Panel, Query, Row, Variable
from tidemill.common.telemetry import metrics as m
from tidemill.common.telemetry.metrics import Metric

RATE = "$__rate_interval"
OF_SERVICE = 'service=~"$service"'
OF_SOURCE = 'source=~"$source"'
HIT = 'result="hit"'
SERVICE = Variable("service", m.READY.name)
SOURCE = Variable("source", m.RUNS.name)


def select(metric: Metric[object], matchers: str = "", suffix: str = "") -> str:
    return f"{metric.name}{suffix}{{{matchers}}}" if matchers else f"{metric.name}{suffix}"


def rate(metric: Metric[object], by: str = "", matchers: str = "", *, zero: bool = False) -> str:
    """Per second. `zero`: of what nothing has happened yet there is no series, and that is good news."""
    grouped = f" by ({by})" if by else ""
    said = f"sum{grouped} (rate({select(metric, matchers)}[{RATE}]))"
    return f"{said} or vector(0)" if zero else said


def increase(metric: Metric[object], span: str, by: str = "", matchers: str = "", *, zero: bool = False) -> str:
    grouped = f" by ({by})" if by else ""
    said = f"sum{grouped} (increase({select(metric, matchers)}[{span}]))"
    return f"{said} or vector(0)" if zero else said


def quantile(share: float, metric: Metric[object], by: str = "", matchers: str = "") -> str:
    grouped = ", ".join(filter(None, ("le", by)))
    buckets = select(metric, matchers, "_bucket")
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({buckets}[{RATE}])))"


def mean(metric: Metric[object], by: str = "", matchers: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    total, count = (f"sum{grouped} (rate({select(metric, matchers, suffix)}[{RATE}]))" for suffix in ("_sum", "_count"))
    return f"{total} / {count}"


def most(metric: Metric[object], by: str = "", matchers: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"max{grouped} ({select(metric, matchers)})"


def stat(title: str, unit: str, expr: str, *, says: str = "", legend: str = "", **marks: float) -> Panel:
    return Panel(title, unit, (Query(expr, legend),), says=says, kind="stat", width=4, **marks)  # type: ignore[arg-type]


def chart(title: str, unit: str, *queries: Query, says: str = "", width: int = 8, **marks: float) -> Panel:
    return Panel(title, unit, queries, says=says, width=width, **marks)  # type: ignore[arg-type]


OVERVIEW = Dashboard(
    uid="tidemill-overview",
    title="Tidemill: overview",
    says="Does it work, is it fresh, does somebody have to look?",
    rows=(
        Row(
            "Now",
            (
                stat("Services not ready", "short", f"count({m.READY.name} == 0) or vector(0)", red_above=1),
                stat("Alerts that fire", "short", most(m.ALERTS, matchers='state="firing"'), red_above=1),
                stat("Dead letters", "short", f"sum({m.DEAD_LETTERS.name})", red_above=1),
                stat("Oldest unpublished event", "s", most(m.OUTBOX_OLDEST_SECONDS), red_above=120),
                stat("Events that wait", "short", f"sum({m.CONSUMER_WAITING.name})"),
                stat(
                    "Last good backup",
                    "s",
                    most(m.BACKUP_AGE_SECONDS),
                    red_above=93_600,
                    says="Where backups are made by themselves.",
                ),
            ),
        ),
        Row(
            "Work",
            (
                chart("Runs that ended", "short", Query(increase(m.RUNS, "1h", "state"), "{{state}}")),
                chart("Items of runs", "short", Query(increase(m.ITEMS, "1h", "outcome"), "{{outcome}}")),
                chart("Documents converted", "short", Query(increase(m.DOCUMENTS, "1h", "outcome"), "{{outcome}}")),
                chart("Records by what changed", "short", Query(increase(m.RECORDS, "1h", "change"), "{{change}}")),
                chart("Requests to hosts", "reqps", Query(rate(m.HTTP_REQUESTS, "outcome"), "{{outcome}}")),
                chart(
                    "Since the last run that brought something",
                    "s",
                    Query(most(m.SOURCE_AGE_SECONDS, "source"), "{{source}}"),
                ),
            ),
        ),
        Row(
            "Machine",
            (
                chart(
                    "CPU",
                    "percentunit",
                    Query(f"sum by (instance) (rate(process_cpu_seconds_total[{RATE}]))", "{{instance}}"),
                ),
                chart("Memory", "bytes", Query("max by (instance) (process_resident_memory_bytes)", "{{instance}}")),
                chart(
                    "Free",
                    "percentunit",
                    Query(most(m.DISK_FREE_RATIO), "disk"),
                    Query(most(m.MEMORY_FREE_RATIO), "memory"),
                    red_below=0.1,
                ),
                chart(
                    "Network", "Bps", Query(f"sum by (direction) (rate(network_bytes_total[{RATE}]))", "{{direction}}")
                ),
                chart(
                    "Network errors",
                    "short",
                    Query(f"sum by (direction) (rate(network_errors_total[{RATE}]))", "{{direction}}"),
                    red_above=1,
                ),
                chart("Event loop late", "s", Query(most(m.LOOP_LAG_SECONDS, "service"), "{{service}}"), red_above=0.1),
            ),
        ),
    ),
)

PER_SERVICE = Dashboard(
    uid="tidemill-service",
    title="Tidemill: per service",
    says="One service: what it takes, how long it works, what it fails at.",
    variables=(SERVICE,),
    rows=(
        Row(
            "Health",
            (
                chart(
                    "Ready",
                    "bool",
                    Query(f"min by (service) ({select(m.READY, OF_SERVICE)})", "{{service}}"),
                    red_below=1,
                ),
                chart(
                    "Configuration version",
                    "short",
                    Query(most(m.CONFIG_VERSION, "service", OF_SERVICE), "{{service}}"),
                ),
                chart(
                    "Configuration not taken",
                    "bool",
                    Query(most(m.CONFIG_PROBLEM, "service", OF_SERVICE), "{{service}}"),
                    red_above=1,
                ),
            ),
        ),
        Row(
            "Steps",
            (
                chart(
                    "Handled",
                    "ops",
                    Query(rate(m.HANDLED, "consumer, outcome", OF_SERVICE), "{{consumer}} {{outcome}}"),
                ),
                chart(
                    "Wait in the queue, 95 %",
                    "s",
                    Query(quantile(0.95, m.QUEUE_WAIT_SECONDS, "consumer", OF_SERVICE), "{{consumer}}"),
                ),
                chart(
                    "Work, 95 %",
                    "s",
                    Query(quantile(0.95, m.WORK_SECONDS, "consumer", OF_SERVICE), "{{consumer}}"),
                ),
                chart(
                    "One transaction, 95 %",
                    "s",
                    Query(quantile(0.95, m.RECORD_SECONDS, "consumer", OF_SERVICE), "{{consumer}}"),
                ),
                chart(
                    "Results in one transaction",
                    "short",
                    Query(mean(m.GROUP_COMMIT_SIZE, "consumer", OF_SERVICE), "{{consumer}}"),
                ),
                chart(
                    "Failures that are tried again",
                    "ops",
                    Query(rate(m.RETRIES, "consumer", OF_SERVICE, zero=True), "{{consumer}}"),
                ),
            ),
        ),
        Row(
            "Conversion",
            (
                chart(
                    "CPU of one document, 95 %",
                    "s",
                    Query(quantile(0.95, m.CONVERSION_CPU_SECONDS, "source"), "{{source}}"),
                ),
                chart(
                    "Memory of one document, 95 %",
                    "bytes",
                    Query(quantile(0.95, m.CONVERSION_PEAK_BYTES, "source"), "{{source}}"),
                ),
                chart(
                    "Workers busy, workers replaced",
                    "short",
                    Query(f"sum({m.WORKERS_BUSY.name})", "busy"),
                    Query(increase(m.WORKER_RESTARTS, "1h", "reason", zero=True), "{{reason}}"),
                ),
            ),
        ),
        Row(
            "People",
            (
                chart(
                    "Messages delivered or given up",
                    "short",
                    Query(increase(m.DELIVERIES, "1h", "channel, outcome", zero=True), "{{channel}} {{outcome}}"),
                ),
                chart(
                    "Oldest message not delivered",
                    "s",
                    Query(f"{most(m.DELIVERIES_OLDEST_SECONDS, 'channel')} or vector(0)", "{{channel}}"),
                    red_above=900,
                ),
                chart(
                    "Decisions whether to tell",
                    "short",
                    Query(increase(m.NOTIFICATIONS, "1h", "reason", zero=True), "{{reason}}"),
                ),
                chart("Alerts", "short", Query(most(m.ALERTS, "state"), "{{state}}")),
                chart(
                    "Reports",
                    "short",
                    Query(increase(m.REPORTS, "1h", "kind, outcome", zero=True), "{{kind}} {{outcome}}"),
                ),
                chart(
                    "Commands",
                    "short",
                    Query(increase(m.COMMANDS, "1h", "verb, outcome", zero=True), "{{verb}} {{outcome}}"),
                ),
            ),
        ),
    ),
)

PER_SOURCE = Dashboard(
    uid="tidemill-source",
    title="Tidemill: per source",
    says="One source: does it run, what does it bring, what do we ask of its hosts?",
    variables=(SOURCE,),
    rows=(
        Row(
            "Runs",
            (
                chart(
                    "Since the last run that brought something",
                    "s",
                    Query(most(m.SOURCE_AGE_SECONDS, "source", OF_SOURCE), "{{source}}"),
                ),
                chart(
                    "Runs that ended",
                    "short",
                    Query(increase(m.RUNS, "1h", "source, state", OF_SOURCE), "{{source}} {{state}}"),
                ),
                chart(
                    "One run, median",
                    "s",
                    Query(quantile(0.5, m.RUN_SECONDS, "source", OF_SOURCE), "{{source}}"),
                ),
                chart(
                    "Items",
                    "short",
                    Query(increase(m.ITEMS, "1h", "source, outcome", OF_SOURCE), "{{source}} {{outcome}}"),
                ),
                chart(
                    "Slots",
                    "short",
                    Query(
                        increase(m.SLOTS, "1h", "source, outcome", OF_SOURCE, zero=True),
                        "{{source}} {{outcome}}",
                    ),
                ),
                chart(
                    "Runs that wait",
                    "short",
                    Query(f"sum by (reason) ({m.RUNS_WAITING.name}) or vector(0)", "{{reason}}"),
                ),
            ),
        ),
        Row(
            "Data",
            (
                chart(
                    "Documents",
                    "short",
                    Query(increase(m.DOCUMENTS, "1h", "source, outcome", OF_SOURCE), "{{source}} {{outcome}}"),
                ),
                chart(
                    "Rows",
                    "short",
                    Query(increase(m.ROWS, "1h", "source, outcome", OF_SOURCE), "{{source}} {{outcome}}"),
                ),
                chart(
                    "Quality",
                    "percentunit",
                    Query(most(m.RECORD_QUALITY, "source, dataset", OF_SOURCE), "{{source}} {{dataset}}"),
                    red_below=0.5,
                ),
                chart(
                    "In quarantine",
                    "short",
                    Query(f"{most(m.QUARANTINE, 'source', OF_SOURCE)} or vector(0)", "{{source}}"),
                ),
                chart(
                    "Checks not passed",
                    "short",
                    Query(
                        increase(m.CHECKS_FAILED, "1h", "source, check", OF_SOURCE, zero=True),
                        "{{source}} {{check}}",
                    ),
                ),
                chart(
                    "Unusual measures",
                    "short",
                    Query(
                        increase(m.ANOMALIES, "1d", "source, severity", OF_SOURCE, zero=True),
                        "{{source}} {{severity}}",
                    ),
                ),
            ),
        ),
        Row(
            "Hosts",
            (
                chart(
                    "Requests by host and answer",
                    "reqps",
                    Query(rate(m.HTTP_REQUESTS, "host, outcome", OF_SOURCE), "{{host}} {{outcome}}"),
                ),
                chart("Answer, 95 %", "s", Query(quantile(0.95, m.HTTP_ANSWER_SECONDS, "service"), "{{service}}")),
                chart(
                    "Wait for leave to ask, 95 %",
                    "s",
                    Query(quantile(0.95, m.HTTP_WAIT_SECONDS, "service"), "{{service}}"),
                ),
                chart(
                    "Bytes received, bytes saved by 304",
                    "Bps",
                    Query(rate(m.HTTP_BYTES, "source", OF_SOURCE), "{{source}}"),
                    Query(rate(m.HTTP_SAVED_BYTES, "source", OF_SOURCE), "{{source}} saved"),
                ),
                chart("Not asked", "short", Query(increase(m.HTTP_HELD, "1h", "reason", zero=True), "{{reason}}")),
                chart(
                    "robots.txt",
                    "short",
                    Query(
                        increase(m.ROBOTS_DECISIONS, "1h", "source, decision", OF_SOURCE),
                        "{{source}} {{decision}}",
                    ),
                ),
            ),
        ),
    ),
)

BUS = Dashboard(
    uid="tidemill-bus",
    title="Tidemill: bus",
    says="Streams and consumers, and the ledger of exactly once.",
    rows=(
        Row(
            "Consumers",
            (
                chart(
                    "Wait before a consumer",
                    "short",
                    Query(most(m.CONSUMER_WAITING, "consumer"), "{{consumer}}"),
                    width=12,
                ),
                chart(
                    "Oldest not finished",
                    "s",
                    Query(most(m.CONSUMER_OLDEST_SECONDS, "consumer"), "{{consumer}}"),
                    width=12,
                    red_above=600,
                ),
                chart("In hand", "short", Query(most(m.CONSUMER_IN_HAND, "consumer"), "{{consumer}}")),
                chart("Came again", "ops", Query(rate(m.REDELIVERIES, "consumer", zero=True), "{{consumer}}")),
                chart(
                    "Retries that wait in Postgres", "short", Query(most(m.RETRIES_WAITING, "service"), "{{service}}")
                ),
            ),
        ),
        Row(
            "Exactly once",
            (
                chart("Published", "ops", Query(rate(m.PUBLISHED, "stream"), "{{stream}}")),
                chart("Recorded, by outcome", "ops", Query(rate(m.HANDLED, "outcome"), "{{outcome}}")),
                chart(
                    "Repeats that did nothing, by layer",
                    "ops",
                    Query(rate(m.DUPLICATES_SUPPRESSED, "layer", zero=True), "{{layer}}"),
                ),
                chart(
                    "Given up",
                    "short",
                    Query(increase(m.DEAD_LETTERED, "1h", "consumer, reason", zero=True), "{{consumer}} {{reason}}"),
                    red_above=1,
                ),
                chart(
                    "Dead letters that wait",
                    "short",
                    Query(most(m.DEAD_LETTERS, "service"), "{{service}}"),
                    red_above=1,
                ),
                chart("Not published yet", "short", Query(most(m.OUTBOX_UNSENT, "service"), "{{service}}")),
            ),
        ),
        Row(
            "JetStream",
            (
                chart("Messages", "short", Query(most(m.STREAM_MESSAGES, "stream"), "{{stream}}")),
                chart(
                    "Full",
                    "percentunit",
                    Query(
                        f"{most(m.STREAM_BYTES, 'stream')} / ({most(m.STREAM_LIMIT_BYTES, 'stream')} > 0)", "{{stream}}"
                    ),
                    red_above=0.9,
                ),
                chart(
                    "Messages that came",
                    "ops",
                    Query(f"max by (stream) (deriv({m.STREAM_SEQUENCE.name}[5m]))", "{{stream}}"),
                ),
                chart("Consumers", "short", Query(most(m.STREAM_CONSUMERS, "stream"), "{{stream}}")),
                chart(
                    "Connected", "bool", Query(f"min by (service) ({m.BUS_CONNECTED.name})", "{{service}}"), red_below=1
                ),
                chart(
                    "Connected again", "short", Query(increase(m.RECONNECTS, "1h", "service", zero=True), "{{service}}")
                ),
            ),
        ),
    ),
)

DATABASE = Dashboard(
    uid="tidemill-database",
    title="Tidemill: database and archive",
    says="Postgres as the services meet it, the archive, the caches.",
    rows=(
        Row(
            "Postgres",
            (
                chart("Size by schema", "bytes", Query(most(m.DATABASE_BYTES, "schema"), "{{schema}}")),
                chart("Connections", "short", Query(most(m.DATABASE_CONNECTIONS, "state"), "{{state}}"), red_above=90),
                chart("Oldest transaction", "s", Query(most(m.DATABASE_OLDEST_SECONDS), "oldest"), red_above=300),
                chart(
                    "Statements of a second or more",
                    "short",
                    Query(increase(m.SLOW_STATEMENTS, "1h", "service", zero=True), "{{service}}"),
                ),
                chart("One transaction, 95 %", "s", Query(quantile(0.95, m.RECORD_SECONDS, "service"), "{{service}}")),
                chart(
                    "Results in one transaction, 95 %",
                    "short",
                    Query(quantile(0.95, m.GROUP_COMMIT_SIZE, "service"), "{{service}}"),
                ),
            ),
        ),
        Row(
            "Archive and caches",
            (
                chart("Archive", "Bps", Query(rate(m.ARCHIVE_BYTES, "direction"), "{{direction}}")),
                chart("Contents offered", "ops", Query(rate(m.ARCHIVE_PUTS, "outcome"), "{{outcome}}")),
                chart(
                    "Removed by age",
                    "short",
                    Query(increase(m.RETENTION_REMOVED, "1d", "layer", zero=True), "{{layer}}"),
                ),
                chart(
                    "Found in the cache",
                    "percentunit",
                    Query(
                        f"({rate(m.CACHE_REQUESTS, 'namespace', HIT)} / {rate(m.CACHE_REQUESTS, 'namespace')})"
                        " or vector(0)",
                        "{{namespace}}",
                    ),
                ),
                chart("Last good backup", "s", Query(most(m.BACKUP_AGE_SECONDS), "age"), red_above=93_600),
                chart("Free disk", "percentunit", Query(most(m.DISK_FREE_RATIO), "free"), red_below=0.1),
            ),
        ),
    ),
)

SLO = Dashboard(
    uid="tidemill-slo",
    title="Tidemill: objectives",
    says="What is promised, how much of it is kept, and how fast the rest is spent.",
    rows=(
        Row(
            "Kept over 30 days",
            (
                stat("Runs that bring something: 99 %", "percentunit", "tidemill:runs_good:ratio30d", red_below=0.99),
                stat(
                    "Slots that fire within a minute: 99.9 %",
                    "percentunit",
                    "tidemill:slots_in_time:ratio30d",
                    red_below=0.999,
                ),
                stat(
                    "Documents taken up within 30 s: 99 %",
                    "percentunit",
                    "tidemill:documents_soon:ratio30d",
                    red_below=0.99,
                ),
                stat(
                    "Events that are not given up: 99.99 %",
                    "percentunit",
                    "tidemill:events_kept:ratio30d",
                    red_below=0.9999,
                ),
                stat(
                    "Sources that are fresh: all",
                    "percentunit",
                    "tidemill:sources_fresh:ratio",
                    red_below=1,
                    says="Something came within 26 hours.",
                ),
                stat("Services that are ready: all", "percentunit", "tidemill:services_ready:ratio", red_below=1),
            ),
        ),
        Row(
            "How fast the budget is spent",
            (
                chart(
                    "Runs, the last hour",
                    "short",
                    Query("(1 - tidemill:runs_good:ratio1h) / 0.01", "times what 30 days allow"),
                    red_above=14.4,
                ),
                chart(
                    "Slots, the last hour",
                    "short",
                    Query("(1 - tidemill:slots_in_time:ratio1h) / 0.001", "times what 30 days allow"),
                    red_above=14.4,
                ),
                chart(
                    "Documents, the last hour",
                    "short",
                    Query("(1 - tidemill:documents_soon:ratio1h) / 0.01", "times what 30 days allow"),
                    red_above=14.4,
                ),
            ),
        ),
    ),
)

DASHBOARDS: Sequence[Dashboard] = (OVERVIEW, PER_SERVICE, PER_SOURCE, BUS, DATABASE, SLO)
