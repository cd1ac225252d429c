"""The bus tables as a service's first migration makes them; a change of `tables.py` brings a function of its own."""

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from alembic.operations import Operations


def create_bus_tables(op: "Operations", schema: str) -> None:
    """Make inbox, outbox, retries and dead_letters in a schema that exists."""
    moment = DateTime(timezone=True)
    op.create_table(
        "inbox",
        Column("consumer", Text, nullable=False),
        Column("event_id", Text(collation="C"), nullable=False),
        Column("recorded_at", moment, nullable=False, server_default=func.now()),
        Column("answer", JSONB, comment="of a command, repeated to whoever asks again with the same id"),
        PrimaryKeyConstraint("consumer", "event_id", name="pk_inbox"),
        schema=schema,
    )
    op.create_index("ix_inbox_recorded_at", "inbox", ["recorded_at"], schema=schema, postgresql_using="brin")
    op.create_table(
        "outbox",
        Column("id", BigInteger, Identity(), nullable=False),
        Column("event_id", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("created_at", moment, nullable=False, server_default=func.now()),
        Column("sent_at", moment),
        Column("server_id", Text, comment="of the nats-server process that confirmed it"),
        PrimaryKeyConstraint("id", name="pk_outbox"),
        schema=schema,
    )
    op.create_index("ix_outbox_sent_at", "outbox", ["sent_at"], schema=schema)
    op.create_table(
        "retries",
        Column("consumer", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("origin_id", Text, nullable=False, comment="of the event whose repeat this is"),
        Column("source", Text, nullable=False),
        Column("attempts", Integer, nullable=False, comment="recorded failures"),
        Column("deliveries", Integer, nullable=False, comment="of the message, at the last recorded failure"),
        Column("due_at", moment, comment="NULL: the message itself comes again"),
        Column("subject", Text, nullable=False),
        Column("payload", LargeBinary, comment="NULL while the stream still holds the message for us"),
        Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
        Column("error", Text, nullable=False),
        Column("failed_at", moment, nullable=False, server_default=func.now()),
        PrimaryKeyConstraint("consumer", "event_id", name="pk_retries"),
        schema=schema,
    )
    due = text("due_at IS NOT NULL")
    op.create_index("ix_retries_due_at", "retries", ["due_at"], schema=schema, postgresql_where=due)
    op.create_table(
        "dead_letters",
        Column("id", BigInteger, Identity(), nullable=False),
        Column("consumer", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("origin_id", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("reason", Text, nullable=False, comment="invalid, poison, exhausted, deliveries"),
        Column("error", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("died_at", moment, nullable=False, server_default=func.now()),
        Column("handled_at", moment),
        Column("handled_as", Text, comment="replayed, dropped"),
        Column("in_stream", Boolean, nullable=False, server_default=text("true"), comment="DEAD may hold it"),
        PrimaryKeyConstraint("id", name="pk_dead_letters"),
        UniqueConstraint("consumer", "event_id", name="uq_dead_letters_consumer_event_id"),
        schema=schema,
    )
    there = text("in_stream")
    op.create_index("ix_dead_letters_handled_at", "dead_letters", ["handled_at"], schema=schema, postgresql_where=there)


def drop_bus_tables(op: "Operations", schema: str) -> None:
    """Remove the four tables and what is in them."""
    for table in ("dead_letters", "retries", "outbox", "inbox"):
        op.drop_table(table, schema=schema)
