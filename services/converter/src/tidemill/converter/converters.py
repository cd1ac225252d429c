"""The converters that are installed, by name. They are imported by worker processes alone."""

from collections.abc import Mapping
from importlib.metadata import entry_points

Converters = Mapping[str, str]
"""Name to `module:attribute`."""


def find_converters() -> Converters:
    """Of the entry point group `tidemill.converters`."""
    return {point.name: point.value for point in sorted(entry_points(group="tidemill.converters"))}
