"""The tables only the converter writes.

`records`, `versions` and `sightings` are partitioned by dataset; a partition is made when a dataset is registered
(`datasets.py`). They have no foreign keys: a check per row costs as much as the row.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

from tidemill.common.bus.tables import bus_tables
from tidemill.common.check_results import check_results_table
from tidemill.common.database import service_metadata

SCHEMA = "converter"
metadata = service_metadata(SCHEMA)
bus = bus_tables(metadata)

Time = DateTime(timezone=True)


def partition(table: str, dataset: int) -> str:
    """Name of the table that holds one dataset's rows; its comment says which."""
    return f"{table}_{dataset}"


datasets = Table(
    "datasets",
    metadata,
    Column("id", SmallInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("views_hash", Text, comment="Of the SQL of its views; null: not made yet."),
    Column("registered_at", Time, nullable=False, server_default=func.now()),
)

documents = Table(
    "documents",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("converter", Text, nullable=False),
    Column("converter_version", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False, server_default=""),
    Column(
        "context", JSONB, nullable=False, server_default="{}", comment="What the place that linked to it said of it."
    ),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_at", Time, nullable=False),
    Column("modified_at", Time, comment="The source's own time of the bytes."),
    Column("valid_from", Time, comment="What the document says its time is; null where it says nothing."),
    Column("title", Text, nullable=False, server_default=""),
    Column("attributes", JSONB, nullable=False, server_default="{}"),
    Column("trace", Text, nullable=False, server_default="", comment="Id of the trace it was converted in."),
    Column("state", Text, nullable=False, server_default="begun", comment="begun or finished; staged: a candidate."),
    Column("outcome", Text),
    Column("reason", Text, nullable=False, server_default=""),
    Column("pages", Integer, nullable=False, server_default="0"),
    Column("accounting", JSONB, nullable=False, server_default="[]", comment="Rows per page, as they add up."),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    Column("cpu_seconds", Float, nullable=False, server_default="0"),
    Column("peak_memory_bytes", BigInteger, nullable=False, server_default="0"),
    Column("begun_at", Time, nullable=False, server_default=func.clock_timestamp()),
    Column("finished_at", Time),
    Column("removed_at", Time, comment="Since when its bytes are gone."),
    Column(
        "superseded_by",
        BigInteger,
        comment="The conversion that was accepted in its place: this one states nothing now.",
    ),
    UniqueConstraint("source", "sha256", "run", "converter", "converter_version"),
    Index(None, "sha256"),
    Index(None, "run"),
    Index(None, "received_at"),
    Index(None, "source", "path"),
    # Asked with every part of every document: is its page gone?
    Index("ix_documents_gone", "source", "path", postgresql_where=text("converter = 'gone'")),
    comment="One conversion of a document in a run: what its records were made of, and by what.",
)

batches = Table(
    "batches",
    metadata,
    Column("document", BigInteger, ForeignKey(documents.c.id), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("new", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("history", Integer, nullable=False),
    Column("gone", Integer, nullable=False, server_default="0"),
    comment="What storing each part of a document changed.",
)

rejected = Table(
    "rejected",
    metadata,
    Column("document", BigInteger, ForeignKey(documents.c.id), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("dataset", Text, comment="Of a record that the store refused; null for a row the converter rejected."),
    Column("key", Text),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("page", Integer),
    Column("item", BigInteger),
    Column("box", ARRAY(REAL)),
    Column("recorded_at", Time, nullable=False, server_default=func.clock_timestamp()),
    comment="Rows that looked like records and could not become any.",
)

ids = Sequence("version_ids", metadata=metadata, cache=100)

records = Table(
    "records",
    metadata,
    Column("dataset", SmallInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("key", Text, nullable=False),
    Column("base", Text, comment="The base key of one that is not the first under it (`base~2`)."),
    Column("parent", Text, comment="Key of the record under whose key this one stands."),
    Column("version", BigInteger, nullable=False, comment="The current one; these columns repeat it."),
    Column("content", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("valid_from", Time, nullable=False),
    UniqueConstraint("dataset", "key"),
    Index(None, "base", postgresql_where=text("base IS NOT NULL")),
    Index(None, "parent", postgresql_where=text("parent IS NOT NULL")),
    postgresql_partition_by="LIST (dataset)",
    comment="Every key ever seen, and its current version.",
)

versions = Table(
    "versions",
    metadata,
    Column("dataset", SmallInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("record", BigInteger, nullable=False),
    Column("content", BigInteger, nullable=False, comment="The first version of this record with the same data."),
    Column("document", BigInteger, nullable=False),
    Column("valid_from", Time, nullable=False, comment="The source's own time."),
    Column("recorded_from", Time, nullable=False, comment="When we came to know it."),
    Column("recorded_to", Time, comment="When we came to know better; null while it holds."),
    Column("page", Integer),
    Column("item", BigInteger),
    Column("quality", REAL, nullable=False),
    Column("box", ARRAY(REAL)),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 of the data alone, in canonical JSON."),
    Column("run", Text, nullable=False),
    Column("origin", Text, nullable=False, comment="stored, or reopened by an older document that came late."),
    Column("data", JSONB, nullable=False),
    Column("raw", Text, nullable=False),
    Index(None, "record", "valid_from"),
    Index(None, "document"),
    Index(None, "recorded_from", postgresql_using="brin"),
    Index(None, "recorded_to", postgresql_where=text("recorded_to IS NOT NULL")),
    postgresql_partition_by="LIST (dataset)",
    comment="What each record said from when on. Rows are added and closed, never deleted.",
)

sightings = Table(
    "sightings",
    metadata,
    Column("document", BigInteger, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("valid_at", Time, primary_key=True),
    Column("dataset", SmallInteger, primary_key=True),
    Column("contents", ARRAY(BigInteger), nullable=False, comment="versions.content, in the document's order."),
    Index(None, "valid_at"),
    # Without a pending list: every look-up would read it, and writing costs the same.
    Index(None, "contents", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    postgresql_partition_by="LIST (dataset)",
    comment="Which contents each part of a document stated: one row instead of one per unchanged record.",
)

reconversions = Table(
    "reconversions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("command", Text, nullable=False, unique=True, comment="Id of the command that asked for it."),
    Column("selection", JSONB, nullable=False, comment="Which documents were asked for."),
    Column("author", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False, comment="staging, accepting, done, discarded."),
    Column("begun_at", Time, nullable=False, server_default=func.now()),
    Column("ended_at", Time),
    comment="Documents converted once more from the archive, for somebody to look at before it counts.",
)

reconverted = Table(
    "reconverted",
    metadata,
    Column("reconversion", BigInteger, ForeignKey(reconversions.c.id), primary_key=True),
    Column("document", BigInteger, ForeignKey(documents.c.id), primary_key=True, comment="As it counts now."),
    Column("candidate", BigInteger, comment="The document as it would be: a row of documents, staged."),
    Column("state", Text, nullable=False, comment="due, staged, failed, accepting, accepted, moved."),
    Column("reason", Text, nullable=False, server_default=""),
    Column(
        "counts", JSONB, nullable=False, server_default="{}", comment="added, changed, removed, unchanged by dataset."
    ),
    Column("ending", JSONB, comment="How the conversion ended, for the document's row."),
    Column("lease_until", Time, comment="Somebody works on it until then."),
    Column("staged_at", Time),
    Index(None, "state", postgresql_where=text("state IN ('due', 'accepting')")),
)

candidates = Table(
    "candidates",
    metadata,
    Column("candidate", BigInteger, ForeignKey(documents.c.id), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("dataset", SmallInteger, nullable=False),
    Column("key", Text, nullable=False, comment="As the converter says it."),
    Column("full_key", Text, nullable=False, comment="As the store would call it today."),
    Column("record", BigInteger, comment="Of that key; null: it would be new."),
    Column("parent_dataset", Text),
    Column("parent_key", Text),
    Column("valid_from", Time),
    Column("valid_at", Time, nullable=False),
    Column("page", Integer),
    Column("item", BigInteger),
    Column("box", ARRAY(REAL)),
    Column("quality", REAL, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("data", Text, nullable=False, comment="Canonical JSON."),
    Column("raw", Text, nullable=False),
    Index(None, "candidate", "dataset", "key"),
    comment="What a reconversion would have the document state.",
)

doomed = Table(
    "doomed",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("decided_at", Time, nullable=False, server_default=func.now()),
    comment="Bytes that the archive is to forget.",
)

vocabularies = Table(
    "vocabularies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias_version", BigInteger, nullable=False, server_default="1"),
    Column("edited_at", Time, nullable=False, server_default=func.now()),
)

aliases = Table(
    "aliases",
    metadata,
    Column("vocabulary", Text, ForeignKey(vocabularies.c.name), primary_key=True),
    Column("raw", Text, primary_key=True),
    Column("scope", Text, primary_key=True, comment="Empty: in every scope."),
    Column("entity", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("added_at", Time, nullable=False, server_default=func.now()),
    comment="What users say a name stands for.",
)

names = Table(
    "names",
    metadata,
    Column("vocabulary", Text, ForeignKey(vocabularies.c.name), primary_key=True),
    Column("raw", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("id", BigInteger, Identity(), nullable=False, comment="The order in which names came."),
    Column("entity", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("method", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("candidates", JSONB, nullable=False),
    Column("alias_version", BigInteger, nullable=False, comment="Of the vocabulary, since when this is the answer."),
    Column("first_seen_at", Time, nullable=False, server_default=func.now()),
    Index(None, "vocabulary", "id"),
    Index("ix_names_review", "vocabulary", "id", postgresql_where=text("method = 'review'")),
    Index(None, "entity"),
    comment="Every printed name that records hold, and what it stands for; the typed views join it.",
)

enrichers = Table(
    "enrichers",
    metadata,
    Column("dataset", SmallInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False, comment="Of the one that started last: what others made is made anew."),
    Column("reference", Text, nullable=False, server_default="", comment="Which reference data it is open with."),
    Column("registered_at", Time, nullable=False, server_default=func.now()),
    comment="What adds to the records of each dataset.",
)

enriched = Table(
    "enriched",
    metadata,
    Column("dataset", SmallInteger, primary_key=True),
    Column("content", BigInteger, primary_key=True, comment="versions.content."),
    Column("enricher", Text, primary_key=True),
    Column("at", Time, nullable=False, comment="When the content was first stated; ages are worked out for then."),
    Column("version", Text, nullable=False, comment="Of the enricher; empty: still to be made."),
    Column("reference", Text, nullable=False, comment="Which reference data it was made with."),
    Column("data", JSONB, comment="By the enricher's model; null where nothing follows."),
    Column("reason", Text, nullable=False, server_default="", comment="Why it could not be made."),
    Column("question", Text, comment="An address that a geocoder may be asked for."),
    Column("made_at", Time),
    Index("ix_enriched_stale", "dataset", "enricher", "version", "reference"),
    Index("ix_enriched_question", "question", postgresql_where=text("question IS NOT NULL")),
    comment="What follows from each content and from reference data; the typed views join it.",
)

reference_data = Table(
    "reference_data",
    metadata,
    Column("kind", Text, primary_key=True, comment="addresses, buildings."),
    Column("name", Text, primary_key=True),
    Column("sha256", Text, nullable=False, comment="In the archive, in the form that enrichers read; its version."),
    Column("rows", BigInteger, nullable=False),
    Column("counts", JSONB, nullable=False, comment="Rows by region, cities; rows left out by reason."),
    Column("box", ARRAY(Float), nullable=False, comment="South, west, north, east, in degrees."),
    Column("file", Text, nullable=False, comment="Name of the file it came from."),
    Column("attribution", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("imported_at", Time, nullable=False, server_default=func.now()),
    comment="Addresses and buildings that enrichers read.",
)

geocoded = Table(
    "geocoded",
    metadata,
    Column("question", Text, primary_key=True),
    Column("latitude", Float, comment="Null where the geocoder knows no such place."),
    Column("longitude", Float),
    Column("precision", Text, nullable=False, server_default=""),
    Column("attribution", Text, nullable=False),
    Column("asked_at", Time, nullable=False),
    Column("reason", Text, nullable=False, server_default="", comment="Why there is no answer."),
    Index(None, "asked_at"),
    comment="What an HTTP geocoder answered.",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("document", BigInteger, ForeignKey(documents.c.id), nullable=False),
    Column("part", Integer, nullable=False),
    Column("place", Integer, nullable=False, comment="In the part, as the converter yielded it."),
    Column("source", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("key", Text, nullable=False, comment="As the converter says it."),
    Column("parent_dataset", Text),
    Column("parent_key", Text),
    Column("valid_from", Time),
    Column("page", Integer),
    Column("item", BigInteger),
    Column("box", ARRAY(REAL)),
    Column("quality", REAL, nullable=False),
    Column("data", Text, nullable=False, comment="Canonical JSON."),
    Column("raw", Text, nullable=False),
    Column("checks", ARRAY(Text), nullable=False, comment="Of severity block, that it did not pass last."),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="held", comment="held, released, dropped."),
    Column("held_at", Time, nullable=False, server_default=func.clock_timestamp()),
    Column("settled_at", Time),
    Column("settled_by", Text, nullable=False, server_default=""),
    Column("released_part", Integer, comment="Of the document, under which the store has it."),
    UniqueConstraint("document", "part", "place"),
    Index("ix_quarantine_held", "source", "id", postgresql_where=text("state = 'held'")),
    Index(None, "run"),
    comment="Records that a check holds back: not stated, and nothing of them lost.",
)

record_checks = Table(
    "record_checks",
    metadata,
    Column("document", BigInteger, ForeignKey(documents.c.id), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("name", Text, primary_key=True, comment="Of the check."),
    Column("severity", Text, nullable=False),
    Column("failed", Integer, nullable=False, comment="Records of the part that did not pass it."),
    Column("examples", JSONB, nullable=False, comment="Key and message of the first ones."),
    Column("judged_at", Time, nullable=False, server_default=func.clock_timestamp()),
    comment="Which checks records of each document did not pass.",
)

pairs = Table(
    "pairs",
    metadata,
    Column("dataset", SmallInteger, primary_key=True),
    Column("one", Text, primary_key=True, comment="Key; of the two the lesser."),
    Column("other", Text, primary_key=True),
    Column("verdict", Text, nullable=False, comment="same, different."),
    Column("author", Text, nullable=False, server_default=""),
    Column("decided_at", Time, nullable=False, server_default=func.now()),
    comment="What people say of two records: that they mean one thing, or two.",
)

check_results = check_results_table(metadata)
