"""What a dataset is: the model of its records and how they live."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tidemill.plugin.enrichment import Enricher
from tidemill.plugin.reporting import Reporting

if TYPE_CHECKING:
    from pydantic import BaseModel  # 13 MB that a worker process does without


@dataclass(frozen=True, slots=True)
class NameField:
    """A printed name in a record that stands for an entity of a vocabulary.

    The typed views join it: a field `home_team` gives the columns `home_team_id`, `home_team_name`,
    `home_team_kind`, `home_team_confidence` and `home_team_method`. The record keeps the print.
    """

    vocabulary: str
    raw: str
    """Field of the model that holds the printed name."""
    scope: str
    """Field of the model that tells namesakes apart, for instance the league."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The records of one type. Registered under the entry point group `tidemill.datasets` by its name."""

    name: str
    """`domain.thing`, lower case; also schema and name of its SQL view."""
    model: "type[BaseModel]"
    """Frozen pydantic model of the data; its fields are the columns of the typed views."""
    title: str = ""
    disappears: Literal["never", "by_run"] = "never"
    """Whether a fact that a complete run did not see is gone."""
    same_fact: Callable[[Any, Any], bool] | None = None
    """(known, new) of the model, both under one base key: do they state the same thing at another time?

    Pure. Without it the key alone decides.
    """
    names: Mapping[str, NameField] = field(default_factory=dict)
    summary: Sequence[str] = ()
    """Columns of the typed view that tell a person most, the first the most: what a narrow table shows."""
    enrichers: Sequence[Enricher] = ()
    """Of whatever packages, by entry point: filled in where datasets are found, never where one is declared."""
    report: Reporting = field(default_factory=Reporting)
    """What reports say of its records, beside their number."""
