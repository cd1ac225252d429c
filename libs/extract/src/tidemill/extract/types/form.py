"""How values are written on a page."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """What a text alone does not say."""

    locale: str = "auto"
    """`fi`, `de-CH` …; `auto` takes only what means the same everywhere; `plain` is how programs write."""
    currency: str | None = None
    """Of amounts without one, ISO 4217."""
    unit: str | None = None
    """Of sizes without one: `m2`, `sqft`, `a`, `ha`."""
    order: str | None = None
    """Of dates `dmy`, `mdy` or `ymd`; of coordinates `lat-lon` or `lon-lat`."""
    box: tuple[float, float, float, float] | None = None
    """Where places lie: south, west, north, east, in degrees."""
    from_program: bool = False
    """Structured data, in which a text such as `1250.5` is plain, whatever the locale of the page."""
