"""The tables only the reporter writes."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from tidemill.common.bus.tables import bus_tables
from tidemill.common.channels import delivery_tables
from tidemill.common.database import service_metadata

SCHEMA = "reporter"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)

MOMENT = DateTime(timezone=True)

measures = Table(
    "measures",
    metadata,
    Column("kind", Text, primary_key=True, comment="run or day."),
    Column("subject", Text, primary_key=True, comment="The run's id, or the day in ISO form."),
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True, comment="Canonical JSON; {} for none."),
    Column("day", Date, nullable=False, comment="In the zone of reports."),
    Column("clock", Integer, nullable=False, comment="Seconds of that day at which the run was due; 0 of a day."),
    Column("scheduled", Boolean, nullable=False, comment="It is the past of others: a schedule asked for the run."),
    Column("value", Double, nullable=False),
    Column("expected", Double, comment="Null where the past was too short; so are the next four."),
    Column("low", Double),
    Column("high", Double),
    Column("score", Double),
    Column("basis", Text, nullable=False, server_default="", comment="What it was held against."),
    Column("severity", Text, nullable=False, server_default="", comment="info, warning, critical; empty: usual."),
    Column("measured_at", MOMENT, nullable=False, server_default=func.clock_timestamp()),
    Index(None, "source", "kind", "day"),
    Index(None, "day"),
    Index("ix_measures_unusual", "day", postgresql_where=text("severity <> ''")),
    comment="Time series of runs and days, each value with the band in which it was expected.",
)

due = Table(
    "due",
    metadata,
    Column("kind", Text, primary_key=True, comment="run or day."),
    Column("subject", Text, primary_key=True),
    Column("source", Text, nullable=False, server_default=""),
    Column("day", Date, nullable=False),
    Column("asked_at", MOMENT, nullable=False, comment="When something of it changed, or somebody asked."),
    Column("forced", Boolean, nullable=False, server_default=text("false"), comment="Somebody wants it as it is now."),
    Column("done_at", MOMENT, comment="The `asked_at` that was answered last."),
    Column("edition", Integer, comment="That answered it."),
    Column("problem", Text, nullable=False, server_default="", comment="Why it could not be made."),
    Index("ix_due_open", "kind", "day", postgresql_where=text("done_at IS NULL OR done_at < asked_at")),
    comment="Reports that are to be made, or made again.",
)

reports = Table(
    "reports",
    metadata,
    Column("kind", Text, primary_key=True, comment="run or day."),
    Column("subject", Text, primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("source", Text, nullable=False, server_default="", comment="Of a run's."),
    Column("day", Date, nullable=False),
    Column("made_from", Text, nullable=False, comment="Digest of the facts: the same make the same report."),
    Column("sha256", Text, nullable=False, comment="Of the content."),
    Column("size_bytes", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("anomalies", Integer, nullable=False),
    Column("summary", Text, nullable=False),
    Column("content", Text, nullable=False, comment="The report in canonical JSON."),
    Column("made_at", MOMENT, nullable=False, server_default=func.clock_timestamp()),
    Index(None, "day"),
    comment="Every edition of every report, never changed.",
)

deliveries = delivery_tables(metadata)

sendings = Table(
    "sendings",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False, comment="Of the report: day or run."),
    Column("subject", Text, nullable=False),
    Column("edition", Integer, nullable=False),
    Column("message", Text, nullable=False, comment="As in deliveries."),
    Column("channel", Text, nullable=False),
    Column("recipient", Text, nullable=False, server_default="", comment="Empty: whom the channel names."),
    Column("attach", ARRAY(Text), nullable=False, comment="Forms that go along with a mail."),
    Column("state", Text, nullable=False, comment="preparing, handed_over (see deliveries), skipped by its reason."),
    Column("reason", Text, nullable=False, server_default="", comment="Why it is skipped, or put off."),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="To render it."),
    Column("stated_at", MOMENT, nullable=False),
    Column("due_at", MOMENT, nullable=False),
    Column("ended_at", MOMENT),
    UniqueConstraint("message", "channel", "recipient"),
    ForeignKeyConstraint(
        ["kind", "subject", "edition"],
        [f"{SCHEMA}.reports.{name}" for name in ("kind", "subject", "edition")],
        name="fk_sendings_kind_reports",
        ondelete="CASCADE",
    ),
    Index("ix_sendings_kind", "kind", "subject", "edition"),
    Index(None, "ended_at"),
    Index("ix_sendings_open", "due_at", postgresql_where=text("state = 'preparing'")),
    comment="Who is to get an edition of a report, and who is not.",
)

renderings = Table(
    "renderings",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("name", Text, primary_key=True, comment="Of the file."),
    Column("sha256", Text, nullable=False, comment="By which the archive has it."),
    Column("size_bytes", BigInteger, nullable=False),
    Column("made_at", MOMENT, nullable=False),
    Index(None, "sha256"),
    Index(None, "made_at"),
    comment="Files of reports that went along with mails.",
)
