"""The tables only the scheduler writes."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    Interval,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tidemill.common.bus.tables import bus_tables
from tidemill.common.config import versions
from tidemill.common.database import service_metadata

SCHEMA = "scheduler"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)

MOMENT = DateTime(timezone=True)

sources = Table(
    "sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("run", JSONB, nullable=False, comment="The section `run` of the source file."),
    Column("config_version", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0", comment="Failed runs in a row."),
    Column("ended_at", MOMENT, comment="When its source file was taken away."),
    comment="How the runs of each source are limited, as applied; every replica reads it here.",
)

schedules = Table(
    "schedules",
    metadata,
    Column("source", Text, primary_key=True),
    Column("schedule", Text, primary_key=True, comment="Its timing in words: `cron 0 6 * * 2,5 Europe/Budapest`."),
    Column("spec", JSONB, nullable=False, comment="The entry of the source file that slots are computed from."),
    Column("config_version", BigInteger, nullable=False),
    Column("decided_until", MOMENT, nullable=False, comment="Slots up to here were fired or skipped."),
    Column("next_slot", MOMENT, comment="The first one after; null: there is none."),
    Column("due_at", MOMENT, comment="The next slot with its stagger."),
    Column("held", Text, comment="What has kept a due slot from being decided: a pause, a stop."),
    Column("ended_at", MOMENT, comment="When it was taken out of the source file."),
    Index("ix_schedules_due_at", "due_at", postgresql_where=text("ended_at IS NULL AND due_at IS NOT NULL")),
    comment="What is due when. Whoever takes a due row decides on its slots.",
)

slots = Table(
    "slots",
    metadata,
    Column("source", Text, primary_key=True),
    Column("slot", MOMENT, primary_key=True, comment="Nominal time, without stagger."),
    Column("schedule", Text, nullable=False),
    Column("outcome", Text, nullable=False, comment="fired or skipped."),
    Column("reason", Text, nullable=False, server_default="", comment="Slug that can be counted; empty when fired."),
    Column("detail", Text, nullable=False, server_default=""),
    Column("run", Text, comment="The run it asked for."),
    Column("until", MOMENT, comment="Of a row that stands for many skipped slots: the last one."),
    Column("due_at", MOMENT, nullable=False),
    Column("decided_at", MOMENT, nullable=False, server_default=func.now()),
    Index("ix_slots_skipped", "decided_at", postgresql_where=text("outcome = 'skipped'")),
    comment="Every slot that was due, with what was decided; the key makes a slot fire once.",
)

runs = Table(
    "runs",
    metadata,
    Column("run", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("trigger", Text, nullable=False, comment="schedule, manual, backfill, event, retry, file."),
    Column("slot", MOMENT, comment="Nominal time; null when no schedule asked."),
    Column(
        "state",
        Text,
        nullable=False,
        comment="waiting (nobody was told yet), requested, planned, running; complete, partial, blocked, failed, "
        "cancelled, timed_out.",
    ),
    Column("reason", Text, nullable=False, server_default="", comment="Why it is in this state."),
    Column("params", JSONB, nullable=False, server_default=text("'{}'")),
    Column("only_items", ARRAY(Text), comment="Of a repeat: the items to take again; null for all."),
    Column("retry_of", Text, comment="The run this one repeats."),
    Column("backfill", Text, comment="The backfill it belongs to."),
    Column("concurrency_group", Text),
    Column("config_version", BigInteger, nullable=False, server_default="0"),
    Column("actor", Text, nullable=False, server_default="", comment="Who asked: a person, or a service."),
    Column("requested_at", MOMENT, nullable=False),
    Column("start_by", MOMENT, comment="Start grace: it must have been planned by then."),
    Column("time_limit", Interval, comment="Run time, from its release; null for none."),
    Column("released_at", MOMENT, comment="When `RunRequested` was stated; null while it waits."),
    Column("deadline_at", MOMENT, comment="The time limit on the clock; a stop moves it."),
    Column("frozen_at", MOMENT, comment="Since when an emergency stop holds its clocks."),
    Column("planned_at", MOMENT),
    Column("started_at", MOMENT, comment="The first outcome of an item."),
    Column("finished_at", MOMENT),
    Column("closed", Boolean, nullable=False, server_default=text("false"), comment="Its plan is complete."),
    Column("items", Integer, nullable=False, server_default="0"),
    Column("new", Integer, nullable=False, server_default="0"),
    Column("changed", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("gone", Integer, nullable=False, server_default="0"),
    Column("reappeared", Integer, nullable=False, server_default="0"),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("requests", Integer, nullable=False, server_default="0"),
    Column("cpu_seconds", Double, nullable=False, server_default="0"),
    Column("peak_memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("corrected", Boolean, nullable=False, server_default=text("false"), comment="A replay changed its end."),
    Column("planned_items", Integer, nullable=False, server_default="0"),
    Column(
        "plan_total",
        Integer,
        nullable=False,
        server_default="0",
        comment="Items of the whole plan, once it is closed.",
    ),
    Column("plan_dead", Text, nullable=False, server_default="", comment="Why nobody will plan it."),
    Column("closed_at", MOMENT),
    Column("last_at", MOMENT, comment="Of the newest word about it."),
    Column("ended_by", Text, nullable=False, server_default="", comment="The limit or the person that ended it."),
    Column("statements", Integer, nullable=False, server_default="0", comment="How often its end was stated."),
    Column("records", JSONB, comment="What it changed, by dataset."),
    Index("ix_runs_source_requested_at", "source", "requested_at"),
    Index("ix_runs_source_open", "source", postgresql_where=text("finished_at IS NULL")),
    Index("ix_runs_finished_at", "finished_at", postgresql_where=text("ended_by <> ''")),
    Index(
        "ix_runs_barren",
        "finished_at",
        postgresql_where=text("finished_at IS NOT NULL AND new + changed + gone + reappeared = 0"),
    ),
    Index("ix_runs_source_waiting", "source", postgresql_where=text("state = 'waiting'")),
    Index("ix_runs_backfill", "backfill", postgresql_where=text("backfill IS NOT NULL")),
    comment="The run ledger: what was asked for, and how it ended.",
)

backfills = Table(
    "backfills",
    metadata,
    Column("backfill", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("first_slot", MOMENT, nullable=False),
    Column("last_slot", MOMENT, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("requested_at", MOMENT, nullable=False),
    Column("cancelled_at", MOMENT),
    comment="Slots of the past that somebody asked for; their runs carry its name.",
)

run_items = Table(
    "run_items",
    metadata,
    Column("run", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("rank", SmallInteger, nullable=False, comment="How much weighs what is known; see items.py."),
    Column("at", MOMENT, nullable=False, comment="When that was so which stands."),
    Column("outcome", Text, nullable=False, comment="See items.py; empty: not yet."),
    Column("reason", Text, nullable=False, comment="Slug of why it failed."),
    Column("detail", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("records", JSONB, comment="What its conversion changed, by dataset."),
    Column("planned", Boolean, nullable=False),
    Column("begun_at", MOMENT),
    Column("ended_at", MOMENT, comment="When it had an outcome first."),
    Column("corrected", Boolean, nullable=False, comment="It had another outcome before."),
    Column("requests", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    comment="What became of each item of each run: one row, one outcome.",
)

control = Table(
    "control",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("set_at", MOMENT, nullable=False, server_default=func.now()),
    comment="The control bucket, so that a stop outlives the loss of the bucket.",
)

control_bucket = Table(
    "control_bucket",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("created", Text, nullable=False, comment="Its birth: a lost one is made again with another."),
    Column("last_sequence", BigInteger, nullable=False, comment="One put back from a copy has an earlier."),
    comment="How new the bucket was that the mirror shows.",
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", MOMENT, nullable=False),
    Column("actor", Text, nullable=False),
    Column("via", Text, nullable=False, comment="The way it came: cli, bus, file, bucket."),
    Column("action", Text, nullable=False, comment="For instance `config.apply`, `source.pause`."),
    Column("target", Text, nullable=False),
    Column("before", JSON, comment="As text: its hash is over what is written here."),
    Column("after", JSON),
    Column("result", Text, nullable=False, comment="done, or why not."),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    comment="Who changed what: each row holds the hash of the one before it. Never updated, never deleted.",
)

backups = Table(
    "backups",
    metadata,
    Column("folder", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("began_at", MOMENT, nullable=False),
    Column("finished_at", MOMENT, nullable=False),
    Column("good", Boolean, nullable=False),
    Column("scheduled", Boolean, nullable=False, comment="By itself: then one that does not come is missed."),
    Column("bytes", BigInteger, nullable=False, comment="Of what it added."),
    Column("problem", Text, nullable=False, comment="Why it is not good."),
    comment="Backups that were made, and those that failed.",
)

for _table in versions.metadata.tables.values():
    _table.to_metadata(metadata)  # Everybody reads schema `config`; its migrations are ours.
