"""Indexes of the runs and slots that go after their time: they are few, and were looked for in the whole tables."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "scheduler"


def upgrade() -> None:
    barren = sa.text("finished_at IS NOT NULL AND new + changed + gone + reappeared = 0")
    op.create_index("ix_runs_barren", "runs", ["finished_at"], schema=SCHEMA, postgresql_where=barren)
    skipped = sa.text("outcome = 'skipped'")
    op.create_index("ix_slots_skipped", "slots", ["decided_at"], schema=SCHEMA, postgresql_where=skipped)


def downgrade() -> None:
    op.drop_index("ix_slots_skipped", "slots", schema=SCHEMA)
    op.drop_index("ix_runs_barren", "runs", schema=SCHEMA)
