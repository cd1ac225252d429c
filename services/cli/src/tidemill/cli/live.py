"""The live line of `tidemill up`: one that is redrawn on a terminal, a new one for each change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from tidemill.common.telemetry.metrics import (
    CONTROL_HELD,
    DEAD_LETTERS,
    DOCUMENTS,
    FILES,
    OUTBOX_UNSENT,
    RECORDS,
    RETRIES_WAITING,
    Metric,
)

PLAIN_EVERY_SECONDS = 10.0
TAKEN = ("converted", "incomplete")
"""Outcomes of documents that gave records; every other is a refusal."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Documents and records of this run; what waits at this moment."""

    documents: int
    records: int
    refused: int
    queue: int
    dead_letters: int
    retries: int = 0
    held_by: tuple[str, ...] = ()
    """Keys of the control bucket."""

    def __str__(self) -> str:
        """What is held comes first: a short line loses its end."""
        parts = [
            f"documents {self.documents:,}",
            f"records {self.records:,}",
            f"refused {self.refused:,}",
            f"queue {self.queue:,}",
            f"dead letters {self.dead_letters:,}",
        ]
        if self.held_by:
            parts.insert(0, f"{self.retries + self.queue:,} waiting")
            parts.insert(0, f"{holding(self.held_by)} by {', '.join(self.held_by)}")
        elif self.retries:
            parts.insert(-1, f"to be tried again {self.retries:,}")
        return " · ".join(parts)


def holding(keys: Sequence[str]) -> str:
    """What they do to the work."""
    return "stopped" if any(key.startswith("stop.") for key in keys) else "paused"


def numbers(waiting: int) -> Numbers:
    """From the metrics of this process, and what waits in the streams."""
    return Numbers(
        documents=total(DOCUMENTS) + total(FILES, only=("refused",)),
        records=total(RECORDS, unless=("unchanged",)),
        refused=total(DOCUMENTS, unless=TAKEN) + total(FILES, only=("refused",)),
        queue=waiting + total(OUTBOX_UNSENT),
        dead_letters=total(DEAD_LETTERS),
        retries=total(RETRIES_WAITING),
        held_by=tuple(sorted({sample.labels["key"] for sample in samples(CONTROL_HELD) if sample.value})),
    )


def total(metric: Metric[Any], *, only: Collection[str] = (), unless: Collection[str] = ()) -> int:
    """The sum over all labels; of samples that have one of the label values `only`, and none of `unless`."""
    return int(
        sum(
            sample.value
            for sample in samples(metric)
            if (not only or not set(only).isdisjoint(sample.labels.values()))
            and set(unless).isdisjoint(sample.labels.values())
        )
    )


def samples(metric: Metric[Any]) -> Iterator[Any]:
    for family in metric.family.collect():
        yield from (sample for sample in family.samples if not sample.name.endswith("_created"))


@dataclass
class Screen:
    """Lines for people, with the live one always last."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _live: str = ""
    _told_at: float = float("-inf")

    def say(self, text: str) -> None:
        self._write(f"\r\x1b[K{text}\n{self._live}" if self._live and self.stream.isatty() else f"{text}\n")

    def show(self, live: str, now: float) -> None:
        """Redraw the live line; where nobody can redraw, print it when it changed, not too often."""
        if live == self._live:
            return
        if self.stream.isatty():
            self._live = live
            self._write(f"\r\x1b[K{live}")
        elif now - self._told_at >= PLAIN_EVERY_SECONDS:
            self._live = live
            self._told_at = now
            self._write(f"{live}\n")

    def end(self) -> None:
        """Leave the live line where it is; what follows begins below it."""
        if self._live and self.stream.isatty():
            self._write("\n")
        self._live = ""

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # The terminal is gone: the work goes on until we are told to stop.
            self.stream.write(text)
            self.stream.flush()
