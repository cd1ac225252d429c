"""The live line of `tidemill up`: one that is redrawn on a terminal, a new one for each change elsewhere."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from tidemill.common.telemetry.metrics import DEAD_LETTERS, DOCUMENTS, OUTBOX_UNSENT, RECORDS, Metric

PLAIN_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Numbers:
    """Documents and records of this run; what waits at this moment."""

    documents: int
    records: int
    queue: int
    dead_letters: int

    def __str__(self) -> str:
        return (
            f"documents {self.documents:,} · records {self.records:,} · queue {self.queue:,} · "
            f"dead letters {self.dead_letters:,}"
        )


def numbers(waiting: int) -> Numbers:
    """From the metrics of this process, and what waits in the streams."""
    return Numbers(
        documents=total(DOCUMENTS),
        records=total(RECORDS, unless="unchanged"),
        queue=waiting + total(OUTBOX_UNSENT),
        dead_letters=total(DEAD_LETTERS),
    )


def total(metric: Metric[Any], unless: str = "") -> int:
    """The sum over all labels; without samples that have the label value `unless`."""
    samples = (sample for family in metric.family.collect() for sample in family.samples)
    return int(
        sum(
            sample.value
            for sample in samples
            if not sample.name.endswith("_created") and (not unless or unless not in sample.labels.values())
        )
    )


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
