"""What follows from a record and from other data: the interface of an enricher.

A record stays what its document says. What follows from reference data (where an address is, which building stands
there, how good the whole is) is kept beside it, joined by the typed views, and made anew when the other data change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pydantic import BaseModel

References = Mapping[str, Sequence[Path]]
"""Files by kind, in the forms of `tidemill.plugin.reference`; a kind that nobody imported is missing."""


@dataclass(frozen=True, slots=True)
class Located:
    """What a geocoder answered to an enrichment's question."""

    latitude: float
    """Degrees, WGS 84."""
    longitude: float
    precision: str = ""
    """As the geocoder says it; empty where it says nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A record to enrich."""

    record: Any
    """An instance of the dataset's model."""
    at: datetime
    """When this was first stated, with time zone: what depends on time (an age) is worked out for then, so that doing
    it again gives the same."""
    located: Located | None = None
    """The answer to `question` of this record, where one was asked."""


class Enrichment(Protocol):
    """An enricher with its reference data. Pure, and used by one thread at a time."""

    def enrich(self, subjects: Sequence[Subject]) -> Sequence[Mapping[str, Any] | None]:
        """For each subject JSON values that fit the enricher's model, or None where nothing follows.

        The answer for one depends on no other in the batch.
        """

    def question(self, record: Any) -> str:
        """An address in one line that a geocoder could tell more about than the reference data; empty: none. Asked only
        where the operator allows it."""


@runtime_checkable
class Enricher(Protocol):
    """Found by the entry point group `tidemill.enrichers` under its name."""

    name: ClassVar[str]
    """Lower case letters, digits and underscores."""
    version: ClassVar[str]
    """Changes whenever the same record and reference data may give another answer: all are then made anew."""
    api_version: ClassVar[int]
    dataset: ClassVar[str]
    model: ClassVar["type[BaseModel]"]
    """Its fields are columns of the dataset's typed views. One called `quality` takes the place of the record's; one
    called like a field of the record gets the enricher's name before it."""
    references: ClassVar[tuple[str, ...]]
    """Kinds of reference data that it reads."""

    def open(self, references: References) -> Enrichment:
        """Read the files, which stay as they are and where they are while the answer is used."""
