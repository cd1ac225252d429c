"""The files of a configuration as one thing, wherever they are kept: `tidemill.yaml`, source files, overlays."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tidemill.common.config.errors import ConfigError, Origin, Problem
from tidemill.common.config.layers import Layer
from tidemill.common.config.yamlfile import bytes_of, parse_yaml, read_yaml

FILE = "tidemill.yaml"
ENVIRONMENT = "TIDEMILL_ENV"
"""Environment variable: which overlays are laid over the files, for instance `production`."""

SOURCES = "*.y*ml"
"""Glob of source files, their overlays, and those that are nearly named so."""

Content = Mapping[str, str]
"""Texts by name: `tidemill.yaml`, `tidemill.production.yaml`, `sources/demo.yaml`, …"""

SETTINGS = "tidemill.*yaml"
"""Glob of the file and its overlays."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SETTINGS_FILE = re.compile(rf"tidemill(\.{_NAME.pattern})?\.yaml")
_FORM = "lower-case letters, digits and dashes, for instance production"


def files_in(folder: Path, pattern: str) -> list[Path]:
    """In order of their names, without the hidden ones that editors make."""
    return sorted(file for file in folder.glob(pattern) if not file.name.startswith("."))


def digest(content: Content) -> str:
    """The same for the same files, whatever their order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def chosen_environment(environ: Mapping[str, str] | None = None) -> str:
    """What TIDEMILL_ENV says; empty when it says nothing. Raises ConfigError."""
    name = (os.environ if environ is None else environ).get(ENVIRONMENT, "").strip()
    if name and not _NAME.fullmatch(name):
        raise ConfigError([Problem(Origin("environment", ENVIRONMENT), "", f"is {name!r}; an environment is {_FORM}")])
    return name


def environments(names: Iterable[str]) -> set[str]:
    """Those that some of these files is an overlay for."""
    return {parts[1] for parts in map(_parts, names) if len(parts) == 3 and _NAME.fullmatch(parts[1])}


def strays(content: Content) -> Iterator[Problem]:
    """Files that are no part of a configuration, wherever they came from."""
    folders = {name.rpartition("/")[0] for name in content if not is_settings(name)}
    for name in sorted(content):
        if is_settings(name) and not _SETTINGS_FILE.fullmatch(name):
            why = f"is no file of a configuration: that is {FILE}, tidemill.<environment>.yaml, and sources/<name>.yaml"
            yield Problem(Origin("file", name), "", why)
        elif len(folders) > 1 and not is_settings(name):
            yield Problem(
                Origin("file", name),
                "",
                f"lies beside others: source files are in one folder, not in {', '.join(sorted(folders))}",
            )


class Files:
    """Files that can be read one by one, each into a layer with its origins; the overlay is found beside the file."""

    def __init__(self, readers: Mapping[str, Callable[[], Layer]]) -> None:
        self._readers = readers

    @classmethod
    def in_folder(cls, folder: Path, pattern: str, prefix: str = "") -> "Files":
        found = files_in(folder, pattern)
        return cls({f"{prefix}{file.name}": partial(read_yaml, file, f"{prefix}{file.name}") for file in found})

    @classmethod
    def of(cls, content: Content) -> "Files":
        return cls({name: partial(parse_yaml, text, name) for name, text in content.items()})

    def __iter__(self) -> Iterator[str]:
        """Names of files that are no overlays."""
        return (name for name in self._readers if _parts(name)[1:] == ["yaml"])

    def problems(self) -> Iterator[Problem]:
        """Files that nobody would read."""
        for name in self._readers:
            stem, *between, suffix = _parts(name)
            if suffix != "yaml":
                yield Problem(Origin("file", name), "", "is not read; name it .yaml")
            elif len(between) > 1 or (between and not _NAME.fullmatch(between[0])):
                yield Problem(Origin("file", name), "", f"is not read; an overlay is {stem}.<environment>.yaml")
            elif between and f"{stem}.yaml" not in self._readers:
                yield Problem(Origin("file", name), "", f"has nothing below it: there is no {stem}.yaml")

    def read(self, name: str, environment: str) -> Layer:
        """The file, and over it the one of the environment. Raises ConfigError."""
        layer = self._readers[name]() if name in self._readers else Layer()
        stem, suffix = name.rsplit(".", 1)
        overlay = f"{stem}.{environment}.{suffix}"
        if environment and overlay in self._readers:
            layer.overlay(self._readers[overlay]())
        return layer


def read_content(folder: Path, sources_dir: Path) -> dict[str, str]:
    """All files of a configuration. Raises ConfigError where one cannot be read as text."""
    found: dict[str, str] = {}
    wrong = []
    files = {file.name: file for file in files_in(folder, SETTINGS)}
    files |= {f"{sources_dir.name}/{file.name}": file for file in files_in(sources_dir, SOURCES)}
    for name, file in sorted(files.items()):
        try:
            found[name] = bytes_of(file).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
            wrong.append(Problem(Origin("file", name), "", why))
    if wrong:
        raise ConfigError(wrong)
    return found


def is_settings(name: str) -> bool:
    """Whether a file is `tidemill.yaml` or an overlay of it; all others are source files."""
    return "/" not in name


def _parts(name: str) -> list[str]:
    """`sources/demo.production.yaml` as `["sources/demo", "production", "yaml"]`."""
    folder, slash, file = name.rpartition("/")
    stem, *rest = file.split(".")
    return [f"{folder}{slash}{stem}", *rest]
