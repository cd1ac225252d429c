"""Printed names to entities: the interface of a name normaliser."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Method = Literal["exact", "alias", "register", "fuzzy", "new", "review"]
"""How a name was resolved: the same spelling is known; a user's alias; the shipped register; likeness with
threshold and margin; nothing like it is known, so it is an entity of its own; like several, so a person decides."""


@dataclass(frozen=True, slots=True)
class KnownName:
    """A name whose entity is known: an alias that a user set, or a name seen before."""

    raw: str
    scope: str
    """Empty for an alias that holds in every scope the vocabulary's guards allow."""
    entity: str
    name: str
    """The entity's own name."""
    kind: str
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entity that a name might stand for, with the likeness (0 to 1) and what spoke against it."""

    entity: str
    name: str
    score: float
    refused_by: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer for one name. `entity` is always set: an unresolved name is an entity of its own until reviewed."""

    raw: str
    scope: str
    entity: str
    name: str
    kind: str
    confidence: float
    method: Method
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()
    """Near misses, best first; for method `review` the ones a person chooses among."""


class Resolver(Protocol):
    """Resolves names against what is known. Not thread-safe."""

    def resolve(self, raw: str, scope: str) -> Resolution:
        """The entity of a printed name. Pure: changes nothing; see `learn`."""

    def known(self, raw: str, scope: str) -> Resolution | None:
        """The answer where a look-up in a dictionary is enough; None where likeness would have to be computed."""

    def learn(self, resolution: Resolution) -> None:
        """Make the entity of a name with method `new` or `review` known for the names that follow."""


class Vocabulary(Protocol):
    """A kind of entity that documents name in many spellings. Entry point group `tidemill.vocabularies`."""

    name: str

    def open(self, known: Iterable[KnownName]) -> Resolver:
        """A resolver over the shipped register and these names; a user's alias wins over everything."""
