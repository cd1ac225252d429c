"""The tables only the watcher writes."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKeyConstraint, Identity, Table, Text, UniqueConstraint, func

from tidemill.common.bus.tables import bus_tables
from tidemill.common.database import service_metadata

SCHEMA = "watcher"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)

documents = Table(
    "documents",
    metadata,
    Column("source", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    comment="The first time each content came; whoever inserts the row has the document, all others a duplicate.",
)

files = Table(
    "files",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("path", Text, nullable=False, comment="Below the watched folder."),
    Column("sha256", Text, nullable=False),
    Column("look", Text, nullable=False, comment="What stat said when it was taken: the same look, the same bytes."),
    Column("outcome", Text, nullable=False, comment="stored or duplicate."),
    Column("run", Text, nullable=False),
    Column(
        "seen_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="When it was news last: the newest row of a path says what the file holds.",
    ),
    Column(
        "settled_at", DateTime(timezone=True), comment="When it was left, moved or deleted; null: still to be done."
    ),
    UniqueConstraint("source", "path", "sha256"),
    ForeignKeyConstraint(["source", "sha256"], [documents.c.source, documents.c.sha256]),
    comment="Files that were taken, so that each is taken once, by whichever replica.",
)

refusals = Table(
    "refusals",
    metadata,
    Column("source", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("look", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("settled_at", DateTime(timezone=True)),
    comment="Files that may not be stored; told once each.",
)
