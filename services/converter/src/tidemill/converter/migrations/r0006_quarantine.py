"""Records that checks hold back, and what checks said of documents and runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

SCHEMA = "converter"
moment = sa.DateTime(timezone=True)
now = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("document", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False, comment="In the part, as the converter yielded it."),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False, comment="As the converter says it."),
        sa.Column("parent_dataset", sa.Text),
        sa.Column("parent_key", sa.Text),
        sa.Column("valid_from", moment),
        sa.Column("page", sa.Integer),
        sa.Column("item", sa.BigInteger),
        sa.Column("box", postgresql.ARRAY(sa.REAL)),
        sa.Column("quality", sa.REAL, nullable=False),
        sa.Column("data", sa.Text, nullable=False, comment="Canonical JSON."),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column(
            "checks",
            postgresql.ARRAY(sa.Text),
            nullable=False,
            comment="Of severity block, that it did not pass last.",
        ),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, server_default="held", nullable=False, comment="held, released, dropped."),
        sa.Column("held_at", moment, server_default=now, nullable=False),
        sa.Column("settled_at", moment),
        sa.Column("settled_by", sa.Text, server_default="", nullable=False),
        sa.Column("released_part", sa.Integer, comment="Of the document, under which the store has it."),
        sa.ForeignKeyConstraint(["document"], [f"{SCHEMA}.documents.id"], name="fk_quarantine_document_documents"),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.UniqueConstraint("document", "part", "place", name="uq_quarantine_document_part_place"),
        schema=SCHEMA,
        comment="Records that a check holds back: not stated, and nothing of them lost.",
    )
    op.create_index(
        "ix_quarantine_held",
        "quarantine",
        ["source", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index("ix_quarantine_run", "quarantine", ["run"], schema=SCHEMA)
    op.create_table(
        "record_checks",
        sa.Column("document", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="Of the check."),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False, comment="Records of the part that did not pass it."),
        sa.Column("examples", postgresql.JSONB(), nullable=False, comment="Key and message of the first ones."),
        sa.Column("judged_at", moment, server_default=now, nullable=False),
        sa.ForeignKeyConstraint(["document"], [f"{SCHEMA}.documents.id"], name="fk_record_checks_document_documents"),
        sa.PrimaryKeyConstraint("document", "part", "name", name="pk_record_checks"),
        schema=SCHEMA,
        comment="Which checks records of each document did not pass.",
    )
    op.create_table(
        "check_results",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="Of the check."),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False, comment="warn, block."),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("value", sa.Float, comment="What was held against the bounds."),
        sa.Column("judged_at", moment, server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("run", "name", name="pk_check_results"),
        schema=SCHEMA,
        comment="What checks said of each run.",
    )


def downgrade() -> None:
    for table in ("check_results", "record_checks", "quarantine"):
        op.drop_table(table, schema=SCHEMA)
