"""What the mill ground, and the tables of the bus."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_bus_tables(Operations(op.get_context()), "mill")
    op.create_table(
        "ground",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_ground"),
        schema="mill",
    )


def downgrade() -> None:
    op.drop_table("ground", schema="mill")
    drop_bus_tables(Operations(op.get_context()), "mill")
