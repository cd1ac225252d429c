"""Base of the rule models."""

from functools import lru_cache
from typing import Annotated, Any

import regex
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from tidemill.extract.errors import InvalidRule

Json = Any
"""None, bool, int, float, str, list of Json or dict of str to Json."""


class Model(BaseModel):
    """Strict and frozen. The docstring under a key is its description in the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@lru_cache(maxsize=4096)
def pattern_of(text: str) -> "regex.Pattern[str]":
    """The compiled regular expression. Raises InvalidRule."""
    try:
        return regex.compile(text)
    except (regex.error, OverflowError, RecursionError) as error:
        raise InvalidRule(f"{text} is no regular expression: {error}") from error


def _is_pattern(text: str) -> str:
    pattern_of(text)
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Pattern = Annotated[Text, AfterValidator(_is_pattern)]
"""A regular expression of the module `regex`: what `re` takes, and more."""
