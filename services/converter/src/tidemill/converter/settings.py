"""What an operator may change about the converter; read by main alone."""

from typing import Annotated

from pydantic import Field

from tidemill.common.config.settings import Settings
from tidemill.common.config.units import ByteSize


class ConverterSettings(Settings):
    """The converter. Which converter takes what, with which limits, belongs to the source files."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Documents converted at the same time, each in a process of its own; 0 is one for each CPU."""
    spare_workers: Annotated[int, Field(ge=0, le=16)] = 1
    """Processes kept ready beyond those at work."""
    recycle_after: Annotated[int, Field(ge=1)] = 200
    """Documents after which a worker process is replaced."""
    recycle_above: ByteSize = 192_000_000
    """Memory that a worker may keep after a document; above it is replaced."""
    max_size: ByteSize = 1_000_000_000
    """Larger documents are refused as too_large."""
