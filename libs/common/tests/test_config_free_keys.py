"""Sections below keys that the user chooses are explained as well as others."""

import pytest
from pydantic import BaseModel, ConfigDict

from tidemill.common.config.errors import ConfigError
from tidemill.common.config.layers import Layer
from tidemill.common.config.validate import validated


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    by_name: dict[str, Inner]


def test_a_wrong_key_below_a_free_one_is_told_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError) as told:
        validated(Outer, Layer({"by_name": {"anything": {"sise": 1}}}))
    assert "by_name.anything.sise: unknown key; did you mean size? Valid keys: size" in str(told.value)
