"""Records may be gone, and a document knows what the place that linked to it said of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

SCHEMA = "converter"


def upgrade() -> None:
    op.add_column("batches", sa.Column("gone", sa.Integer, nullable=False, server_default="0"), schema=SCHEMA)
    op.add_column(
        "documents",
        sa.Column(
            "context",
            postgresql.JSONB,
            nullable=False,
            server_default="{}",
            comment="What the place that linked to it said of it.",
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_documents_source_path", "documents", ["source", "path"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_index("ix_documents_source_path", "documents", schema=SCHEMA)
    op.drop_column("documents", "context", schema=SCHEMA)
    op.drop_column("batches", "gone", schema=SCHEMA)
