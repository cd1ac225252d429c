"""Values with their origins, one layer over the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tidemill.common.config.errors import DEFAULT, Origin, dotted
from tidemill.common.config.secrets import printable

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

    def setting_origins(self, model: BaseModel) -> dict[str, Origin]:
        """Where each setting of a validated model comes from, by dotted key."""
        return {dotted(path): self.origin(path) if self.holds(path) else DEFAULT for path, _ in leaves(model)}

    def replace(self, path: Path, value: Any) -> None:
        """Put another value where there is one."""
        inner: Any = self.data
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value


def leaves(model: BaseModel, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The settings of a model with their paths, sections unfolded; secrets are masked, units in written form."""
    shown = printable(model)
    for name, declared in type(model).model_fields.items():
        value = getattr(model, name)
        here = (*path, key_of(name, declared))
        if isinstance(value, BaseModel):
            yield from leaves(value, here)
        else:
            yield here, shown[name]


def key_of(name: str, field: FieldInfo) -> str:
    """What a field is called in the file: `with` cannot be a name in Python."""
    return field.alias or name
