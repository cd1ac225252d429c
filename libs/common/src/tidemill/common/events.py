"""The facts that services state, as they are on the wire. The contract is `proto-schemas/`; a test holds both equal."""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

Int64 = Annotated[int, PlainSerializer(str, return_type=str, when_used="json")]
"""proto3 JSON writes 64-bit integers as strings and reads both."""


class Message(BaseModel):
    """A frozen proto3 message; unknown fields are ignored, so that versions N and N-1 understand each other.

    proto3 leaves out zero, false and empty: a field that may hold them has that default.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Event(Message):
    """A fact in the past tense. `{name}` in a subject is filled from the field of that name."""

    subject: ClassVar[str]
    stream: ClassVar[str]

    source: str

    def subject_filled(self) -> str:
        return self.subject.format(**{name: getattr(self, name) for name in type(self).model_fields})

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class DocumentStored(Event):
    """Bytes are in the archive and nobody has converted them yet."""

    subject = "tidemill.document.stored.{lane}.{source}"
    stream = "DOCUMENTS"

    lane: str = "lo"
    """`hi` overtakes `lo`."""
    sha256: str
    size_bytes: Int64 = 0
    name: str
    """File name, without folders."""
    path: str = ""
    """Where it was found, for people."""
    run: str
    received_at: AwareDatetime
    modified_at: AwareDatetime | None = None
    """The source's own time of the bytes (mtime, Last-Modified)."""
    tags: tuple[str, ...] = ()


class DocumentUnchanged(Event):
    """Known bytes came again; nothing is to be done."""

    subject = "tidemill.document.unchanged.{source}"
    stream = "DOCUMENTS"

    sha256: str
    size_bytes: Int64 = 0
    name: str
    path: str = ""
    run: str
    duplicate_of: str
    """Name under which these bytes came first."""
    received_at: AwareDatetime


class DocumentRefused(Event):
    """Something arrived that may not be stored."""

    subject = "tidemill.document.refused.{source}"
    stream = "DOCUMENTS"

    name: str
    path: str = ""
    size_bytes: Int64 = 0
    run: str
    reason: str
    """Slug that can be counted: too_large, too_small, …"""
    detail: str = ""
    received_at: AwareDatetime


class RunPlanned(Event):
    """What a run will work through. Repeated until it says `closed`; items add up over the repeats."""

    subject = "tidemill.run.planned.{source}"
    stream = "RUNS"

    run: str
    trigger: str
    """file, schedule, manual, …"""
    items: tuple[str, ...] = ()
    closed: bool = False
    planned_at: AwareDatetime


class Rows(Message):
    """Row accounting: seen = accepted + rejected + the ignored ones."""

    seen: int = 0
    accepted: int = 0
    rejected: int = 0
    ignored: dict[str, int] = Field(default_factory=dict)


class Changes(Message):
    """What storing did to the records of one dataset."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    history: int = 0
    """Versions older than the current one: a late document."""


class DocumentConverted(Event):
    """A document is through, whatever came out: stated once per document and conversion."""

    subject = "tidemill.document.converted.{source}"
    stream = "DOCUMENTS"

    sha256: str
    run: str
    name: str
    converter: str
    converter_version: str
    outcome: str
    """`converted`, or what is wrong with it; see the values of tidemill.plugin.Outcome."""
    reason: str = ""
    pages: int = 0
    rows: Rows = Rows()
    records: dict[str, Changes] = Field(default_factory=dict)
    """By dataset."""
    warnings: tuple[str, ...] = ()
    cpu_seconds: float = 0.0
    peak_memory_bytes: Int64 = 0
    converted_at: AwareDatetime


class RecordsStored(Event):
    """A batch of records of one document is in the store."""

    subject = "tidemill.records.stored.{source}"
    stream = "RECORDS"

    sha256: str
    run: str
    batch: int = 0
    records: dict[str, Changes] = Field(default_factory=dict)


class RecordsRejected(Event):
    """Rows of one batch that could not become records."""

    subject = "tidemill.records.rejected.{source}"
    stream = "RECORDS"

    sha256: str
    run: str
    batch: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """By reason."""


class JobDead(Event):
    """A message was given up. Its row in the service's `dead_letters` is the truth; this tells of it."""

    subject = "tidemill.dead.{service}"
    stream = "DEAD"

    source: str = ""
    """Empty where the payload could not be read."""
    service: str
    consumer: str
    event_id: str
    origin_subject: str
    reason: str
    """invalid, poison, exhausted, deliveries."""
    error: str
    attempts: int = 0
    payload: Base64Bytes = b""
    headers: dict[str, str] = Field(default_factory=dict)
    died_at: AwareDatetime


EVENTS: tuple[type[Event], ...] = (
    DocumentStored,
    DocumentUnchanged,
    DocumentRefused,
    RunPlanned,
    DocumentConverted,
    RecordsStored,
    RecordsRejected,
    JobDead,
)
