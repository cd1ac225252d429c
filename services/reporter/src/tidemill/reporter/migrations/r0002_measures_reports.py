"""Measures with their bands, what is to be reported, and the reports."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "reporter"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "measures",
        sa.Column("kind", sa.Text, nullable=False, comment="run or day."),
        sa.Column("subject", sa.Text, nullable=False, comment="The run's id, or the day in ISO form."),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False, comment="Canonical JSON; {} for none."),
        sa.Column("day", sa.Date, nullable=False, comment="In the zone of reports."),
        sa.Column(
            "clock", sa.Integer, nullable=False, comment="Seconds of that day at which the run was due; 0 of a day."
        ),
        sa.Column(
            "scheduled", sa.Boolean, nullable=False, comment="It is the past of others: a schedule asked for the run."
        ),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("expected", sa.Double, comment="Null where the past was too short; so are the next four."),
        sa.Column("low", sa.Double),
        sa.Column("high", sa.Double),
        sa.Column("score", sa.Double),
        sa.Column("basis", sa.Text, server_default="", nullable=False, comment="What it was held against."),
        sa.Column(
            "severity", sa.Text, server_default="", nullable=False, comment="info, warning, critical; empty: usual."
        ),
        sa.Column("measured_at", MOMENT, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", "source", "name", "labels", name="pk_measures"),
        schema=SCHEMA,
        comment="Time series of runs and days, each value with the band in which it was expected.",
    )
    op.create_index("ix_measures_source_kind_day", "measures", ["source", "kind", "day"], schema=SCHEMA)
    op.create_index("ix_measures_day", "measures", ["day"], schema=SCHEMA)
    op.create_index(
        "ix_measures_unusual", "measures", ["day"], schema=SCHEMA, postgresql_where=sa.text("severity <> ''")
    )
    op.create_table(
        "due",
        sa.Column("kind", sa.Text, nullable=False, comment="run or day."),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("source", sa.Text, server_default="", nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False, comment="When something of it changed, or somebody asked."),
        sa.Column(
            "forced",
            sa.Boolean,
            server_default=sa.text("false"),
            nullable=False,
            comment="Somebody wants it as it is now.",
        ),
        sa.Column("done_at", MOMENT, comment="The `asked_at` that was answered last."),
        sa.Column("edition", sa.Integer, comment="That answered it."),
        sa.Column("problem", sa.Text, server_default="", nullable=False, comment="Why it could not be made."),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_due"),
        schema=SCHEMA,
        comment="Reports that are to be made, or made again.",
    )
    op.create_index(
        "ix_due_open",
        "due",
        ["kind", "day"],
        schema=SCHEMA,
        postgresql_where=sa.text("done_at IS NULL OR done_at < asked_at"),
    )
    op.create_table(
        "reports",
        sa.Column("kind", sa.Text, nullable=False, comment="run or day."),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("edition", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, server_default="", nullable=False, comment="Of a run's."),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("made_from", sa.Text, nullable=False, comment="Digest of the facts: the same make the same report."),
        sa.Column("sha256", sa.Text, nullable=False, comment="Of the content."),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("anomalies", sa.Integer, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False, comment="The report in canonical JSON."),
        sa.Column("made_at", MOMENT, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", "edition", name="pk_reports"),
        schema=SCHEMA,
        comment="Every edition of every report, never changed.",
    )
    op.create_index("ix_reports_day", "reports", ["day"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("reports", schema=SCHEMA)
    op.drop_table("due", schema=SCHEMA)
    op.drop_table("measures", schema=SCHEMA)
