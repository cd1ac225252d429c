"""YAML with positions: mappings, lists, text, JSON's numbers, true, false and null, and nothing else.

`no`, `on`, `1:30`, `2025-07-18` and `007` are text here. Tags are refused, anchors may be used but not
to blow a file up.
"""

import copy
import errno
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from tidemill.common.config.errors import ConfigError, Origin, Problem, dotted
from tidemill.common.config.layers import Layer, Path

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DIGITS = 40
_DEPTH = 50
_NODES = 100_000


def read_yaml(file: FilePath, name: str) -> Layer:
    """The mapping in a file; `name` is what messages call it. Raises ConfigError."""
    try:
        content = bytes_of(file)
    except OSError as error:
        raise ConfigError([Problem(Origin("file", name), "", f"cannot be read: {error.strerror}")]) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(Origin("file", name, line), "", "is not UTF-8; save the file as UTF-8")]) from error
    return parse_yaml(text, name)


def bytes_of(file: FilePath) -> bytes:
    """What a file holds. Raises OSError, also for a pipe or a device, which might be read for ever."""
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise OSError(errno.EINVAL, "Is a pipe or a device, not a file", str(file))
    return file.read_bytes()


def parse_yaml(text: str, name: str) -> Layer:
    """The mapping that a YAML text states, with the place of each key. Raises ConfigError."""
    reading = _Reading(name)
    reading.layer.origins[()] = Origin("file", name)  # Of a file that holds nothing.
    try:
        reading.read(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(error, text, name)]) from None  # Its text may quote a secret.
    if reading.problems:
        raise ConfigError(reading.problems)
    return reading.layer


def parse_value(text: str) -> Any:
    """The value of a text from the environment or the command line; what is no JSON-like value stays text.

    ValueError where a list or mapping is begun and broken.
    """
    text = text.strip()
    if text[:1] in ("[", "{", '"', "'"):
        try:
            return parse_yaml(f"value: {text}", "").data["value"]
        except ConfigError:
            if text[0] in "\"'":
                return text
            form = '["a", "b"]' if text[0] == "[" else '{"key": "value"}'
            raise ValueError(f"is not a valid {'list' if text[0] == '[' else 'mapping'}; write {form}") from None
    return _scalar(text)


def _scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return json.loads(text) if len(text) <= _DIGITS and _NUMBER.fullmatch(text) else text


def _syntax(error: yaml.YAMLError, text: str, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
        return Problem(Origin("file", name, line), "", f"is not YAML: {getattr(error, 'reason', error)}")
    lines = text.split("\n")
    before = lines[mark.line][: mark.column + 1] if mark.line < len(lines) else ""
    said = getattr(error, "problem", None) or "something is missing here"
    if "\t" in before and not before.strip():
        said = "a tab indents this line; YAML wants spaces"
    elif "could not find expected ':'" in said:
        said = "a ':' is missing, on this line or the one before it"
    return Problem(Origin("file", name, mark.line + 1, mark.column + 1), "", f"is not YAML: {said}")


class _Stop(Exception):
    """Nothing after this can be understood."""


@dataclass
class _Reading:
    """Events to values. A key that is wrong is noted and skipped; what breaks the rest ends the reading."""

    name: str
    layer: Layer = field(default_factory=Layer)
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str | None, tuple[Any, int]] = field(default_factory=dict)
    nodes: int = 0

    def read(self, events: Iterator[Any]) -> None:
        documents = 0
        try:
            for event in events:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._stop(event, (), "holds a second document after `---`; put it into a file of its own")
                elif isinstance(event, yaml.NodeEvent):
                    self._root(event, events)
        except _Stop:
            return

    def _root(self, event: Any, events: Iterator[Any]) -> None:
        self.layer.origins[()] = self._origin(event)
        value = self._node(event, events, ())
        if value is not None and not isinstance(value, dict):
            self._stop(event, (), "must hold keys and values, one `key: value` a line")
        self.layer.data = value or {}

    def _node(self, event: Any, events: Iterator[Any], path: Path) -> Any:
        before = self.nodes
        self._count(event, path, 1)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self._stop(event, path, f"*{event.anchor} is used before &{event.anchor} is complete")
            value, size = self.anchors[event.anchor]
            self._count(event, path, size)
            return copy.deepcopy(value)
        if event.tag is not None and event.tag != "!":
            self._stop(event, path, f"the tag {event.tag} is not supported; remove it")
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event.value) if event.style in (None, "") and event.tag is None else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(events, path)
        else:
            value = self._mapping(events, path)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def _sequence(self, events: Iterator[Any], path: Path) -> list[Any]:
        items: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*path, len(items))
            self.layer.origins[here] = self._origin(event)
            items.append(self._node(event, events, here))
        return items

    def _mapping(self, events: Iterator[Any], path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, path, "a key must be a word")
            key = event.value
            if key == "<<" and event.style in (None, ""):
                self._stop(event, path, "the merge key << is not supported; write the keys out")
            here = (*path, key)
            if key in values:
                first = self.layer.origins[here].line
                self._problem(event, here, f"is there twice, on line {first} too; keep one")
                self._node(next(events), events, here)
                continue
            self.layer.origins[here] = self._origin(event)
            values[key] = self._node(next(events), events, here)
        return values

    def _count(self, event: Any, path: Path, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > _NODES:
            self._stop(event, path, f"holds more than {_NODES:,} values, repeated aliases included")
        if len(path) > _DEPTH:
            self._stop(event, path[:3], f"is nested more than {_DEPTH} levels deep")

    def _origin(self, event: Any) -> Origin:
        return Origin("file", self.name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _problem(self, event: Any, path: Path, message: str) -> None:
        self.problems.append(Problem(self._origin(event), dotted(path), message))

    def _stop(self, event: Any, path: Path, message: str) -> None:
        self._problem(event, path, message)
        raise _Stop
