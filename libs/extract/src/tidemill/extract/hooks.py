"""Rules in Python, for what YAML does not reach: functions of installed packages, found by entry point."""

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from tidemill.extract.errors import InvalidRule, RuleFailed
from tidemill.extract.model import Json

if TYPE_CHECKING:
    from tidemill.extract.page import Part

GROUP = "tidemill.rules"
Hook = Callable[["Part"], "list[Json]"]
"""Pure: a page, or one item of it, to what it finds there, texts or values of JSON; empty where there is nothing. An
exception is told as a problem of the field, and the next rule is tried."""


class HookFailed(RuleFailed):
    """A rule in Python raised something: the rule, the kind of the error and its text."""


@lru_cache(maxsize=256)
def hook_of(name: str) -> Hook:
    """The installed function of this name. Raises InvalidRule."""
    found: Hook = _point(name).load()
    if not callable(found):
        raise InvalidRule(f"{_point(name).value} is no function")
    return found


@lru_cache(maxsize=256)
def hook_version(name: str) -> str:
    """`package-1.2:name`: another version of the package may find something else. Raises InvalidRule."""
    distribution = _point(name).dist
    package = f"{distribution.name}-{distribution.version}" if distribution else "?"
    return f"{package}:{name}"


def run_hook(name: str, part: "Part") -> "list[Json]":
    """What the function finds. Raises HookFailed, whatever it raises."""
    try:
        return list(hook_of(name)(part))
    except Exception as error:
        raise HookFailed(f"{type(error).__name__}: {error}") from error


def _point(name: str) -> EntryPoint:
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise InvalidRule(
            f"no installed package brings a rule {name} (entry points {GROUP}); "
            f"installed: {', '.join(sorted(points)) or 'none'}"
        )
    return points[name]
