"""Documents, versioned records, names: the converter's first tables."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from sqlalchemy.dialects import postgresql

from tidemill.common.bus.migration import create_bus_tables, drop_bus_tables

revision = "0001"
down_revision = None

SCHEMA = "converter"
PARTITIONED = ("records", "versions", "sightings")
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("version_ids", schema=SCHEMA, cache=100)))
    op.create_table(
        "datasets",
        sa.Column("id", sa.SmallInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("views_hash", sa.Text, comment="Of the SQL of its views; null: not made yet."),
        sa.Column("registered_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("name", name="uq_datasets_name"),
        schema=SCHEMA,
    )
    op.create_table(
        "documents",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("converter", sa.Text, nullable=False),
        sa.Column("converter_version", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, server_default="", nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("received_at", moment, nullable=False),
        sa.Column("modified_at", moment, comment="The source's own time of the bytes."),
        sa.Column("valid_from", moment, comment="What the document says its time is; null where it says nothing."),
        sa.Column("title", sa.Text, server_default="", nullable=False),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("trace", sa.Text, server_default="", nullable=False, comment="Id of the trace it was converted in."),
        sa.Column("state", sa.Text, server_default="begun", nullable=False, comment="begun or finished."),
        sa.Column("outcome", sa.Text),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("pages", sa.Integer, server_default="0", nullable=False),
        sa.Column(
            "accounting",
            postgresql.JSONB(),
            server_default="[]",
            nullable=False,
            comment="Rows per page, as they add up.",
        ),
        sa.Column("warnings", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("cpu_seconds", sa.Float, server_default="0", nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("begun_at", moment, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("finished_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_documents"),
        sa.UniqueConstraint(
            "source",
            "sha256",
            "run",
            "converter",
            "converter_version",
            name="uq_documents_source_sha256_run_converter_converter_version",
        ),
        schema=SCHEMA,
        comment="One conversion of a document in a run: what its records were made of, and by what.",
    )
    op.create_index("ix_documents_run", "documents", ["run"], schema=SCHEMA)
    op.create_index("ix_documents_sha256", "documents", ["sha256"], schema=SCHEMA)
    op.create_table(
        "records",
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("base", sa.Text, comment="The base key of one that is not the first under it (`base~2`)."),
        sa.Column("parent", sa.Text, comment="Key of the record under whose key this one stands."),
        sa.Column("version", sa.BigInteger, nullable=False, comment="The current one; these columns repeat it."),
        sa.Column("content", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("valid_from", moment, nullable=False),
        sa.PrimaryKeyConstraint("dataset", "id", name="pk_records"),
        sa.UniqueConstraint("dataset", "key", name="uq_records_dataset_key"),
        schema=SCHEMA,
        comment="Every key ever seen, and its current version.",
        postgresql_partition_by="LIST (dataset)",
    )
    for column in ("base", "parent"):
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_records_{column}", "records", [column], schema=SCHEMA, postgresql_where=where)
    op.create_table(
        "sightings",
        sa.Column("document", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("valid_at", moment, nullable=False),
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column(
            "contents",
            postgresql.ARRAY(sa.BigInteger),
            nullable=False,
            comment="versions.content, in the document's order.",
        ),
        sa.PrimaryKeyConstraint("document", "part", "valid_at", "dataset", name="pk_sightings"),
        schema=SCHEMA,
        comment="Which contents each part of a document stated: one row instead of one per unchanged record.",
        postgresql_partition_by="LIST (dataset)",
    )
    op.create_index(
        "ix_sightings_contents",
        "sightings",
        ["contents"],
        schema=SCHEMA,
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_index("ix_sightings_valid_at", "sightings", ["valid_at"], schema=SCHEMA)
    op.create_table(
        "versions",
        sa.Column("dataset", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("record", sa.BigInteger, nullable=False),
        sa.Column(
            "content", sa.BigInteger, nullable=False, comment="The first version of this record with the same data."
        ),
        sa.Column("document", sa.BigInteger, nullable=False),
        sa.Column("valid_from", moment, nullable=False, comment="The source's own time."),
        sa.Column("recorded_from", moment, nullable=False, comment="When we came to know it."),
        sa.Column("recorded_to", moment, comment="When we came to know better; null while it holds."),
        sa.Column("page", sa.Integer),
        sa.Column("item", sa.BigInteger),
        sa.Column("quality", sa.REAL, nullable=False),
        sa.Column("box", postgresql.ARRAY(sa.REAL)),
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the data alone, in canonical JSON."),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column(
            "origin", sa.Text, nullable=False, comment="stored, or reopened by an older document that came late."
        ),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("dataset", "id", name="pk_versions"),
        schema=SCHEMA,
        comment="What each record said from when on. Rows are added and closed, never deleted.",
        postgresql_partition_by="LIST (dataset)",
    )
    op.create_index("ix_versions_document", "versions", ["document"], schema=SCHEMA)
    op.create_index("ix_versions_record_valid_from", "versions", ["record", "valid_from"], schema=SCHEMA)
    op.create_index("ix_versions_recorded_from", "versions", ["recorded_from"], schema=SCHEMA, postgresql_using="brin")
    op.create_table(
        "vocabularies",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("alias_version", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("edited_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_vocabularies"),
        schema=SCHEMA,
    )
    op.create_table(
        "aliases",
        sa.Column("vocabulary", sa.Text, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False, comment="Empty: in every scope."),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("added_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["vocabulary"], [f"{SCHEMA}.vocabularies.name"], name="fk_aliases_vocabulary"),
        sa.PrimaryKeyConstraint("vocabulary", "raw", "scope", name="pk_aliases"),
        schema=SCHEMA,
        comment="What users say a name stands for.",
    )
    op.create_table(
        "batches",
        sa.Column("document", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("new", sa.Integer, nullable=False),
        sa.Column("changed", sa.Integer, nullable=False),
        sa.Column("unchanged", sa.Integer, nullable=False),
        sa.Column("history", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["document"], [f"{SCHEMA}.documents.id"], name="fk_batches_document"),
        sa.PrimaryKeyConstraint("document", "part", "dataset", name="pk_batches"),
        schema=SCHEMA,
        comment="What storing each part of a document changed.",
    )
    op.create_table(
        "names",
        sa.Column("vocabulary", sa.Text, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False, comment="The order in which names came."),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("candidates", postgresql.JSONB(), nullable=False),
        sa.Column(
            "alias_version", sa.BigInteger, nullable=False, comment="Of the vocabulary, since when this is the answer."
        ),
        sa.Column("first_seen_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["vocabulary"], [f"{SCHEMA}.vocabularies.name"], name="fk_names_vocabulary"),
        sa.PrimaryKeyConstraint("vocabulary", "raw", "scope", name="pk_names"),
        schema=SCHEMA,
        comment="Every printed name that records hold, and what it stands for; the typed views join it.",
    )
    op.create_index("ix_names_entity", "names", ["entity"], schema=SCHEMA)
    review = sa.text("method = 'review'")
    op.create_index("ix_names_review", "names", ["vocabulary", "id"], schema=SCHEMA, postgresql_where=review)
    op.create_index("ix_names_vocabulary_id", "names", ["vocabulary", "id"], schema=SCHEMA)
    op.create_table(
        "rejected",
        sa.Column("document", sa.BigInteger, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column(
            "dataset", sa.Text, comment="Of a record that the store refused; null for a row the converter rejected."
        ),
        sa.Column("key", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("page", sa.Integer),
        sa.Column("item", sa.BigInteger),
        sa.Column("box", postgresql.ARRAY(sa.REAL)),
        sa.Column("recorded_at", moment, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["document"], [f"{SCHEMA}.documents.id"], name="fk_rejected_document"),
        sa.PrimaryKeyConstraint("document", "part", "ordinal", name="pk_rejected"),
        schema=SCHEMA,
        comment="Rows that looked like records and could not become any.",
    )
    create_bus_tables(Operations(op.get_context()), SCHEMA)


def downgrade() -> None:
    # Partitions and typed views were made when datasets were registered, and go with what they stand on.
    drop_bus_tables(Operations(op.get_context()), SCHEMA)
    for table in ("rejected", "batches", *PARTITIONED, "documents", "datasets", "names", "aliases", "vocabularies"):
        op.execute(f"DROP TABLE {SCHEMA}.{table} CASCADE")
    op.execute(f"DROP SEQUENCE {SCHEMA}.version_ids")
