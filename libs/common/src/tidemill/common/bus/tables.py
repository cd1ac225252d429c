"""What every service remembers of the bus, in its own schema beside its own tables."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB


@dataclass(frozen=True, slots=True)
class BusTables:
    inbox: Table
    """One row per handled event and consumer: what is here is never recorded again."""
    outbox: Table
    """Events that a transaction stated; a row stays until the server that confirmed it had time to reach its disk."""
    retries: Table
    """Recorded failures of events that are not finished; with `due_at`, the event waits here instead of in a stream."""
    dead_letters: Table
    """Events given up, until a person replays or drops them."""


def bus_tables(metadata: MetaData) -> BusTables:
    """Declare the four tables in the service's metadata. `migration.create_bus_tables` makes the same."""
    return BusTables(
        inbox=Table(
            "inbox",
            metadata,
            Column("consumer", Text, primary_key=True),
            Column("event_id", Text(collation="C"), primary_key=True),
            Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Column("answer", JSONB, comment="of a command, repeated to whoever asks again with the same id"),
            # Rows come in the order of time and leave in it: a few pages of BRIN instead of another B-tree.
            Index("ix_inbox_recorded_at", "recorded_at", postgresql_using="brin"),
        ),
        outbox=Table(
            "outbox",
            metadata,
            Column("id", BigInteger, Identity(), primary_key=True),
            Column("event_id", Text, nullable=False),
            Column("subject", Text, nullable=False),
            Column("payload", LargeBinary, nullable=False),
            Column("headers", JSONB, nullable=False),
            Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Column("sent_at", DateTime(timezone=True)),
            Column("server_id", Text, comment="of the nats-server process that confirmed it"),
            Index("ix_outbox_sent_at", "sent_at"),
        ),
        retries=Table(
            "retries",
            metadata,
            Column("consumer", Text, primary_key=True),
            Column("event_id", Text, primary_key=True),
            Column("origin_id", Text, nullable=False, comment="of the event whose repeat this is"),
            Column("source", Text, nullable=False),
            Column("attempts", Integer, nullable=False, comment="recorded failures"),
            Column("deliveries", Integer, nullable=False, comment="of the message, at the last recorded failure"),
            Column("due_at", DateTime(timezone=True), comment="NULL: the message itself comes again"),
            Column("subject", Text, nullable=False),
            Column("payload", LargeBinary, comment="NULL while the stream still holds the message for us"),
            Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
            Column("error", Text, nullable=False),
            Column("failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Index("ix_retries_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        ),
        dead_letters=Table(
            "dead_letters",
            metadata,
            Column("id", BigInteger, Identity(), primary_key=True),
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
            Column("died_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Column("handled_at", DateTime(timezone=True)),
            Column("handled_as", Text, comment="replayed, dropped"),
            Column("in_stream", Boolean, nullable=False, server_default=text("true"), comment="DEAD may hold it"),
            UniqueConstraint("consumer", "event_id"),
            Index("ix_dead_letters_handled_at", "handled_at", postgresql_where=text("in_stream")),
        ),
    )
