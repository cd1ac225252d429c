"""An index of the runs that were ended from outside."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "scheduler"


def upgrade() -> None:
    ended = sa.text("ended_by <> ''")
    op.create_index("ix_runs_finished_at", "runs", ["finished_at"], schema=SCHEMA, postgresql_where=ended)


def downgrade() -> None:
    op.drop_index("ix_runs_finished_at", "runs", schema=SCHEMA)
