"""What a check of points against building footprints may find."""

from enum import StrEnum


class Verdict(StrEnum):
    """How a point stands to the buildings."""

    INSIDE = "inside"
    """Within a footprint, its edge included."""
    NEAR = "near"
    NONE = "none"
    IMPLAUSIBLE = "implausible"
    """No statement about a building, see `Flaw`."""


class Flaw(StrEnum):
    """Why a point cannot be the place of a home."""

    SOUND = ""
    MISSING = "missing"
    """No number, or not on Earth."""
    ZERO = "zero"
    """0, 0: a portal's way to say nothing."""
    SWAPPED = "swapped"
    """Outside the city's box, but within it with latitude and longitude exchanged."""
    OUTSIDE = "outside"
    """Outside the city's box."""
    CENTROID = "centroid"
    """The middle of a city or postcode: known as such, or shared by many addresses."""
