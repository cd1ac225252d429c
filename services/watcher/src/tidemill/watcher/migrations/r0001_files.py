"""Files, documents, refusals, and the bus tables."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "watcher"


def upgrade() -> None:
    create_bus_tables(Operations(op.get_context()), SCHEMA)
    op.create_table(
        "documents",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "sha256", name="pk_documents"),
        schema=SCHEMA,
        comment="The first time each content came; whoever inserts the row has the document, all others a duplicate.",
    )
    op.create_table(
        "files",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False, comment="Below the watched folder."),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column(
            "look", sa.Text, nullable=False, comment="What stat said when it was taken: the same look, the same bytes."
        ),
        sa.Column("outcome", sa.Text, nullable=False, comment="stored or duplicate."),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When it was news last: the newest row of a path says what the file holds.",
        ),
        sa.Column(
            "settled_at",
            sa.DateTime(timezone=True),
            comment="When it was left, moved or deleted; null: still to be done.",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.UniqueConstraint("source", "path", "sha256", name="uq_files_source_path_sha256"),
        sa.ForeignKeyConstraint(
            ["source", "sha256"],
            [f"{SCHEMA}.documents.source", f"{SCHEMA}.documents.sha256"],
            name="fk_files_source_sha256",
        ),
        schema=SCHEMA,
        comment="Files that were taken, so that each is taken once, by whichever replica.",
    )
    op.create_table(
        "refusals",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("look", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("source", "path", "look", name="pk_refusals"),
        schema=SCHEMA,
        comment="Files that may not be stored; told once each.",
    )


def downgrade() -> None:
    for table in ("refusals", "files", "documents"):
        op.drop_table(table, schema=SCHEMA)
    drop_bus_tables(Operations(op.get_context()), SCHEMA)
