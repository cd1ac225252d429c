"""The dataset of JSON documents for which nobody has written a model: `json.item`."""

from pydantic import BaseModel, ConfigDict

from tidemill.plugin import Dataset

NAME = "json.item"


class Item(BaseModel):
    """Whatever the item says. A source that deserves columns brings a dataset of its own."""

    model_config = ConfigDict(frozen=True, extra="allow")


ITEM = Dataset(NAME, Item, title="Items of JSON documents; keys start with the source")
