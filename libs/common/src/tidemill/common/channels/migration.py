"""The tables of deliveries as a migration of a service makes them; a change of `tables.py` brings a function of its
own."""

from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Identity,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

WAITING = text("state = 'waiting'")


def create_delivery_tables(op: Operations, schema: str) -> None:
    """Make deliveries and delivery_attempts in a schema that exists."""
    moment = DateTime(timezone=True)
    op.create_table(
        "deliveries",
        Column("id", BigInteger, Identity(), nullable=False),
        Column("message", Text, nullable=False, comment="its id"),
        Column("channel", Text, nullable=False),
        Column("recipient", Text, nullable=False, comment="a mail address; empty for the channel's one"),
        Column("key", Text, nullable=False, comment="what a receiver knows a repeat by"),
        Column("kind", Text, nullable=False),
        Column("thread", Text, nullable=False),
        Column("content", JSONB, nullable=False, comment="the message"),
        Column("fallback_of", Text, comment="the channel that gave it up"),
        Column("state", Text, nullable=False, comment="waiting, delivered, given_up"),
        Column("stated_at", moment, nullable=False),
        Column("due_at", moment, nullable=False, comment="while it is sent: when the lease ends"),
        Column("lease", Text, comment="of the process that sends it"),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("reason", Text, comment="why it ended"),
        Column("reply", Text, comment="what was last said"),
        Column("ended_at", moment),
        PrimaryKeyConstraint("id", name="pk_deliveries"),
        UniqueConstraint("message", "channel", "recipient", name="uq_deliveries_message_channel_recipient"),
        schema=schema,
        comment="What people are told: a row for each message, channel and recipient.",
    )
    op.create_index(
        "ix_deliveries_waiting", "deliveries", ["channel", "due_at"], schema=schema, postgresql_where=WAITING
    )
    op.create_index(
        "ix_deliveries_thread",
        "deliveries",
        ["thread", "channel", "recipient", "id"],
        schema=schema,
        postgresql_where=WAITING,
    )
    op.create_index("ix_deliveries_ended_at", "deliveries", ["ended_at"], schema=schema)
    op.create_table(
        "delivery_attempts",
        Column("delivery", BigInteger, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("channel", Text, nullable=False),
        Column("began_at", moment, nullable=False),
        Column("seconds", Float),
        Column("verdict", Text, comment="taken, later, never; cut_off by a kill"),
        Column("status", Integer, comment="of SMTP or HTTP"),
        Column("reply", Text, comment="what the provider said"),
        Column("hold_until", moment, comment="before that the channel wants nothing"),
        PrimaryKeyConstraint("delivery", "attempt", name="pk_delivery_attempts"),
        ForeignKeyConstraint(
            ["delivery"],
            [f"{schema}.deliveries.id"],
            name="fk_delivery_attempts_delivery",
            ondelete="CASCADE",
        ),
        schema=schema,
        comment="What was said to each attempt to deliver something.",
    )
    op.create_index("ix_delivery_attempts_channel", "delivery_attempts", ["channel", "began_at"], schema=schema)
    op.create_index(
        "ix_delivery_attempts_hold",
        "delivery_attempts",
        ["channel", "hold_until"],
        schema=schema,
        postgresql_where=text("hold_until IS NOT NULL"),
    )


def drop_delivery_tables(op: Operations, schema: str) -> None:
    op.drop_table("delivery_attempts", schema=schema)
    op.drop_table("deliveries", schema=schema)
