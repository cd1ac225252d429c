"""An index of the pages that were given up: the alerter counts them, and they are few."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SCHEMA = "scraper"


def upgrade() -> None:
    given_up = sa.text("given_up AND gone_at IS NULL")
    op.create_index("ix_targets_given_up", "targets", ["source"], schema=SCHEMA, postgresql_where=given_up)


def downgrade() -> None:
    op.drop_index("ix_targets_given_up", "targets", schema=SCHEMA)
