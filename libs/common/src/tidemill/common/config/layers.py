"""Values with their origins, one layer over the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tidemill.common.config.errors import DEFAULT, Origin, dotted
from tidemill.common.config.secrets import printable

Path = tuple[str | int, ...]
T = TypeVar("T")


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
        origins = {path[:length]: origin for length in range(1, len(path) + 1)}
        self.overlay(Layer(tree, origins, {path: text}))

    def overlay(self, upper: "Layer") -> None:
        """Take the values of another layer over mine: mappings are merged key by key, everything else replaced."""
        if () in upper.origins:
            self.origins.setdefault((), upper.origins[()])
        self._merge(self.data, upper.data, (), upper)

    def _merge(self, mine: dict[str, Any], theirs: Mapping[str, Any], path: Path, upper: "Layer") -> None:
        for key, value in theirs.items():
            here = (*path, key)
            if isinstance(value, dict) and isinstance(mine.get(key), dict):
                self._merge(mine[key], value, here, upper)
            else:
                mine[key] = value
                self.origins = _replaced(self.origins, upper.origins, here)
                self.texts = _replaced(self.texts, upper.texts, here)

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


def _replaced(mine: dict[Path, T], theirs: dict[Path, T], path: Path) -> dict[Path, T]:
    """My notes, with theirs about this path and everything below it in place of mine."""
    kept = {known: note for known, note in mine.items() if known[: len(path)] != path}
    return kept | {known: note for known, note in theirs.items() if known[: len(path)] == path}


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
