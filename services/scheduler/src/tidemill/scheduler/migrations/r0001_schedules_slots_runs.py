"""Sources, schedules, slots, runs, backfills, and the bus tables."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "scheduler"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_bus_tables(Operations(op.get_context()), SCHEMA)
    op.create_table(
        "sources",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("run", JSONB, nullable=False, comment="The section `run` of the source file."),
        sa.Column("config_version", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, server_default="0", nullable=False, comment="Failed runs in a row."),
        sa.Column("ended_at", MOMENT, comment="When its source file was taken away."),
        sa.PrimaryKeyConstraint("source", name="pk_sources"),
        schema=SCHEMA,
        comment="How the runs of each source are limited, as applied; every replica reads it here.",
    )
    op.create_table(
        "schedules",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column(
            "schedule", sa.Text, nullable=False, comment="Its timing in words: `cron 0 6 * * 2,5 Europe/Budapest`."
        ),
        sa.Column("spec", JSONB, nullable=False, comment="The entry of the source file that slots are computed from."),
        sa.Column("config_version", sa.BigInteger, nullable=False),
        sa.Column("decided_until", MOMENT, nullable=False, comment="Slots up to here were fired or skipped."),
        sa.Column("next_slot", MOMENT, comment="The first one after; null: there is none."),
        sa.Column("due_at", MOMENT, comment="The next slot with its stagger."),
        sa.Column("held", sa.Text, comment="What has kept a due slot from being decided: a pause, a stop."),
        sa.Column("ended_at", MOMENT, comment="When it was taken out of the source file."),
        sa.PrimaryKeyConstraint("source", "schedule", name="pk_schedules"),
        schema=SCHEMA,
        comment="What is due when. Whoever takes a due row decides on its slots.",
    )
    op.create_index(
        "ix_schedules_due_at",
        "schedules",
        ["due_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("ended_at IS NULL AND due_at IS NOT NULL"),
    )
    op.create_table(
        "slots",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("slot", MOMENT, nullable=False, comment="Nominal time, without stagger."),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False, comment="fired or skipped."),
        sa.Column(
            "reason", sa.Text, server_default="", nullable=False, comment="Slug that can be counted; empty when fired."
        ),
        sa.Column("detail", sa.Text, server_default="", nullable=False),
        sa.Column("run", sa.Text, comment="The run it asked for."),
        sa.Column("until", MOMENT, comment="Of a row that stands for many skipped slots: the last one."),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("decided_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", "slot", name="pk_slots"),
        schema=SCHEMA,
        comment="Every slot that was due, with what was decided; the key makes a slot fire once.",
    )
    op.create_table(
        "runs",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False, comment="schedule, manual, backfill, event, retry, file."),
        sa.Column("slot", MOMENT, comment="Nominal time; null when no schedule asked."),
        sa.Column(
            "state",
            sa.Text,
            nullable=False,
            comment="waiting (nobody was told yet), requested, planned, running; complete, partial, blocked, failed, "
            "cancelled, timed_out.",
        ),
        sa.Column("reason", sa.Text, server_default="", nullable=False, comment="Why it is in this state."),
        sa.Column("params", JSONB, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("only_items", ARRAY(sa.Text), comment="Of a repeat: the items to take again; null for all."),
        sa.Column("retry_of", sa.Text, comment="The run this one repeats."),
        sa.Column("backfill", sa.Text, comment="The backfill it belongs to."),
        sa.Column("concurrency_group", sa.Text),
        sa.Column("config_version", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("actor", sa.Text, server_default="", nullable=False, comment="Who asked: a person, or a service."),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("start_by", MOMENT, comment="Start grace: it must have been planned by then."),
        sa.Column("time_limit", sa.Interval, comment="Run time, from its release; null for none."),
        sa.Column("released_at", MOMENT, comment="When `RunRequested` was stated; null while it waits."),
        sa.Column("deadline_at", MOMENT, comment="The time limit on the clock; a stop moves it."),
        sa.Column("frozen_at", MOMENT, comment="Since when an emergency stop holds its clocks."),
        sa.Column("planned_at", MOMENT),
        sa.Column("started_at", MOMENT, comment="The first outcome of an item."),
        sa.Column("finished_at", MOMENT),
        sa.Column(
            "closed", sa.Boolean, server_default=sa.text("false"), nullable=False, comment="Its plan is complete."
        ),
        sa.Column("items", sa.Integer, server_default="0", nullable=False),
        sa.Column("new", sa.Integer, server_default="0", nullable=False),
        sa.Column("changed", sa.Integer, server_default="0", nullable=False),
        sa.Column("unchanged", sa.Integer, server_default="0", nullable=False),
        sa.Column("gone", sa.Integer, server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer, server_default="0", nullable=False),
        sa.Column("failed", sa.Integer, server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("requests", sa.Integer, server_default="0", nullable=False),
        sa.Column("cpu_seconds", sa.Double, server_default="0", nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.Column(
            "corrected",
            sa.Boolean,
            server_default=sa.text("false"),
            nullable=False,
            comment="A replay changed its end.",
        ),
        sa.PrimaryKeyConstraint("run", name="pk_runs"),
        schema=SCHEMA,
        comment="The run ledger: what was asked for, and how it ended.",
    )
    op.create_index(
        "ix_runs_backfill", "runs", ["backfill"], schema=SCHEMA, postgresql_where=sa.text("backfill IS NOT NULL")
    )
    op.create_index(
        "ix_runs_source_waiting", "runs", ["source"], schema=SCHEMA, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index(
        "ix_runs_source_open", "runs", ["source"], schema=SCHEMA, postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_index("ix_runs_source_requested_at", "runs", ["source", "requested_at"], schema=SCHEMA)
    op.create_table(
        "backfills",
        sa.Column("backfill", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("first_slot", MOMENT, nullable=False),
        sa.Column("last_slot", MOMENT, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("cancelled_at", MOMENT),
        sa.PrimaryKeyConstraint("backfill", name="pk_backfills"),
        schema=SCHEMA,
        comment="Slots of the past that somebody asked for; their runs carry its name.",
    )


def downgrade() -> None:
    for table in ("backfills", "runs", "slots", "schedules", "sources"):
        op.drop_table(table, schema=SCHEMA)
    drop_bus_tables(Operations(op.get_context()), SCHEMA)
