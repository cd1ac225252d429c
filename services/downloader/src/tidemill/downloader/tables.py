"""The tables only the downloader writes."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.common.bus.tables import bus_tables
from tidemill.common.database import service_metadata
from tidemill.common.http.holding import holds_table
from tidemill.common.http.ledger import requests_table

SCHEMA = "downloader"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)

MOMENT = DateTime(timezone=True)

resources = Table(
    "resources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("item", Text, primary_key=True, comment="Name and address in short: what plans and ledgers call it."),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=False, comment="File name."),
    Column("issue", BigInteger, comment="The number its address was made from."),
    Column("etag", Text, comment="Validators of what we have, sent with the next request."),
    Column("last_modified", Text),
    Column("sha256", Text, comment="What we have; null: it never came."),
    Column("size_bytes", BigInteger),
    Column("failures", Integer, nullable=False, server_default="0", comment="Runs in a row that did not get it."),
    Column("failure", Text, comment="Why the last of them did not."),
    Column("next_check_at", MOMENT, comment="Schedules leave it alone until then."),
    Column("first_seen_at", MOMENT, nullable=False, server_default=func.now()),
    Column("checked_at", MOMENT, comment="When we last heard what it holds."),
    Column("changed_at", MOMENT, comment="When it last brought other bytes."),
    comment="Files that sources have or had, and what is known of each.",
)

indexes = Table(
    "indexes",
    metadata,
    Column("source", Text, primary_key=True),
    Column("rules", Text, nullable=False, comment="The section `download.index` that it was read with."),
    Column("etag", Text, comment="Validators of the page, sent with the next request."),
    Column("last_modified", Text),
    Column("size_bytes", BigInteger, nullable=False),
    Column("found", ARRAY(Text), nullable=False, comment="Addresses of files, the newest first."),
    comment="What index pages said last, so that one that did not change need not be sent again.",
)

jobs = Table(
    "jobs",
    metadata,
    Column("run", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False, comment="due, handed (somebody was told), done."),
    Column("priority", SmallInteger, nullable=False, comment="Lower goes first."),
    Column("due_at", MOMENT, nullable=False),
    Column("handed", Integer, nullable=False, server_default="0", comment="How often it was handed out."),
    Column("leased_until", MOMENT, comment="Of one that was handed out: when it counts as lost."),
    Column("attempts", Integer, nullable=False, server_default="0", comment="That failed."),
    Column("requests", Integer, nullable=False, server_default="0", comment="Over all attempts."),
    Column("bytes_received", BigInteger, nullable=False, server_default="0"),
    Column("config_version", BigInteger, nullable=False, server_default="0"),
    Column("deadline", MOMENT, comment="Of the run."),
    Column("frozen_at", MOMENT, comment="Since when an emergency stop holds the deadline."),
    Column("outcome", Text, comment="stored, unchanged, refused, failed; cancelled, timed_out."),
    Column("planned_at", MOMENT, nullable=False, server_default=func.now()),
    Column("done_at", MOMENT),
    ForeignKeyConstraint(["source", "item"], [resources.c.source, resources.c.item]),
    Index("ix_jobs_due", "source", "host", "priority", "planned_at", postgresql_where=text("state = 'due'")),
    Index("ix_jobs_open", "run", postgresql_where=text("state <> 'done'")),
    Index("ix_jobs_handed", "leased_until", postgresql_where=text("state = 'handed'")),
    Index("ix_jobs_done_at", "done_at", postgresql_where=text("state = 'done'")),
    comment="What runs have to ask for: the queue. The stream only dispatches what is handed out.",
)

documents = Table(
    "documents",
    metadata,
    Column("source", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("name", Text, nullable=False, comment="Under which it came first."),
    Column("item", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("received_at", MOMENT, nullable=False, comment="When it was news last."),
    Index("ix_documents_source_received_at", "source", "received_at"),
    comment="Each content that came; whoever inserts or renews the row has the document, all others a duplicate.",
)

holds = holds_table(metadata)

windows = Table(
    "windows",
    metadata,
    Column("source", Text, primary_key=True),
    Column("opened_at", MOMENT, primary_key=True),
    Column("closed_at", MOMENT, nullable=False),
    Column("said_at", MOMENT, nullable=False, server_default=func.now()),
    comment="Publication windows that passed without a new file; each is told once.",
)

requests = requests_table(metadata)
