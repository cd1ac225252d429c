"""Reports on their way to people."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations

from tidemill.common.channels.migration import create_delivery_tables, drop_delivery_tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "reporter"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_delivery_tables(Operations(op.get_context()), SCHEMA)
    op.create_table(
        "sendings",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text, nullable=False, comment="Of the report: day or run."),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("edition", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False, comment="As in deliveries."),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, server_default="", nullable=False, comment="Empty: whom the channel names."),
        sa.Column("attach", sa.ARRAY(sa.Text), nullable=False, comment="Forms that go along with a mail."),
        sa.Column(
            "state", sa.Text, nullable=False, comment="preparing, handed_over (see deliveries), skipped by its reason."
        ),
        sa.Column("reason", sa.Text, server_default="", nullable=False, comment="Why it is skipped, or put off."),
        sa.Column("attempts", sa.Integer, server_default=sa.text("0"), nullable=False, comment="To render it."),
        sa.Column("stated_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_sendings"),
        sa.UniqueConstraint("message", "channel", "recipient", name="uq_sendings_message_channel_recipient"),
        sa.ForeignKeyConstraint(
            ["kind", "subject", "edition"],
            [f"{SCHEMA}.reports.{name}" for name in ("kind", "subject", "edition")],
            name="fk_sendings_kind_reports",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
        comment="Who is to get an edition of a report, and who is not.",
    )
    op.create_index("ix_sendings_kind", "sendings", ["kind", "subject", "edition"], schema=SCHEMA)
    op.create_index("ix_sendings_ended_at", "sendings", ["ended_at"], schema=SCHEMA)
    op.create_index(
        "ix_sendings_open", "sendings", ["due_at"], schema=SCHEMA, postgresql_where=sa.text("state = 'preparing'")
    )
    op.create_table(
        "renderings",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("edition", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="Of the file."),
        sa.Column("sha256", sa.Text, nullable=False, comment="By which the archive has it."),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", "edition", "name", name="pk_renderings"),
        schema=SCHEMA,
        comment="Files of reports that went along with mails.",
    )
    op.create_index("ix_renderings_sha256", "renderings", ["sha256"], schema=SCHEMA)
    op.create_index("ix_renderings_made_at", "renderings", ["made_at"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("renderings", schema=SCHEMA)
    op.drop_table("sendings", schema=SCHEMA)
    drop_delivery_tables(Operations(op.get_context()), SCHEMA)
