"""When a replica began: until now that was taken from what it said last, which a new configuration changes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "config"


def upgrade() -> None:
    began_at = sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
    op.add_column("acknowledgements", began_at, schema=SCHEMA)
    op.execute("UPDATE config.acknowledgements SET began_at = at")


def downgrade() -> None:
    op.drop_column("acknowledgements", "began_at", schema=SCHEMA)
