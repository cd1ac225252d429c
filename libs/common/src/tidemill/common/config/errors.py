"""What is wrong with the configuration, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. `name` is a file, an environment variable or the key of a `--set`."""

    kind: Literal["default", "file", "environment", "command line"]
    name: str = ""
    line: int | None = None
    """Counted from 1, as editors do; so is `column`."""
    column: int | None = None

    def __str__(self) -> str:
        """`default`, `tidemill.yaml:3`, `env NATS_URL`, `--set log.level`."""
        match self.kind:
            case "default":
                return "default"
            case "environment":
                return f"env {self.name}"
            case "command line":
                return f"--set {self.name}"
        return self.name if self.line is None else f"{self.name}:{self.line}"


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, which key, and a sentence that says what would be right."""

    origin: Origin
    key: str
    """Dotted, for instance `watch.priority[0].lane`; empty where the whole file is meant."""
    message: str

    @property
    def file(self) -> str:
        return self.origin.name if self.origin.kind == "file" else ""

    @property
    def line(self) -> int | None:
        return self.origin.line

    @property
    def column(self) -> int | None:
        return self.origin.column

    def __str__(self) -> str:
        """`tidemill.yaml:3:5: log.level: …`"""
        place = str(self.origin)
        if self.column is not None:
            place = f"{place}:{self.column}"
        key = "" if self.origin.kind == "command line" else self.key
        return ": ".join(part for part in (place, key, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. Tells everything that is wrong with it at once, one line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def dotted(path: Sequence[str | int]) -> str:
    """`("watch", "include", 0)` as `watch.include[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
