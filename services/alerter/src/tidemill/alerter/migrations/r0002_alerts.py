"""Facts, alerts, groups, silences, deliveries."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tidemill.common.channels.migration import create_delivery_tables, drop_delivery_tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "alerter"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _facts()
    _alerts()
    op.create_table(
        "silences",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("matchers", ARRAY(sa.Text), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_silences"),
        schema=SCHEMA,
        comment="What somebody does not want to hear of, until when.",
    )
    op.create_table(
        "rounds",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_rounds"),
        schema=SCHEMA,
        comment="When something was done last that one replica does for all.",
    )
    create_delivery_tables(Operations(op.get_context()), SCHEMA)


def _facts() -> None:
    op.create_table(
        "signals",
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, comment="Of the labels."),
        sa.Column("minute", MOMENT, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("at", MOMENT, nullable=False, comment="Of the last event."),
        sa.Column("says", sa.Text, nullable=False, comment="What it said."),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("noted_at", MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.PrimaryKeyConstraint("event", "digest", "minute", name="pk_signals"),
        schema=SCHEMA,
        comment="Events that rules are held against, counted by the minute.",
    )
    op.create_index("ix_signals_noted_at", "signals", ["noted_at"], schema=SCHEMA)
    op.create_table(
        "samples",
        sa.Column("measure", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, comment="Of the labels."),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("value", sa.Double, comment="It holds until the next row; null: there is none any more."),
        sa.Column("says", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("measure", "digest", "at", name="pk_samples"),
        schema=SCHEMA,
        comment="Measured values, a row when one changes: what rules can be tried on.",
    )
    op.create_index("ix_samples_at", "samples", ["at"], schema=SCHEMA)


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("state", sa.Text, nullable=False, comment="pending, firing, acknowledged, flapping, resolved."),
        sa.Column("phase", sa.Text, nullable=False, comment="What the condition alone says: idle, pending, firing."),
        sa.Column("flapping", sa.Boolean, nullable=False),
        sa.Column("active_at", MOMENT, comment="Since when the condition holds."),
        sa.Column("held_at", MOMENT, comment="When it held last."),
        sa.Column("fired_at", MOMENT, comment="When this trouble began to fire."),
        sa.Column("resolved_at", MOMENT),
        sa.Column("fires", ARRAY(MOMENT), nullable=False, comment="When it fired last."),
        sa.Column("acknowledged", JSONB, comment="Who takes care of it: by, at, note, until."),
        sa.Column("value", sa.Double),
        sa.Column("count", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("says", sa.Text, nullable=False, server_default=""),
        sa.Column("run", sa.Text, nullable=False, server_default=""),
        sa.Column("traceparent", sa.Text, nullable=False, server_default=""),
        sa.Column("summary", sa.Text, nullable=False, server_default=""),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("runbook", sa.Text, nullable=False, server_default=""),
        sa.Column("hidden", sa.Text, nullable=False, server_default="", comment="Why nobody is told."),
        sa.Column(
            "version",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="Changes of state: names its events.",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        schema=SCHEMA,
        comment="Each rule about each set of labels for which it ever fired, as it is now.",
    )
    op.create_index(
        "ix_alerts_state", "alerts", ["state"], schema=SCHEMA, postgresql_where=sa.text("state <> 'resolved'")
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("opened_at", MOMENT, comment="Since when there is something to tell."),
        sa.Column("notified_at", MOMENT),
        sa.Column("told", JSONB, nullable=False, comment="By alert: what was told of it, as long as its end was not."),
        sa.Column("channels", ARRAY(sa.Text), nullable=False, comment="Who heard of them."),
        sa.Column("escalated", sa.Integer, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False, comment="Messages so far."),
        sa.Column("reason", sa.Text, nullable=False, comment="Why it was told, or not, when that changed last."),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        schema=SCHEMA,
        comment="Alerts that are told together, and what was told of them.",
    )


def downgrade() -> None:
    drop_delivery_tables(Operations(op.get_context()), SCHEMA)
    for table in ("rounds", "silences", "groups", "alerts", "samples", "signals"):
        op.drop_table(table, schema=SCHEMA)
