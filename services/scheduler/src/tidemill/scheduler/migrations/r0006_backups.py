"""Backups, so that one that does not come is missed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "scheduler"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "backups",
        sa.Column("folder", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=False),
        sa.Column("good", sa.Boolean, nullable=False),
        sa.Column("scheduled", sa.Boolean, nullable=False, comment="By itself: then one that does not come is missed."),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="Of what it added."),
        sa.Column("problem", sa.Text, nullable=False, comment="Why it is not good."),
        comment="Backups that were made, and those that failed.",
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("backups", schema=SCHEMA)
