"""Items that were gone, and are there again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "scheduler"
BEFORE = "new, changed, unchanged, gone, failed; empty: not yet."
NOW = "See items.py; empty: not yet."


def upgrade() -> None:
    op.add_column("runs", sa.Column("reappeared", sa.Integer, nullable=False, server_default="0"), schema=SCHEMA)
    op.alter_column("run_items", "outcome", comment=NOW, existing_comment=BEFORE, schema=SCHEMA)


def downgrade() -> None:
    op.alter_column("run_items", "outcome", comment=BEFORE, existing_comment=NOW, schema=SCHEMA)
    op.drop_column("runs", "reappeared", schema=SCHEMA)
