"""What checks said of runs, and a person's word that what one held may be gone."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "scraper"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "check_results",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="Of the check."),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False, comment="warn, block."),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("value", sa.Float, comment="What was held against the bounds."),
        sa.Column("judged_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("run", "name", name="pk_check_results"),
        schema=SCHEMA,
        comment="What checks said of each run.",
    )
    op.add_column(
        "runs",
        sa.Column("released_at", MOMENT, comment="When somebody said that what a check held may be gone."),
        schema=SCHEMA,
    )
    op.add_column("runs", sa.Column("released_by", sa.Text), schema=SCHEMA)


def downgrade() -> None:
    for column in ("released_by", "released_at"):
        op.drop_column("runs", column, schema=SCHEMA)
    op.drop_table("check_results", schema=SCHEMA)
