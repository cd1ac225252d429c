"""The tables of deliveries: of the same form in every service that tells people something."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.common.retention import Layer, rows_layer


@dataclass(frozen=True, slots=True)
class DeliveryTables:
    deliveries: Table
    """A row for each message, channel and recipient."""
    attempts: Table
    """What was said to each attempt. One whose verdict is missing is under way, or was cut off by a kill."""


def delivery_tables(metadata: MetaData) -> DeliveryTables:
    """Declare both in the service's metadata; `migration.create_delivery_tables` makes the same."""
    return DeliveryTables(deliveries_table(metadata), delivery_attempts_table(metadata))


def deliveries_layer(schema: str) -> Layer:
    """What ended long ago, and what was said to its attempts; for `Wiring.layers`."""
    return rows_layer("deliveries", f"{schema}.deliveries", "ended_at", example="concat_ws(' ', t.channel, t.message)")


def deliveries_table(metadata: MetaData) -> Table:
    return Table(
        "deliveries",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("message", Text, nullable=False, comment="its id"),
        Column("channel", Text, nullable=False),
        Column("recipient", Text, nullable=False, comment="a mail address; empty for the channel's one"),
        Column("key", Text, nullable=False, comment="what a receiver knows a repeat by"),
        Column("kind", Text, nullable=False),
        Column("thread", Text, nullable=False),
        Column("content", JSONB, nullable=False, comment="the message"),
        Column("fallback_of", Text, comment="the channel that gave it up"),
        Column("state", Text, nullable=False, comment="waiting, delivered, given_up"),
        Column("stated_at", DateTime(timezone=True), nullable=False),
        Column("due_at", DateTime(timezone=True), nullable=False, comment="while it is sent: when the lease ends"),
        Column("lease", Text, comment="of the process that sends it"),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("reason", Text, comment="why it ended"),
        Column("reply", Text, comment="what was last said"),
        Column("ended_at", DateTime(timezone=True)),
        UniqueConstraint("message", "channel", "recipient"),
        Index("ix_deliveries_waiting", "channel", "due_at", postgresql_where=text("state = 'waiting'")),
        Index(
            "ix_deliveries_thread", "thread", "channel", "recipient", "id", postgresql_where=text("state = 'waiting'")
        ),
        Index("ix_deliveries_ended_at", "ended_at"),
        comment="What people are told: a row for each message, channel and recipient.",
    )


def delivery_attempts_table(metadata: MetaData) -> Table:
    deliveries = f"{metadata.schema}.deliveries.id" if metadata.schema else "deliveries.id"
    return Table(
        "delivery_attempts",
        metadata,
        Column("delivery", BigInteger, ForeignKey(deliveries, ondelete="CASCADE"), primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("channel", Text, nullable=False),
        Column("began_at", DateTime(timezone=True), nullable=False),
        Column("seconds", Float),
        Column("verdict", Text, comment="taken, later, never; cut_off by a kill"),
        Column("status", Integer, comment="of SMTP or HTTP"),
        Column("reply", Text, comment="what the provider said"),
        Column("hold_until", DateTime(timezone=True), comment="before that the channel wants nothing"),
        Index("ix_delivery_attempts_channel", "channel", "began_at"),
        Index("ix_delivery_attempts_hold", "channel", "hold_until", postgresql_where=text("hold_until IS NOT NULL")),
        comment="What was said to each attempt to deliver something.",
    )
