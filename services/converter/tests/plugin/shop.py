"""A third domain, as somebody else would write it: a dataset of prices, and converters in `misbehaving`."""

from pydantic import BaseModel, ConfigDict

from tidemill.plugin import Dataset


class Price(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    amount: float
    currency: str = "EUR"
    in_stock: bool | None = None


PRICE = Dataset("shop.price", Price, title="Prices")
