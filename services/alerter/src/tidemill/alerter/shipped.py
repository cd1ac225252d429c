"""The rules that ship, from the YAML file beside this one."""

from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import BaseModel

from tidemill.alerter.rules import Rule
from tidemill.common.config.layers import Layer
from tidemill.common.config.validate import validated
from tidemill.common.config.yamlfile import parse_yaml

M = TypeVar("M", bound=BaseModel)

FILE = "rules.yaml"


@cache
def _read() -> dict[str, Any]:
    text = files("tidemill.alerter").joinpath(FILE).read_text(encoding="utf-8")
    return parse_yaml(text, FILE).data


@cache
def shipped_rules() -> dict[str, Rule]:
    return _models(Rule, "rules")


@cache
def shipped_inhibitions(model: type[M]) -> dict[str, M]:
    return _models(model, "inhibit")


def _models(model: type[M], section: str) -> dict[str, M]:
    return {name: validated(model, Layer(data)) for name, data in _read()[section].items()}
