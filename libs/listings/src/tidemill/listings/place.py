"""Where a listing is, what stands there, and how good it is for that: what follows from addresses and buildings."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from tidemill.listings.listing import LISTING_NAME, Country, Latitude, Longitude, Precision
from tidemill.plugin import API_VERSION, References

if TYPE_CHECKING:
    from tidemill.listings.placing import Places


class Place(BaseModel):
    """What the views show of a listing beside its own fields. What is not known is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place_street: str | None = None
    """As the listing says it, read from the printed address where it has no field."""
    place_number: str | None = None
    place_postcode: str | None = None
    place_city: str | None = None
    place_country: Country | None = None

    point_latitude: Latitude | None = None
    """The point to use: the portal's, unless it has a flaw; else what the address gives."""
    point_longitude: Longitude | None = None
    point_from: Literal["portal", "addresses", "geocoder"] | None = None
    point_precision: Precision | None = None
    point_within_m: float | None = None
    """How far the addresses that a geocoded point stands for are at most."""
    point_reason: str | None = None
    """Why it is no finer."""
    flaw: Literal["missing", "zero", "swapped", "outside", "centroid"] | None = None
    """Of the portal's own point, see `tidemill.listings.verdict`."""

    footprint: Literal["inside", "near", "none", "implausible"] | None = None
    """How the point stands to the buildings; None where it is no house's, or no buildings are known around."""
    building: str | None = None
    """Id of the building that it is in or near."""
    building_m: float | None = None
    own_address: bool | None = None
    """Whether one of the building's addresses is the listing's."""

    quality: float
    """With what is said here, in the place of the record's own."""
    quality_parts: dict[str, float]
    remarks: tuple[str, ...] = ()


class PlaceEnricher:
    """Listings, by tables of addresses and building footprints."""

    name: ClassVar[str] = "place"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = API_VERSION
    dataset: ClassVar[str] = LISTING_NAME
    model: ClassVar[type[BaseModel]] = Place
    references: ClassVar[tuple[str, ...]] = ("addresses", "buildings")

    def open(self, references: References) -> "Places":
        """About 30 bytes per address, 1.5 kB per building."""
        from tidemill.listings.placing import open_places  # numpy and shapely, for those who place.

        return open_places(references)
