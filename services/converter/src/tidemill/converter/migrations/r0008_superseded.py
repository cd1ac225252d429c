"""An index of the versions that were superseded: those that go after their time were looked for among all."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

SCHEMA = "converter"


def upgrade() -> None:
    superseded = sa.text("recorded_to IS NOT NULL")
    op.create_index("ix_versions_recorded_to", "versions", ["recorded_to"], schema=SCHEMA, postgresql_where=superseded)


def downgrade() -> None:
    op.drop_index("ix_versions_recorded_to", "versions", schema=SCHEMA)
