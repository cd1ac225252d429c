"""What is measured of every run and day, and how it is judged; what domains add comes from their datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill.plugin import Dataset, Figure
from tidemill.reporter.anomalies import Kind

if TYPE_CHECKING:
    from tidemill.reporter.table import ValueType  # The model of reports comes with the first report.


@dataclass(frozen=True, slots=True)
class Measure:
    name: str
    title: str
    kind: Kind
    type: "ValueType" = "integer"
    unit: str = ""
    least: float = 0.0
    """Smaller differences are nothing unusual."""
    only_more: bool = False
    """Less of it is no trouble."""


OF_RUNS: Sequence[Measure] = (
    Measure("items", "Items", "count"),
    Measure("new", "New", "count"),
    Measure("changed", "Changed", "count"),
    Measure("unchanged", "Unchanged", "count"),
    Measure("gone", "Gone", "count", only_more=True),
    Measure("reappeared", "Back again", "count", only_more=True),
    Measure("skipped", "Skipped", "count", only_more=True),
    Measure("failed", "Failed", "count", only_more=True),
    Measure("records", "Records stated", "count"),
    Measure("rejected", "Rejected rows", "count", only_more=True),
    Measure("quarantined", "Records held back", "count", only_more=True),
    Measure("requests", "Requests", "count", only_more=True),
    Measure("bytes", "Received", "level", "bytes", least=100_000),
    Measure("duration_seconds", "Duration", "level", "duration", least=5, only_more=True),
    Measure("cpu_seconds", "CPU time", "level", "duration", least=2, only_more=True),
    Measure("peak_memory_bytes", "Peak memory", "level", "bytes", least=50_000_000, only_more=True),
)
"""Of a day they are the sums over its runs, but for the memory: the most."""

QUALITY = Measure("quality", "Mean quality", "share", "percent")
"""Of each dataset, like the figures that it wants measured."""

KINDS: "Mapping[str, tuple[Kind, ValueType]]" = {
    "count": ("count", "integer"),
    "distinct": ("count", "integer"),
    "share": ("share", "percent"),
}


def of_figure(dataset: str, figure: Figure) -> Measure:
    kind, type = KINDS.get(figure.aggregate, ("level", "decimal"))
    return Measure(f"{dataset}.{figure.name}", figure.title, kind, type, figure.unit)


def of_dataset(dataset: Dataset) -> list[Measure]:
    """The number of its records, their quality, and the figures that it wants measured."""
    title = dataset.title or dataset.name
    return [
        Measure(f"{dataset.name}.records", f"{title}: records", "count"),
        Measure(f"{dataset.name}.{QUALITY.name}", f"{title}: mean quality", QUALITY.kind, QUALITY.type),
        *(of_figure(dataset.name, figure) for figure in dataset.report.figures if figure.measured),
    ]


def catalogue(datasets: Sequence[Dataset]) -> dict[str, Measure]:
    """Every measure there is, by name."""
    known = [*OF_RUNS, *(measure for dataset in datasets for measure in of_dataset(dataset))]
    return {measure.name: measure for measure in known}
