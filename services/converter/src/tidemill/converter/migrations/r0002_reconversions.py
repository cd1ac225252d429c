"""Documents can be converted once more, and what comes of it can be looked at before it counts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

SCHEMA = "converter"
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "documents",
        sa.Column(
            "superseded_by",
            sa.BigInteger,
            comment="The conversion that was accepted in its place: this one states nothing now.",
        ),
        schema=SCHEMA,
    )
    op.alter_column(
        "documents",
        "state",
        comment="begun or finished; staged: a candidate.",
        existing_comment="begun or finished.",
        schema=SCHEMA,
    )
    op.create_table(
        "reconversions",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("command", sa.Text, nullable=False, comment="Id of the command that asked for it."),
        sa.Column("selection", postgresql.JSONB(), nullable=False, comment="Which documents were asked for."),
        sa.Column("author", sa.Text, server_default="", nullable=False),
        sa.Column("state", sa.Text, nullable=False, comment="staging, accepting, done, discarded."),
        sa.Column("begun_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_reconversions"),
        sa.UniqueConstraint("command", name="uq_reconversions_command"),
        schema=SCHEMA,
        comment="Documents converted once more from the archive, for somebody to look at before it counts.",
    )
    op.create_table(
        "reconverted",
        sa.Column("reconversion", sa.BigInteger, nullable=False),
        sa.Column("document", sa.BigInteger, nullable=False, comment="As it counts now."),
        sa.Column("candidate", sa.BigInteger, comment="The document as it would be: a row of documents, staged."),
        sa.Column("state", sa.Text, nullable=False, comment="due, staged, failed, accepting, accepted, moved."),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column(
            "counts",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="added, changed, removed, unchanged by dataset.",
        ),
        sa.Column("ending", postgresql.JSONB(), comment="How the conversion ended, for the document's row."),
        sa.Column("lease_until", moment, comment="Somebody works on it until then."),
        sa.Column("staged_at", moment),
        sa.ForeignKeyConstraint(["reconversion"], [f"{SCHEMA}.reconversions.id"], name="fk_reconverted_reconversion"),
        sa.ForeignKeyConstraint(["document"], [f"{SCHEMA}.documents.id"], name="fk_reconverted_document"),
        sa.PrimaryKeyConstraint("reconversion", "document", name="pk_reconverted"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_reconverted_state",
        "reconverted",
        ["state"],
        schema=SCHEMA,
        postgresql_where=sa.text("state IN ('due', 'accepting')"),
    )
    op.create_table(
        "candidates",
        sa.Column("candidate", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False, comment="As the converter says it."),
        sa.Column("full_key", sa.Text, nullable=False, comment="As the store would call it today."),
        sa.Column("record", sa.BigInteger, comment="Of that key; null: it would be new."),
        sa.Column("parent_dataset", sa.Text),
        sa.Column("parent_key", sa.Text),
        sa.Column("valid_from", moment),
        sa.Column("valid_at", moment, nullable=False),
        sa.Column("page", sa.Integer),
        sa.Column("item", sa.BigInteger),
        sa.Column("box", postgresql.ARRAY(sa.REAL)),
        sa.Column("quality", sa.REAL, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.Text, nullable=False, comment="Canonical JSON."),
        sa.Column("raw", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["candidate"], [f"{SCHEMA}.documents.id"], name="fk_candidates_candidate"),
        sa.PrimaryKeyConstraint("candidate", "part", "place", name="pk_candidates"),
        schema=SCHEMA,
        comment="What a reconversion would have the document state.",
    )
    op.create_index("ix_candidates_candidate_dataset_key", "candidates", ["candidate", "dataset", "key"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("candidates", "reconverted", "reconversions"):
        op.drop_table(table, schema=SCHEMA)
    op.execute(
        f"DELETE FROM {SCHEMA}.rejected WHERE document IN (SELECT id FROM {SCHEMA}.documents WHERE state = 'staged')"
    )
    op.execute(f"DELETE FROM {SCHEMA}.documents WHERE state = 'staged'")
    op.alter_column(
        "documents",
        "state",
        comment="begun or finished.",
        existing_comment="begun or finished; staged: a candidate.",
        schema=SCHEMA,
    )
    op.drop_column("documents", "superseded_by", schema=SCHEMA)
