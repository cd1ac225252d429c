"""The tables only the alerter writes."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tidemill.common.bus.tables import bus_tables
from tidemill.common.channels import delivery_tables
from tidemill.common.database import service_metadata

SCHEMA = "alerter"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)
deliveries = delivery_tables(metadata)

MOMENT = DateTime(timezone=True)

signals = Table(
    "signals",
    metadata,
    Column("event", Text, primary_key=True),
    Column("digest", Text, primary_key=True, comment="Of the labels."),
    Column("minute", MOMENT, primary_key=True),
    Column("labels", JSONB, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("at", MOMENT, nullable=False, comment="Of the last event."),
    Column("says", Text, nullable=False, comment="What it said."),
    Column("run", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("noted_at", MOMENT, nullable=False, server_default=func.clock_timestamp()),
    Index("ix_signals_noted_at", "noted_at"),
    comment="Events that rules are held against, counted by the minute.",
)

samples = Table(
    "samples",
    metadata,
    Column("measure", Text, primary_key=True),
    Column("digest", Text, primary_key=True, comment="Of the labels."),
    Column("at", MOMENT, primary_key=True),
    Column("labels", JSONB, nullable=False),
    Column("value", Double, comment="It holds until the next row; null: there is none any more."),
    Column("says", Text, nullable=False),
    Index("ix_samples_at", "at"),
    comment="Measured values, a row when one changes: what rules can be tried on.",
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("state", Text, nullable=False, comment="pending, firing, acknowledged, flapping, resolved."),
    Column("phase", Text, nullable=False, comment="What the condition alone says: idle, pending, firing."),
    Column("flapping", Boolean, nullable=False),
    Column("active_at", MOMENT, comment="Since when the condition holds."),
    Column("held_at", MOMENT, comment="When it held last."),
    Column("fired_at", MOMENT, comment="When this trouble began to fire."),
    Column("resolved_at", MOMENT),
    Column("fires", ARRAY(MOMENT), nullable=False, comment="When it fired last."),
    Column("acknowledged", JSONB, comment="Who takes care of it: by, at, note, until."),
    Column("value", Double),
    Column("count", BigInteger, nullable=False, server_default="1"),
    Column("says", Text, nullable=False, server_default=""),
    Column("run", Text, nullable=False, server_default=""),
    Column("traceparent", Text, nullable=False, server_default=""),
    Column("summary", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("runbook", Text, nullable=False, server_default=""),
    Column("hidden", Text, nullable=False, server_default="", comment="Why nobody is told."),
    Column("version", BigInteger, nullable=False, server_default="0", comment="Changes of state: names its events."),
    Index("ix_alerts_state", "state", postgresql_where=text("state <> 'resolved'")),
    comment="Each rule about each set of labels for which it ever fired, as it is now.",
)

groups = Table(
    "groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("route", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("opened_at", MOMENT, comment="Since when there is something to tell."),
    Column("notified_at", MOMENT),
    Column("told", JSONB, nullable=False, comment="By alert: what was told of it, as long as its end was not."),
    Column("channels", ARRAY(Text), nullable=False, comment="Who heard of them."),
    Column("escalated", Integer, nullable=False),
    Column("count", BigInteger, nullable=False, comment="Messages so far."),
    Column("reason", Text, nullable=False, comment="Why it was told, or not, when that changed last."),
    comment="Alerts that are told together, and what was told of them.",
)

silences = Table(
    "silences",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("matchers", ARRAY(Text), nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False, server_default=func.now()),
    Column("starts_at", MOMENT, nullable=False),
    Column("ends_at", MOMENT, nullable=False),
    comment="What somebody does not want to hear of, until when.",
)

rounds = Table(
    "rounds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", MOMENT, nullable=False),
    comment="When something was done last that one replica does for all.",
)
