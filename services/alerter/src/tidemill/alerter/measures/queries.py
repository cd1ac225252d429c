"""Values that Postgres knows: one question each, asked of tables of other services, which may not be there yet."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from tidemill.alerter.measures.declared import MEASURES, Sample
from tidemill.common.bus.step import Tx
from tidemill.common.config.versions import GONE_AFTER_SECONDS
from tidemill.common.service import service_names

OFTEN = timedelta(seconds=10)
SELDOM = timedelta(seconds=60)
PRESENT = text("SELECT t FROM unnest(CAST(:tables AS text[])) AS t WHERE to_regclass(t) IS NOT NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Its rows have the labels of the measure, and `value`, `says`."""

    measure: str
    tables: Sequence[str]
    sql: str
    every: timedelta = OFTEN


RUN_WAITS = Query(
    measure="run_waits",
    tables=["scheduler.runs"],
    sql="""
        SELECT DISTINCT ON (source) source, extract(epoch FROM :now - coalesce(released_at, requested_at)) AS value,
            run || ' is ' || state || CASE WHEN reason = '' THEN '' ELSE ' (' || reason || ')' END AS says, run
        FROM scheduler.runs WHERE finished_at IS NULL AND state IN ('waiting', 'requested') AND frozen_at IS NULL
        ORDER BY source, coalesce(released_at, requested_at)
    """,
)
RUN_SLOWNESS = Query(
    measure="run_slowness",
    tables=["scheduler.runs"],
    every=SELDOM,
    sql="""
        SELECT now.source, extract(epoch FROM :now - now.released_at) / greatest(usual.seconds, 60) AS value,
            now.run || ' runs for ' || round(extract(epoch FROM :now - now.released_at) / 60) || ' min; usual are '
                || round(usual.seconds / 60) || ' min' AS says, now.run
        FROM scheduler.runs now CROSS JOIN LATERAL (
            SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - released_at)) AS seconds
            FROM (
                SELECT finished_at, released_at FROM scheduler.runs
                WHERE source = now.source AND state = 'complete' AND released_at IS NOT NULL
                ORDER BY requested_at DESC LIMIT 20
            ) last HAVING count(*) >= 3
        ) usual
        WHERE now.finished_at IS NULL AND now.released_at IS NOT NULL AND now.frozen_at IS NULL
    """,
)
ERROR_SHARE = Query(
    measure="error_share",
    tables=["scheduler.runs"],
    every=SELDOM,
    sql="""
        SELECT source, sum(failed)::float8 / sum(items) AS value,
            sum(failed) || ' of ' || sum(items) || ' items of ' || count(*) || ' runs' AS says
        FROM scheduler.runs WHERE requested_at > :now - interval '1 day' AND finished_at IS NOT NULL
        GROUP BY source HAVING sum(items) >= 10
    """,
)
QUARANTINE = Query(
    measure="quarantine",
    tables=["converter.quarantine"],
    every=SELDOM,
    sql="""
        SELECT source, count(*) AS value, 'the oldest since ' || to_char(min(held_at) AT TIME ZONE 'UTC',
            'YYYY-MM-DD HH24:MI') || ' UTC' AS says
        FROM converter.quarantine WHERE state = 'held' GROUP BY source
    """,
)
TARGETS_GIVEN_UP = Query(
    measure="targets_given_up",
    tables=["scraper.targets"],
    every=SELDOM,
    sql="""
        SELECT source, count(*) AS value, 'for instance ' || min(url || ': ' || coalesce(failure, '')) AS says
        FROM scraper.targets WHERE given_up AND gone_at IS NULL GROUP BY source
    """,
)
CONFIG_REFUSED = Query(
    measure="config_refused",
    tables=["config.refusals"],
    sql="""
        SELECT 1 AS value, 'by ' || author || ': ' || array_to_string(problems[1:3], '; ') AS says
        FROM config.refusals WHERE settled_at IS NULL ORDER BY refused_at DESC LIMIT 1
    """,
)
CONFIG_PROBLEM = Query(
    measure="config_problem",
    tables=["config.acknowledgements"],
    sql=f"""
        SELECT service, 1 AS value, min(problem) AS says FROM config.acknowledgements
        WHERE problem <> '' AND seen_at > now() - interval '{GONE_AFTER_SECONDS} seconds' GROUP BY service
    """,
)
# A replica that was started in the place of another one began after that one's last sign of life.
REPLICAS_LOST = Query(
    measure="replicas_lost",
    tables=["config.acknowledgements"],
    sql=f"""
        WITH known AS (
            SELECT service, instance, began_at, seen_at,
                seen_at > now() - interval '{GONE_AFTER_SECONDS} seconds' AS lives
            FROM config.acknowledgements WHERE seen_at > now() - interval '1 day'
        ), silent AS (SELECT service, count(*) AS n, min(seen_at) AS first,
                (array_agg(instance ORDER BY seen_at))[1] AS one FROM known
            WHERE NOT lives GROUP BY service)
        SELECT silent.service, greatest(0, silent.n - (SELECT count(*) FROM known new WHERE new.service = silent.service
                AND new.lives AND new.began_at > silent.first)) AS value,
            silent.one || ' gave its last sign of life at ' || to_char(silent.first AT TIME ZONE 'UTC',
                'YYYY-MM-DD HH24:MI:SS') || ' UTC' AS says
        FROM silent
    """,
)
SERVICE_ABSENT = Query(
    measure="service_absent",
    tables=["config.acknowledgements"],
    sql=f"""
        SELECT service, 1 AS value, 'the last sign of life was at ' || to_char(max(seen_at) AT TIME ZONE 'UTC',
            'YYYY-MM-DD HH24:MI:SS') || ' UTC' AS says
        FROM config.acknowledgements GROUP BY service
        HAVING max(seen_at) < now() - interval '{GONE_AFTER_SECONDS} seconds'
    """,
)
SOURCE_AGE = Query(
    measure="source_age",
    tables=["scheduler.runs", "scheduler.sources"],
    every=SELDOM,
    sql="""
        SELECT source, extract(epoch FROM :now - last.at) AS value, 'the last was ' || last.run AS says
        FROM scheduler.sources CROSS JOIN LATERAL (
            SELECT run, finished_at AS at FROM scheduler.runs
            WHERE runs.source = sources.source AND state IN ('complete', 'partial') AND finished_at IS NOT NULL
            ORDER BY requested_at DESC LIMIT 1
        ) last WHERE ended_at IS NULL
    """,
)
RECORD_QUALITY = Query(
    measure="record_quality",
    tables=["reporter.measures", "scheduler.sources"],
    every=SELDOM,
    sql="""
        SELECT sources.source, left(name, -length('.quality')) AS dataset, value, subject AS says
        FROM scheduler.sources CROSS JOIN LATERAL (
            SELECT DISTINCT ON (name) name, value, subject FROM reporter.measures m
            WHERE m.source = sources.source AND kind = 'run' AND name LIKE '%.quality' AND day = (
                SELECT max(day) FROM reporter.measures n WHERE n.source = sources.source AND n.kind = 'run')
            ORDER BY name, measured_at DESC
        ) last WHERE ended_at IS NULL
    """,
)
DATABASE_BYTES = Query(
    measure="database_bytes",
    tables=["pg_catalog.pg_class"],
    every=timedelta(minutes=5),
    sql="""
        SELECT nspname AS schema, sum(pg_total_relation_size(c.oid))::float8 AS value, '' AS says
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE relkind IN ('r', 'm') AND nspname !~ '^(pg_|information_schema$)' GROUP BY nspname
    """,
)
DATABASE_CONNECTIONS = Query(
    measure="database_connections",
    tables=["pg_catalog.pg_stat_activity"],
    every=SELDOM,
    sql="""
        SELECT coalesce(state, 'unknown') AS state, count(*) AS value, '' AS says FROM pg_stat_activity
        WHERE datname = current_database() GROUP BY 1
    """,
)
DATABASE_OLDEST = Query(
    measure="database_oldest",
    tables=["pg_catalog.pg_stat_activity"],
    every=SELDOM,
    sql="""
        SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) AS value,
            coalesce(max(application_name), '') AS says
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    """,
)
BACKUP_AGE = Query(
    measure="backup_age",
    tables=["scheduler.backups"],
    every=SELDOM,
    sql="""
        SELECT extract(epoch FROM :now - coalesce(max(began_at) FILTER (WHERE good), min(began_at))) AS value,
            coalesce('the last good one is ' || max(folder || '/' || name) FILTER (WHERE good), 'none was good')
                || coalesce('; the last attempt: ' || (
                    SELECT problem FROM scheduler.backups last WHERE NOT good AND NOT EXISTS (
                        SELECT 1 FROM scheduler.backups later WHERE later.good AND later.began_at > last.began_at)
                    ORDER BY began_at DESC LIMIT 1), '') AS says
        FROM scheduler.backups HAVING bool_or(scheduled)
    """,
)

UNDELIVERED = Query(
    measure="undelivered",
    tables=["alerter.deliveries"],
    sql="""
        SELECT channel, count(*) AS value, (array_agg(reply ORDER BY ended_at DESC))[1] AS says
        FROM alerter.deliveries given_up
        WHERE state = 'given_up' AND ended_at > :now - interval '1 day' AND kind <> 'alert.test' AND NOT EXISTS (
            SELECT 1 FROM alerter.deliveries later WHERE later.channel = given_up.channel
                AND later.state = 'delivered' AND later.ended_at > given_up.ended_at
        ) GROUP BY channel
    """,
)


def _of_services(measure: str, table: str, select: str, where: str) -> list[Query]:
    return [
        Query(
            measure=measure,
            tables=[f"{name}.{table}"],
            sql=f"SELECT '{name}' AS service, {select.format(name=name)} FROM {name}.{table} WHERE {where}",
        )
        for name in service_names()
    ]


def _held(name: str) -> Query:
    return Query(
        measure="host_held",
        tables=[f"{name}.holds"],
        sql=f"""
            SELECT source, host, reason, extract(epoch FROM :now - since) AS value, '{name} asks nothing of it since '
                || to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC' AS says, run
            FROM {name}.holds
        """,
    )


def _checks(name: str) -> Query:
    """Of the newest run of each source that was judged at all."""
    return Query(
        measure="check_failed",
        tables=[f"{name}.check_results"],
        every=SELDOM,
        sql=f"""
            SELECT source, name AS check, severity, 1 AS value, message AS says, run FROM {name}.check_results failed
            WHERE NOT passed AND judged_at > :now - interval '7 days' AND NOT EXISTS (
                SELECT 1 FROM {name}.check_results later WHERE later.source = failed.source
                    AND later.name = failed.name AND later.judged_at > failed.judged_at
            )
        """,
    )


QUERIES: tuple[Query, ...] = (
    RUN_WAITS,
    RUN_SLOWNESS,
    ERROR_SHARE,
    QUARANTINE,
    TARGETS_GIVEN_UP,
    CONFIG_REFUSED,
    CONFIG_PROBLEM,
    REPLICAS_LOST,
    SERVICE_ABSENT,
    SOURCE_AGE,
    RECORD_QUALITY,
    DATABASE_BYTES,
    DATABASE_CONNECTIONS,
    DATABASE_OLDEST,
    BACKUP_AGE,
    UNDELIVERED,
    *(_held(name) for name in ("downloader", "scraper")),
    *(_checks(name) for name in ("converter", "scraper")),
)


def all_queries() -> tuple[Query, ...]:
    """Also those of every installed service."""
    return (
        *QUERIES,
        *_of_services(
            "dead_letters",
            "dead_letters",
            "count(*) AS value, 'the oldest: ' || (SELECT oldest.consumer || ', ' || oldest.error"
            " FROM {name}.dead_letters oldest WHERE oldest.id = min(dead_letters.id)) AS says",
            "handled_at IS NULL HAVING count(*) > 0",
        ),
        *_of_services(
            "outbox_age",
            "outbox",
            "extract(epoch FROM :now - min(created_at)) AS value, count(*) || ' events' AS says",
            "sent_at IS NULL HAVING count(*) > 0",
        ),
    )


class Asked:
    """What was answered last, so that dear questions are asked seldom."""

    def __init__(self, wanted: frozenset[str]) -> None:
        """`wanted`: measures that some rule is about."""
        self._questions: dict[str, list[Query]] = defaultdict(list)
        for query in all_queries():
            if query.measure in wanted:
                self._questions[query.measure].append(query)
        self._tables = sorted(
            {table for queries in self._questions.values() for each in queries for table in each.tables}
        )
        self._answers: dict[str, tuple[datetime, list[Sample]]] = {}

    async def gather(self, tx: Tx, now: datetime) -> list[Sample]:
        due = [
            measure
            for measure, queries in self._questions.items()
            if measure not in self._answers or now - self._answers[measure][0] >= queries[0].every
        ]
        present = set(await tx.scalars(PRESENT, {"tables": self._tables})) if due else set()
        for measure in due:
            there = [query.sql for query in self._questions[measure] if present.issuperset(query.tables)]
            self._answers[measure] = now, await _ask(tx, measure, there, now) if there else []
        return [sample for _, samples in self._answers.values() for sample in samples]


async def _ask(tx: Tx, measure: str, questions: Sequence[str], now: datetime) -> list[Sample]:
    """All in one statement: a round asks often, and mostly hears nothing."""
    sql = " UNION ALL ".join(f"({question})" for question in questions).replace(":now", "CAST(:now AS timestamptz)")
    labels = MEASURES[measure].labels
    asked = {"now": now} if ":now" in sql else {}
    return [
        Sample(
            measure=measure,
            labels={label: str(row[label]) for label in labels},
            value=float(row["value"]),
            says=str(row["says"] or "")[:500],
            run=str(row.get("run") or ""),
        )
        for row in (await tx.execute(text(sql), asked)).mappings()
    ]
