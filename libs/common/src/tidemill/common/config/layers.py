"""Values with their origins, one layer over the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.common.config.errors import DEFAULT, Origin

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Layer:
    """A tree of plain values, and for each path in it where it was written."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    """For values read from a text (environment, `--set`): the text, for settings that want it as it is."""

    def put(self, path: Path, value: Any, text: str, origin: Origin) -> None:
        """Set one value, making the mappings on the way there."""
        tree: dict[str, Any] = {}
        inner = tree
        for part in path[:-1]:
            inner[str(part)] = inner = {}
        inner[str(path[-1])] = value
        self.overlay(Layer(tree, {path: origin}, {path: text}))

    def overlay(self, upper: "Layer") -> None:
        """Take the values of another layer over mine: mappings are merged key by key, everything else replaced."""
        self._merge(self.data, upper.data, ())
        self.origins.update(upper.origins)
        self.texts.update(upper.texts)

    def _merge(self, lower: dict[str, Any], upper: Mapping[str, Any], path: Path) -> None:
        for key, value in upper.items():
            here = (*path, key)
            if isinstance(value, dict) and isinstance(lower.get(key), dict):
                self._merge(lower[key], value, here)
            else:
                self._forget(here)
                lower[key] = value

    def _forget(self, path: Path) -> None:
        for notes in (self.origins, self.texts):
            for known in [known for known in notes if known[: len(path)] == path]:
                del notes[known]

    def origin(self, path: Path) -> Origin:
        """Where the value at this path was written, or what it is part of."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return DEFAULT

    def holds(self, path: Path) -> bool:
        """Whether something was written at this path."""
        inner: Any = self.data
        for part in path:
            try:
                inner = inner[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def replace(self, path: Path, value: Any) -> None:
        """Put another value where there is one."""
        inner: Any = self.data
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value
