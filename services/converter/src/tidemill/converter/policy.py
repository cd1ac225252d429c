"""Decides what may be converted, how the end of a worker process is to be read, and when one is replaced. Pure."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from tidemill.plugin.conversion import Outcome, Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one document may cost."""

    memory_bytes: int = 256_000_000
    """Of the whole worker process."""
    cpu: timedelta = timedelta(seconds=60)
    time: timedelta = timedelta(seconds=120)
    """Spent waiting for the worker; the time in which it waits for us does not count."""
    pages: int | None = 200
    size_bytes: int = 1_000_000_000


def refusal_at_sight(size_bytes: int, limits: Limits) -> Refusal | None:
    """Why no parser is started at all. Whether the bytes are what a converter takes is for the converter to say."""
    if size_bytes == 0:
        return Refusal(Outcome.EMPTY, "The file is empty.")
    if size_bytes > limits.size_bytes:
        return Refusal(Outcome.TOO_LARGE, f"The file has {size_bytes:,} bytes; the limit is {limits.size_bytes:,}.")
    return None


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker process ended in the middle of a document."""

    status: int
    """As of subprocess: the exit status, or minus the signal."""
    ended_by_us: Literal["memory", "time"] | None
    peak_memory_bytes: int
    last_words: str = ""
    """The end of what it wrote to standard error."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The converter, or a library under it, failed: another attempt, then a dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Loss:
    """Somebody else ended the worker; the document has nothing to do with it."""

    reason: str


_ABORTS = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP})
"""How native libraries end when they are refused memory, and also when they are broken."""


def read_death(death: Death, limits: Limits) -> Refusal | Crash | Loss:
    """Tell a document that is too expensive from a defect, and both from an operator's kill."""
    if death.ended_by_us == "memory":
        return _limit(f"Needed more than {limits.memory_bytes / 1e6:.0f} MB of memory.")
    if death.ended_by_us == "time":
        return _limit(f"Took longer than {limits.time.total_seconds():g} s.")
    if death.status == -signal.SIGXCPU:
        return _limit(f"Used more than {limits.cpu.total_seconds():g} s of CPU time.")
    if -death.status in _ABORTS and death.peak_memory_bytes >= limits.memory_bytes:
        return _limit(f"Was refused more memory after {death.peak_memory_bytes / 1e6:.0f} MB.")
    if death.status in (-signal.SIGKILL, -signal.SIGTERM):
        return Loss(f"The worker was ended from outside ({signal.Signals(-death.status).name}).")
    how = signal.Signals(-death.status).name if death.status < 0 else f"exit status {death.status}"
    return Crash(f"The converter crashed: {how}. {death.last_words}".strip())


def _limit(reason: str) -> Refusal:
    return Refusal(Outcome.RESOURCE_LIMIT, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """When a worker process has done enough."""

    documents: int = 2_000
    memory_bytes: int = 192_000_000
    """Resident after a document, when everything of it should be gone."""

    def replace(self, documents: int, memory_bytes: int) -> bool:
        return documents >= self.documents or memory_bytes > self.memory_bytes


def unusable(description: Mapping[str, Any], reference: str, api_version: int) -> str | None:
    """Why a converter cannot be used, as a sentence; None if it can."""
    if description["api_version"] != api_version:
        return (
            f"{reference} is written for version {description['api_version']} of the converter interface; "
            f"this is version {api_version}"
        )
    error = description["options_error"]
    return None if error is None else f"options of {description['name']}: {error}"
