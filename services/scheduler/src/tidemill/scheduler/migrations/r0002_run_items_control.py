"""Items of runs, what the ledger adds to a run, and the mirror of the control bucket."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "scheduler"
MOMENT = sa.DateTime(timezone=True)

ADDED = ("planned_items", "plan_total", "plan_dead", "closed_at", "last_at", "ended_by", "statements", "records")


def upgrade() -> None:
    for column in (
        sa.Column("planned_items", sa.Integer, nullable=False, server_default="0"),
        sa.Column(
            "plan_total",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="Items of the whole plan, once it is closed.",
        ),
        sa.Column("plan_dead", sa.Text, nullable=False, server_default="", comment="Why nobody will plan it."),
        sa.Column("closed_at", MOMENT),
        sa.Column("last_at", MOMENT, comment="Of the newest word about it."),
        sa.Column(
            "ended_by", sa.Text, nullable=False, server_default="", comment="The limit or the person that ended it."
        ),
        sa.Column(
            "statements", sa.Integer, nullable=False, server_default="0", comment="How often its end was stated."
        ),
        sa.Column("records", JSONB, comment="What it changed, by dataset."),
    ):
        op.add_column("runs", column, schema=SCHEMA)
    op.create_table(
        "run_items",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False, comment="How much weighs what is known; see items.py."),
        sa.Column("at", MOMENT, nullable=False, comment="When that was so which stands."),
        sa.Column("outcome", sa.Text, nullable=False, comment="new, changed, unchanged, gone, failed; empty: not yet."),
        sa.Column("reason", sa.Text, nullable=False, comment="Slug of why it failed."),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("records", JSONB, comment="What its conversion changed, by dataset."),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("begun_at", MOMENT),
        sa.Column("ended_at", MOMENT, comment="When it had an outcome first."),
        sa.Column("corrected", sa.Boolean, nullable=False, comment="It had another outcome before."),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("cpu_seconds", sa.Double, nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run", "item", name="pk_run_items"),
        schema=SCHEMA,
        comment="What became of each item of each run: one row, one outcome.",
    )
    op.create_table(
        "control",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("set_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("key", name="pk_control"),
        schema=SCHEMA,
        comment="The control bucket, so that a stop outlives the loss of the bucket.",
    )
    op.create_table(
        "control_bucket",
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("created", sa.Text, nullable=False, comment="Its birth: a lost one is made again with another."),
        sa.Column("last_sequence", sa.BigInteger, nullable=False, comment="One put back from a copy has an earlier."),
        sa.PrimaryKeyConstraint("bucket", name="pk_control_bucket"),
        schema=SCHEMA,
        comment="How new the bucket was that the mirror shows.",
    )


def downgrade() -> None:
    for table in ("control_bucket", "control", "run_items"):
        op.drop_table(table, schema=SCHEMA)
    for name in ADDED:
        op.drop_column("runs", name, schema=SCHEMA)
