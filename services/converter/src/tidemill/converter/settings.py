"""What an operator may change about the converter; read by main alone."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tidemill.common.config.politeness import Politeness
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import ByteSize


class GeocoderSettings(Settings):
    """An HTTP geocoder for addresses that the imported ones do not know. Each is asked once, and the answer kept; what
    comes of it is marked with `point_from` = `geocoder`. Read its terms before you use one."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]*\{address\}[^\s]*$")] | None = None
    """Where `{address}` stands for the address in one line. Without it nobody is asked."""
    latitude: str = "0.lat"
    """Where the answer, which is JSON, says it: names and places of lists, with dots between."""
    longitude: str = "0.lon"
    """As for `latitude`."""
    precision: Literal["building", "number", "street", "postcode", "city", "unknown"] = "unknown"
    """What its points stand for."""
    attribution: str = ""
    """Whose data the answers are."""
    a_day: Annotated[int, Field(ge=1)] = 500
    """Questions in a day (UTC), of all replicas together."""
    politeness: Politeness = Politeness()
    """How it is asked."""


class ConverterSettings(Settings):
    """The converter. Which converter takes what, with which limits, belongs to the source files."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Documents converted at the same time, each in a process of its own; 0 is one for each CPU that
    can be had, and no more than memory has room for."""
    document_memory: ByteSize | None = None
    """What a document may take at most, whatever its source allows; unless it is said, an equal share of what this
    process may have."""
    spare_workers: Annotated[int, Field(ge=0, le=16)] = 1
    """Processes kept ready beyond those at work."""
    recycle_after: Annotated[int, Field(ge=1)] = 2_000
    """Documents after which a worker process is replaced."""
    recycle_above: ByteSize = 192_000_000
    """Memory that a worker may keep after a document; above it is replaced."""
    max_size: ByteSize = 1_000_000_000
    """Larger documents are refused as too_large."""
    geocoder: GeocoderSettings = GeocoderSettings()
