"""What people say of two records; and the pages that are gone are found at once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

SCHEMA = "converter"


def upgrade() -> None:
    op.create_table(
        "pairs",
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column("one", sa.Text, nullable=False, comment="Key; of the two the lesser."),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False, comment="same, different."),
        sa.Column("author", sa.Text, server_default="", nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "one", "other", name="pk_pairs"),
        schema=SCHEMA,
        comment="What people say of two records: that they mean one thing, or two.",
    )
    gone = sa.text("converter = 'gone'")
    op.create_index("ix_documents_gone", "documents", ["source", "path"], schema=SCHEMA, postgresql_where=gone)


def downgrade() -> None:
    op.drop_index("ix_documents_gone", "documents", schema=SCHEMA)
    op.drop_table("pairs", schema=SCHEMA)
