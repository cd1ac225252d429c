"""What must hold before a run may say what is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tidemill.common.bus.step import Tx
from tidemill.common.config.sources import SourceFile


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run has come to, before it says what is gone."""

    run: str
    source: str
    now: datetime
    seen: int
    """Targets that its searches listed."""
    known: int
    """Targets it decided about."""
    asked: int
    """Targets it asked for."""
    failed: int
    """Of those, how many it could not get."""
    fields: Mapping[str, int]
    """By field: on how many of the read pages it has a value."""
    read: int
    """Pages of targets that were read, and were what they should be."""


async def blocking(tx: Tx, source: SourceFile, facts: Facts) -> str | None:
    """Why nothing may be said to be gone; None where nothing speaks against it."""
    return None
