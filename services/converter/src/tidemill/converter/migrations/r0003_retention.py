"""Bytes may go after their time, and somebody has to see to it once the decision is committed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "converter"
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("documents", sa.Column("removed_at", moment, comment="Since when its bytes are gone."), schema=SCHEMA)
    op.create_index("ix_documents_received_at", "documents", ["received_at"], schema=SCHEMA)
    op.create_table(
        "doomed",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("decided_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_doomed"),
        schema=SCHEMA,
        comment="Bytes that the archive is to forget.",
    )


def downgrade() -> None:
    op.drop_table("doomed", schema=SCHEMA)
    op.drop_index("ix_documents_received_at", "documents", schema=SCHEMA)
    op.drop_column("documents", "removed_at", schema=SCHEMA)
