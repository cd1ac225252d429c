"""What a domain wants reported of its records: what they are broken down by, figures, and values that move."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Aggregate = Literal["count", "distinct", "per", "sum", "mean", "median", "least", "most", "share"]
"""How the values of a group of records become one figure. A NULL never counts.

count     records that have a value
distinct  different values
per       records for each different value: of the key of the match, markets per match
share     of records with a value (a condition), those for which it holds: 0 to 1
"""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Records are grouped by this, in a table of the report."""

    name: str
    """Lower case, unique within the dataset; the label of time series."""
    title: str
    sql: str
    """A text, over the columns of the typed view."""
    parent: str = ""
    """Dataset of the records under whose keys these stand: `sql` is then over the columns of its view."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number for each group of records."""

    name: str
    """Lower case, unique within the dataset; the name of its time series."""
    title: str
    sql: str
    """A value for each record, over the columns of the typed view; NULL for records that it does not concern."""
    aggregate: Aggregate
    unit: str = ""
    """As people write it, for instance `EUR/m²`."""
    measured: bool = False
    """Kept for each run and day, in all and by the first breakdown; what is unusual in it is an anomaly."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A number of a record of which it is told how it moved from one version to the next."""

    name: str
    title: str
    sql: str
    """Over the columns of the typed view; NULL where there is nothing to compare."""
    unit: str = ""


Counted = Mapping[str, Mapping[str, int]]
"""By group, the counts of the columns of a tally."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A table of counts that a function makes, where SQL does not reach: of the records that a day changed, each with
    those that stand under it. What it says of each is added up."""

    name: str
    title: str
    group: str
    """Title of the first column."""
    columns: Mapping[str, str]
    """Titles of the counts, by name."""
    children: str
    """Dataset of the records under these; they come in the order of print."""
    count: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], Counted]
    """(fields of the record, fields of each child) -> what it adds. Pure."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """All of it, for one dataset. Without any, its records are counted by source."""

    breakdowns: Sequence[Breakdown] = ()
    """The first is the one of the time series."""
    figures: Sequence[Figure] = ()
    movements: Sequence[Movement] = ()
    tallies: Sequence[Tally] = ()
