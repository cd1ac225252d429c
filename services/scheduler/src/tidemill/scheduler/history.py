"""Pure: a run beside the usual ones of its source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

COMPARED = ("items", "new", "changed", "unchanged", "failed", "requests", "bytes", "duration_seconds", "cpu_seconds")
LEAST_RUNS = 3
"""Of fewer there is no telling what is usual."""
FAR = 2.0
"""So many times as much, or as little, is worth a word."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of a run, and the middle one of earlier runs."""

    value: float
    usual: float

    @property
    def remark(self) -> str:
        """Why it is worth a look; empty when it is not."""
        if self.usual == 0:
            return "" if self.value == 0 else "usually none"
        ratio = self.value / self.usual
        if ratio >= FAR:
            return f"{ratio:.1f} times the usual"
        return f"{ratio:.0%} of the usual" if ratio <= 1 / FAR else ""


def compare(run: Mapping[str, float], earlier: Sequence[Mapping[str, float]]) -> dict[str, Compared]:
    """By figure; empty where too few earlier runs are known. `earlier` are runs of the same source that ended by
    themselves."""
    if len(earlier) < LEAST_RUNS:
        return {}
    return {name: Compared(run[name], median(one[name] for one in earlier)) for name in COMPARED}
