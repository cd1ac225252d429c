"""What every section of the configuration is."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every section. The docstring under a field is its description in the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
