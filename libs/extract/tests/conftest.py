"""Rules as a source file has them: strictly, from JSON."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import yaml

from tidemill.extract import PageRules, SearchRules
from tidemill.extract.model import Model

M = TypeVar("M", bound=Model)


def read(model: type[M], written: str) -> M:
    return model.model_validate_json(json.dumps(yaml.safe_load(written)), strict=True)


@pytest.fixture(scope="session")
def page_rules() -> Callable[[str], PageRules]:
    return lambda written: read(PageRules, written)


@pytest.fixture(scope="session")
def search_rules() -> Callable[[str], SearchRules]:
    return lambda written: read(SearchRules, written)


@pytest.fixture(scope="session")
def problem() -> Callable[[type[Model], Any], str]:
    """What is said about rules that cannot be."""

    def said(model: type[Model], written: Any) -> str:
        with pytest.raises(ValueError) as told:
            read(model, json.dumps(written))
        return str(told.value)

    return said
