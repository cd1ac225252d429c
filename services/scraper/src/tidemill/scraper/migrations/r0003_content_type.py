"""A target knows how the bytes that it was last are written."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "scraper"


def upgrade() -> None:
    op.add_column(
        "targets",
        sa.Column(
            "content_type", sa.Text, nullable=False, server_default="", comment="Of what came last, as the site said."
        ),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_column("targets", "content_type", schema=SCHEMA)
