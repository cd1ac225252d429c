"""Kept versions of the configuration (schema `config`), and the audit chain."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS config")
    op.create_table(
        "versions",
        sa.Column("version", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("via", sa.Text, nullable=False, comment="cli, bus, file."),
        sa.Column("comment", sa.Text, nullable=False, server_default=""),
        sa.Column("sha256", sa.Text, nullable=False, comment="Of the content: the same for the same files."),
        sa.Column(
            "content", JSONB, nullable=False, comment="Texts by file name. Secrets are named in it, never written."
        ),
        sa.PrimaryKeyConstraint("version", name="pk_versions"),
        schema="config",
        comment="Every configuration that was valid when it was applied; the last one is the active one.",
    )
    op.create_table(
        "refusals",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("refused_at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False, comment="The one that stayed."),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("problems", ARRAY(sa.Text), nullable=False, comment="A sentence each, with file and line."),
        sa.Column("settled_at", MOMENT, comment="When something valid was offered after it."),
        sa.PrimaryKeyConstraint("id", name="pk_refusals"),
        schema="config",
        comment="Configurations that were offered and could not be applied.",
    )
    op.create_table(
        "acknowledgements",
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("instance", sa.Text, nullable=False, comment="Process of the service: host, number, and a mark."),
        sa.Column("version", sa.BigInteger, nullable=False, comment="The one this answers to."),
        sa.Column("running", sa.BigInteger, nullable=False, comment="The one it works by; 0: the files of its folder."),
        sa.Column("problem", sa.Text, nullable=False, server_default="", comment="What of it cannot be done here."),
        sa.Column(
            "restart", ARRAY(sa.Text), nullable=False, comment="Settings that wait for a restart of the process."
        ),
        sa.Column("at", MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("seen_at", MOMENT, nullable=False, server_default=sa.func.now(), comment="Its last sign of life."),
        sa.PrimaryKeyConstraint("service", "instance", name="pk_acknowledgements"),
        schema="config",
        comment="What each replica says to the active version. Written by the services themselves.",
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("via", sa.Text, nullable=False, comment="The way it came: cli, bus, file, bucket."),
        sa.Column("action", sa.Text, nullable=False, comment="For instance `config.apply`, `source.pause`."),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("before", sa.JSON, comment="As text: its hash is over what is written here."),
        sa.Column("after", sa.JSON),
        sa.Column("result", sa.Text, nullable=False, comment="done, or why not."),
        sa.Column("prev_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        schema="scheduler",
        comment="Who changed what: each row holds the hash of the one before it. Never updated, never deleted.",
    )


def downgrade() -> None:
    op.drop_table("audit", schema="scheduler")
    for table in ("acknowledgements", "refusals", "versions"):
        op.drop_table(table, schema="config")
    op.execute("DROP SCHEMA config")
