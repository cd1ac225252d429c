"""What follows from records and reference data is kept beside the records."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

SCHEMA = "converter"
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "enrichers",
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column(
            "version",
            sa.Text,
            nullable=False,
            comment="Of the one that started last: what others made is made anew.",
        ),
        sa.Column(
            "reference", sa.Text, server_default="", nullable=False, comment="Which reference data it is open with."
        ),
        sa.Column("registered_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "name", name="pk_enrichers"),
        schema=SCHEMA,
        comment="What adds to the records of each dataset.",
    )
    op.create_table(
        "enriched",
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column("content", sa.BigInteger, nullable=False, comment="versions.content."),
        sa.Column("enricher", sa.Text, nullable=False),
        sa.Column(
            "at", moment, nullable=False, comment="When the content was first stated; ages are worked out for then."
        ),
        sa.Column("version", sa.Text, nullable=False, comment="Of the enricher; empty: still to be made."),
        sa.Column("reference", sa.Text, nullable=False, comment="Which reference data it was made with."),
        sa.Column("data", postgresql.JSONB(), comment="By the enricher's model; null where nothing follows."),
        sa.Column("reason", sa.Text, server_default="", nullable=False, comment="Why it could not be made."),
        sa.Column("question", sa.Text, comment="An address that a geocoder may be asked for."),
        sa.Column("made_at", moment),
        sa.PrimaryKeyConstraint("dataset", "content", "enricher", name="pk_enriched"),
        schema=SCHEMA,
        comment="What follows from each content and from reference data; the typed views join it.",
    )
    op.create_index("ix_enriched_stale", "enriched", ["dataset", "enricher", "version", "reference"], schema=SCHEMA)
    op.create_index(
        "ix_enriched_question",
        "enriched",
        ["question"],
        schema=SCHEMA,
        postgresql_where=sa.text("question IS NOT NULL"),
    )
    op.create_table(
        "reference_data",
        sa.Column("kind", sa.Text, nullable=False, comment="addresses, buildings."),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column(
            "sha256",
            sa.Text,
            nullable=False,
            comment="In the archive, in the form that enrichers read; its version.",
        ),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column(
            "counts", postgresql.JSONB(), nullable=False, comment="Rows by region, cities; rows left out by reason."
        ),
        sa.Column("box", postgresql.ARRAY(sa.Float), nullable=False, comment="South, west, north, east, in degrees."),
        sa.Column("file", sa.Text, nullable=False, comment="Name of the file it came from."),
        sa.Column("attribution", sa.Text, nullable=False),
        sa.Column("licence", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("imported_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_reference_data"),
        schema=SCHEMA,
        comment="Addresses and buildings that enrichers read.",
    )
    op.create_table(
        "geocoded",
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("latitude", sa.Float, comment="Null where the geocoder knows no such place."),
        sa.Column("longitude", sa.Float),
        sa.Column("precision", sa.Text, server_default="", nullable=False),
        sa.Column("attribution", sa.Text, nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("reason", sa.Text, server_default="", nullable=False, comment="Why there is no answer."),
        sa.PrimaryKeyConstraint("question", name="pk_geocoded"),
        schema=SCHEMA,
        comment="What an HTTP geocoder answered.",
    )
    op.create_index("ix_geocoded_asked_at", "geocoded", ["asked_at"], schema=SCHEMA)


def downgrade() -> None:
    # The typed views that join it go with it; the service makes its own again when it starts.
    op.execute(f"DROP TABLE {SCHEMA}.enriched CASCADE")
    op.execute(f"UPDATE {SCHEMA}.datasets SET views_hash = NULL")
    for table in ("geocoded", "reference_data", "enrichers"):
        op.drop_table(table, schema=SCHEMA)
