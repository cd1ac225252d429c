"""The bus tables."""

from alembic import op
from alembic.operations import Operations

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "reporter"


def upgrade() -> None:
    create_bus_tables(Operations(op.get_context()), SCHEMA)


def downgrade() -> None:
    drop_bus_tables(Operations(op.get_context()), SCHEMA)
