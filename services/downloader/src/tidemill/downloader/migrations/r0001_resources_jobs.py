"""Resources, indexes, jobs, documents, holds, windows, requests, and the bus tables."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "downloader"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_bus_tables(Operations(op.get_context()), SCHEMA)
    op.create_table(
        "resources",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column(
            "item", sa.Text, nullable=False, comment="Name and address in short: what plans and ledgers call it."
        ),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="File name."),
        sa.Column("issue", sa.BigInteger, comment="The number its address was made from."),
        sa.Column("etag", sa.Text, comment="Validators of what we have, sent with the next request."),
        sa.Column("last_modified", sa.Text),
        sa.Column("sha256", sa.Text, comment="What we have; null: it never came."),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column(
            "failures", sa.Integer, server_default="0", nullable=False, comment="Runs in a row that did not get it."
        ),
        sa.Column("failure", sa.Text, comment="Why the last of them did not."),
        sa.Column("next_check_at", MOMENT, comment="Schedules leave it alone until then."),
        sa.Column("first_seen_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("checked_at", MOMENT, comment="When we last heard what it holds."),
        sa.Column("changed_at", MOMENT, comment="When it last brought other bytes."),
        sa.PrimaryKeyConstraint("source", "item", name="pk_resources"),
        schema=SCHEMA,
        comment="Files that sources have or had, and what is known of each.",
    )
    op.create_table(
        "indexes",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("rules", sa.Text, nullable=False, comment="The section `download.index` that it was read with."),
        sa.Column("etag", sa.Text, comment="Validators of the page, sent with the next request."),
        sa.Column("last_modified", sa.Text),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("found", ARRAY(sa.Text), nullable=False, comment="Addresses of files, the newest first."),
        sa.PrimaryKeyConstraint("source", name="pk_indexes"),
        schema=SCHEMA,
        comment="What index pages said last, so that one that did not change need not be sent again.",
    )
    op.create_table(
        "jobs",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, comment="due, handed (somebody was told), done."),
        sa.Column("priority", sa.SmallInteger, nullable=False, comment="Lower goes first."),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("handed", sa.Integer, server_default="0", nullable=False, comment="How often it was handed out."),
        sa.Column("leased_until", MOMENT, comment="Of one that was handed out: when it counts as lost."),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False, comment="That failed."),
        sa.Column("requests", sa.Integer, server_default="0", nullable=False, comment="Over all attempts."),
        sa.Column("bytes_received", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("config_version", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("deadline", MOMENT, comment="Of the run."),
        sa.Column("frozen_at", MOMENT, comment="Since when an emergency stop holds the deadline."),
        sa.Column("outcome", sa.Text, comment="stored, unchanged, refused, failed; cancelled, timed_out."),
        sa.Column("planned_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("done_at", MOMENT),
        sa.PrimaryKeyConstraint("run", "item", name="pk_jobs"),
        sa.ForeignKeyConstraint(
            ["source", "item"], [f"{SCHEMA}.resources.source", f"{SCHEMA}.resources.item"], name="fk_jobs_source_item"
        ),
        schema=SCHEMA,
        comment="What runs have to ask for: the queue. The stream only dispatches what is handed out.",
    )
    op.create_index("ix_jobs_done_at", "jobs", ["done_at"], schema=SCHEMA, postgresql_where=sa.text("state = 'done'"))
    op.create_index("ix_jobs_open", "jobs", ["run"], schema=SCHEMA, postgresql_where=sa.text("state <> 'done'"))
    op.create_index(
        "ix_jobs_handed", "jobs", ["leased_until"], schema=SCHEMA, postgresql_where=sa.text("state = 'handed'")
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["source", "host", "priority", "planned_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_table(
        "documents",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="Under which it came first."),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False, comment="When it was news last."),
        sa.PrimaryKeyConstraint("source", "sha256", name="pk_documents"),
        schema=SCHEMA,
        comment="Each content that came; whoever inserts or renews the row has the document, all others a duplicate.",
    )
    op.create_index("ix_documents_source_received_at", "documents", ["source", "received_at"], schema=SCHEMA)
    op.create_table(
        "holds",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("since", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("source", "host", "reason", name="pk_holds"),
        schema=SCHEMA,
        comment="Why hosts are not asked now; each is told once, when its row comes.",
    )
    op.create_table(
        "windows",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=False),
        sa.Column("said_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("source", "opened_at", name="pk_windows"),
        schema=SCHEMA,
        comment="Publication windows that passed without a new file; each is told once.",
    )
    op.create_table(
        "requests",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False, comment="In the zone of the source's budget."),
        sa.Column("requests", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger, server_default="0", nullable=False, comment="Received."),
        sa.Column("not_modified", sa.BigInteger, server_default="0", nullable=False, comment="304 answers."),
        sa.Column("bytes_saved", sa.BigInteger, server_default="0", nullable=False, comment="That those 304 spared."),
        sa.Column("retry_after_obeyed", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("retry_after_until", MOMENT, comment="How long the host wants to be left alone."),
        sa.Column("robots_denials", sa.BigInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("source", "host", "day", name="pk_requests"),
        schema=SCHEMA,
        comment="What each source asked of each host on each day, and how politely.",
    )


def downgrade() -> None:
    for table in ("requests", "windows", "holds", "documents", "jobs", "indexes", "resources"):
        op.drop_table(table, schema=SCHEMA)
    drop_bus_tables(Operations(op.get_context()), SCHEMA)
