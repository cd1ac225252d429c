"""What a listing holds."""

import datetime as dt
import hashlib
import re
import unicodedata
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tidemill.listings.reporting import LISTINGS
from tidemill.plugin import Dataset

LISTING_NAME = "listings.listing"

Country = Literal["FI", "DE", "AT", "CH", "LI"]
"""ISO 3166-1 codes of the countries whose addresses are understood."""

Status = Literal["active", "reserved", "sold", "removed"]
PriceKind = Literal["sale", "rent"]
Origin = Literal["portal", "geocoded"]
Precision = Literal["building", "number", "street", "postcode", "city", "unknown"]
"""What a point stands for, the finest first: a building or entrance, a number near it, the middle of a street, postcode
or city."""

Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Square = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class Listing(BaseModel):
    """One advertisement of one portal. What is not said is None; nothing is guessed."""

    model_config = ConfigDict(frozen=True)

    portal: str = Field(min_length=1)
    portal_id: str = Field(min_length=1)
    """The portal's own number of the advertisement."""
    url: str = Field(min_length=1)
    status: Status = "active"

    price_kind: PriceKind
    price: Money | None = None
    """What is asked: the sale price, or the rent per month, in `currency`."""
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    """ISO 4217."""
    debt_free_price: Money | None = None
    """With the flat's share of the housing company's loan (Finland: velaton hinta)."""
    monthly_charge: Money | None = None

    size_m2: Square | None = None
    """Living area."""
    plot_m2: Square | None = None
    rooms: float | None = Field(default=None, gt=0, le=200, multiple_of=0.5)
    """Without kitchen, in the Swiss way with halves."""
    layout: str | None = None
    """As printed, for instance `2h + kk + kph`."""
    floor: int | None = Field(default=None, ge=-10, le=300)
    """0 is the ground floor where the country counts so; as the portal counts."""
    floors: int | None = Field(default=None, ge=0, le=300)
    year_built: int | None = Field(default=None, ge=1000, le=2200)
    type: str | None = None
    condition: str | None = None
    energy_class: str | None = None

    address: str | None = None
    """As printed."""
    street: str | None = None
    number: str | None = None
    """House number with range and letter, in the form of `tidemill.listings.address`."""
    stair: str | None = None
    flat: str | None = None
    postcode: str | None = None
    city: str | None = None
    district: str | None = None
    country: Country | None = None

    latitude: Latitude | None = None
    """Degrees, WGS 84."""
    longitude: Longitude | None = None
    coordinates_from: Origin | None = None
    precision: Precision | None = None

    agent: str | None = None
    company: str | None = None
    published: AwareDatetime | None = None
    title: str | None = None
    description_hash: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of `hash_description`: tells whether the text changed, without keeping it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude come together")
        if self.price is not None and self.currency is None:
            raise ValueError("a price needs its currency")
        return self

    @property
    def key(self) -> str:
        """Identity within the dataset."""
        return listing_key(self.portal, self.portal_id)

    @property
    def whole_price(self) -> float | None:
        """What the home costs its buyer, or the rent per month: the debt-free price where there is one."""
        return self.debt_free_price if self.debt_free_price is not None else self.price

    @property
    def price_per_m2(self) -> float | None:
        """Of the whole price, in the listing's currency per m² (and month, for a rent)."""
        whole = self.whole_price
        return None if whole is None or self.size_m2 is None else whole / self.size_m2

    @property
    def point(self) -> tuple[float, float] | None:
        """(latitude, longitude) in degrees."""
        return None if self.latitude is None or self.longitude is None else (self.latitude, self.longitude)


def listing_key(portal: str, portal_id: str) -> str:
    """`portal/id`: the same advertisement gets the same key whatever its page says."""
    return f"{portal}/{portal_id}"


def hash_description(text: str) -> str:
    """SHA-256 in hex of a description, the same whatever its case, white space and Unicode form."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return hashlib.sha256(re.sub(r"\s+", " ", plain).strip().encode()).hexdigest()


def age_days(listing: Listing, now: dt.datetime) -> float | None:
    """Days since it was published; negative if that lies ahead. `now` has a time zone."""
    return None if listing.published is None else (now - listing.published) / dt.timedelta(days=1)


LISTING = Dataset(
    LISTING_NAME,
    Listing,
    title="Property listings",
    disappears="by_run",
    summary=("city", "street", "number", "price", "currency", "size_m2", "rooms", "year_built", "status"),
    report=LISTINGS,
)
