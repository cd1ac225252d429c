"""From one document to records: the converter's interface."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO, ClassVar, Protocol, runtime_checkable

API_VERSION = 1
"""Version of this interface. A converter states the one it was written for; another major is refused."""

Options = Mapping[str, Any]
"""What the source file says under `convert.options`: JSON values, checked by the converter."""


class Outcome(StrEnum):
    """How the conversion of a document ended; everything but `converted` names what is wrong with it."""

    CONVERTED = "converted"
    INCOMPLETE = "incomplete"
    """Records were found, and it is known that some are missing (lost pages, a stream cut off)."""
    EMPTY = "empty"
    WRONG_TYPE = "wrong_type"
    """Not what its name says, by magic bytes."""
    ENCRYPTED = "encrypted"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    """The container is broken, or its text cannot be decoded."""
    SCANNED = "scanned"
    """Pictures without a text layer."""
    UNRECOGNISED = "unrecognised"
    """Readable, but not a layout this converter knows."""
    AMBIGUOUS = "ambiguous"
    """Says two different things about itself, for instance two issue dates."""
    TOO_LARGE = "too_large"
    """More pages, items or points than the limits allow."""
    RESOURCE_LIMIT = "resource_limit"
    """Killed for memory or CPU time."""
    CRASHED = "crashed"
    """The converter itself failed: our defect, retried and then a dead letter."""


class Refusal(Exception):
    """A document that cannot be converted, with the outcome and one sentence for a person.

    Raised before any record: the document is refused. Raised after some: what came before stays,
    and the document is marked with this outcome.
    """

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes to convert and what is known about them from outside."""

    content: BinaryIO
    """Open for reading and seekable, at offset 0."""
    sha256: str
    size_bytes: int
    name: str
    """The name it came under; never trusted for its type."""
    received_at: datetime
    """When we received it, with time zone."""
    source: str = ""
    url: str = ""
    """Where on the web the bytes were found; empty for files."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What the place that linked to it said of it, by the names of the source file."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the document a value stands."""

    page: int | None = None
    """Counted from 1."""
    box: tuple[float, float, float, float] | None = None
    """(left, top, right, bottom) in points of 1/72 inch of the un-rotated page, origin at its top left."""
    item: int | None = None
    """For documents without pages: index of the item, from 0."""


@dataclass(frozen=True, slots=True)
class Record:
    """One fact of a dataset."""

    dataset: str
    key: str
    """Identity within the dataset, from the content alone: the same fact gets the same key in every document.

    Where the dataset has `same_fact`, this is the base key, which the store completes.
    """
    data: Mapping[str, Any]
    """JSON values that fit the dataset's model."""
    position: Position = field(default_factory=Position)
    valid_from: datetime | None = None
    """The source's own time for this fact, with time zone; None takes the document's (see `Described`)."""
    parent: tuple[str, str] | None = None
    """(dataset, key) of a record yielded earlier from this document; this record's key is under its key."""
    raw: str = ""
    """The text as printed, for lineage and review."""
    quality: float = 1.0
    """0 (unusable) to 1, by the dataset's documented formula."""


class Rejection(StrEnum):
    """Why a row was not accepted; converters may use their own words besides these."""

    UNREADABLE = "unreadable"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that looked like a record and could not become one. Never dropped silently."""

    reason: str
    """A short slug that can be counted, for instance `no_price`."""
    detail: str
    raw: str
    position: Position = field(default_factory=Position)


@dataclass(frozen=True, slots=True)
class Accounting:
    """The rows of one page (or of a whole document without pages): seen = accepted + rejected + ignored."""

    page: int | None
    seen: int
    accepted: int
    rejected: int
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Rows that are rightly not records, by kind, for instance {"other_sport": 12}."""

    def balanced(self) -> bool:
        return self.seen == self.accepted + self.rejected + sum(self.ignored.values())


@dataclass(frozen=True, slots=True)
class Described:
    """What the document says about itself. Yielded at most once, before the first record."""

    valid_from: datetime | None = None
    """Its own time (issue date, export date), with time zone; None means the time we received it."""
    pages: int | None = None
    title: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the conversion is, and what a person should know about the document."""

    done: int = 0
    total: int | None = None
    warning: str = ""
    """One sentence, recorded with the document, for instance "repaired: cross-reference table was missing"."""


Item = Record | Rejected | Accounting | Described | Progress


@runtime_checkable
class Converter(Protocol):
    """Bytes and options in, items out. Pure: no network, no files, no clock, no state between documents.

    The same bytes and options give the same items in the same order, always: a conversion that is
    killed is repeated and its first items are skipped.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    """Changes whenever the same bytes may give other items."""
    api_version: ClassVar[int]
    datasets: ClassVar[tuple[str, ...]]
    """The datasets its records belong to; `("*",)` when the options decide."""

    def options_error(self, options: Options) -> str | None:
        """What is wrong with these options, as a sentence that names key and valid values; None if nothing."""

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        """Yield the items of a document as they are found, within constant memory for large ones.

        Raises Refusal for a document that cannot be converted; any other exception is our defect.
        """
