"""What an operator may change about the scheduler; read by main alone."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tidemill.common.config.settings import Settings
from tidemill.common.config.units import ByteSize, Duration


class SchedulerSettings(Settings):
    """The scheduler. When a source is due and how its runs are limited belongs to the source files."""

    groups: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """How many runs of each concurrency group may be under way at the same time; sources name theirs in `run.group`."""
    disk_reserve: ByteSize = 1_000_000_000
    """Free space that `data_dir` must have before a run begins; below it runs wait. 0 asks nothing."""
    lease: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(days=7)
    """A run that nobody asked for (a file that came by itself) is timed out when so long nothing was heard of it."""
