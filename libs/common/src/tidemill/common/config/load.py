"""Defaults, file, environment, command line: each over the one before it."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, Field, create_model

from tidemill.common.config.channels import Channel
from tidemill.common.config.content import ENVIRONMENT, FILE, SETTINGS, Content, Files, chosen_environment, is_settings
from tidemill.common.config.errors import ConfigError, Origin, Problem, dotted
from tidemill.common.config.layers import Layer
from tidemill.common.config.references import IDENTITY
from tidemill.common.config.settings import CommonSettings
from tidemill.common.config.validate import validated
from tidemill.common.config.yamlfile import parse_value

PREFIX = "TIDEMILL_"
TESTS = "TIDEMILL_TEST_"
"""Variables of tests, which are no settings."""
NO_SETTINGS = (ENVIRONMENT, IDENTITY)
SERVICES = "tidemill.services"
"""Entry point group: a service's name, which is its section, and its ServiceSpec."""
PLAIN = ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL")
"""Environment variables that are understood without the prefix; with it they win."""


@runtime_checkable
class NamesChannels(Protocol):
    """A section of a service whose settings name channels."""

    def unmet(self, channels: Mapping[str, Channel]) -> Mapping[tuple[str | int, ...], str]:
        """What of it no channel can do: a sentence by the path within the section."""
        ...


@dataclass(frozen=True)
class Config:
    """Everything that is set, checked."""

    folder: Path
    """Where `tidemill.yaml` is or would be; relative folders start here."""
    common: CommonSettings
    """With absolute folders."""
    services: Mapping[str, BaseModel]
    origins: Mapping[str, Origin]
    """Where each setting comes from, by dotted key."""
    environment: str = ""
    """Whose overlays are laid over the files."""
    given: Mapping[str, str] = field(default_factory=dict)
    """What the command line set."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """All variables of the process, as they were when this was read."""

    def service(self, name: str) -> Any:
        """The section of a service, as its own model."""
        return self.services[name]


def load_config(
    folder: Path,
    *,
    services: Mapping[str, type[BaseModel]],
    cli: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    content: Content | None = None,
) -> Config:
    """Read, merge and check everything. Raises ConfigError with all that is wrong.

    Sections of installed services that are not among `services` are left to them. `content` takes the place of the
    files in the folder.
    """
    folder = folder.resolve()
    environ = dict(os.environ) if environ is None else environ
    environment = chosen_environment(environ)
    layer = Layer()
    found: list[Problem] = []
    layers: tuple[Callable[[], Layer], ...] = (
        lambda: _file_layer(folder, content, environment),
        lambda: _environment_layer(environ),
        lambda: _command_layer(cli or {}),
    )
    for read in layers:
        try:
            layer.overlay(read())
        except ConfigError as error:
            found += error.problems
    for name in installed_services() - services.keys():
        layer.data.pop(name, None)
    try:
        model = settings_model(services)
        for name in services:
            layer.data.setdefault(name, {})
        settings = validated(model, layer)
    except ConfigError as error:
        raise ConfigError([*found, *error.problems]) from None
    found += _unmet(settings, services, layer)
    if found:
        raise ConfigError(found)
    settings = settings.model_copy(
        update={"data_dir": folder / settings.data_dir, "sources_dir": folder / settings.sources_dir}
    )
    return Config(
        folder=folder,
        common=settings,
        services={name: getattr(settings, name) for name in services},
        origins=layer.setting_origins(settings),
        environment=environment,
        given=dict(cli or {}),
        environ=environ,
    )


def _unmet(settings: CommonSettings, services: Iterable[str], layer: Layer) -> list[Problem]:
    sections = {name: getattr(settings, name) for name in services}
    return [
        Problem(layer.origin((name, *path)), dotted((name, *path)), why)
        for name, section in sections.items()
        if isinstance(section, NamesChannels)
        for path, why in section.unmet(settings.channels).items()
    ]


def settings_model(services: Mapping[str, type[BaseModel]]) -> type[CommonSettings]:
    """The model of the whole `tidemill.yaml`: the common settings and one section per service."""
    sections: dict[str, Any] = {name: (model, Field(default_factory=model)) for name, model in services.items()}
    return create_model("TidemillYaml", __base__=CommonSettings, __doc__=CommonSettings.__doc__, **sections)


def installed_services() -> set[str]:
    return set(entry_points(group=SERVICES).names)


def parse_assignments(assignments: Sequence[str]) -> dict[str, str]:
    """`["log.level=debug"]` as a mapping. Raises ConfigError for one without `=`."""
    pairs = [assignment.partition("=") for assignment in assignments]
    wrong = [
        Problem(
            Origin("command line", key), "", "has no value; write --set key=value, for instance --set log.level=debug"
        )
        for key, equals, _ in pairs
        if not equals or not key.strip()
    ]
    if wrong:
        raise ConfigError(wrong)
    return {key.strip(): value for key, _, value in pairs}


def settings_files(folder: Path, content: Content | None) -> Files:
    """`tidemill.yaml` and its overlays."""
    if content is None:
        return Files.in_folder(folder, SETTINGS)
    return Files.of({name: text for name, text in content.items() if is_settings(name)})


def _file_layer(folder: Path, content: Content | None, environment: str) -> Layer:
    return settings_files(folder, content).read(FILE, environment)


def _environment_layer(environ: Mapping[str, str]) -> Layer:
    plain = {name: (name.lower(),) for name in PLAIN}
    prefixed = {
        name: tuple(name.removeprefix(PREFIX).lower().split("__"))
        for name in environ
        if name.startswith(PREFIX) and not name.startswith(TESTS) and name not in NO_SETTINGS
    }
    texts = {Origin("environment", name): (path, environ.get(name, "")) for name, path in {**plain, **prefixed}.items()}
    # An empty variable is an unset one: compose files and shells cannot say it otherwise.
    return _text_layer({origin: (path, text) for origin, (path, text) in texts.items() if text.strip()})


def _command_layer(values: Mapping[str, str]) -> Layer:
    return _text_layer({Origin("command line", key): (tuple(key.split(".")), text) for key, text in values.items()})


def _text_layer(texts: Mapping[Origin, tuple[tuple[str, ...], str]]) -> Layer:
    layer = Layer()
    found = []
    # A whole section comes before its keys, so that both may be given.
    for origin, (path, text) in sorted(texts.items(), key=lambda entry: len(entry[1][0])):
        try:
            text.encode()
            layer.put(path, parse_value(text), text, origin)
        except UnicodeEncodeError:
            found.append(Problem(origin, dotted(path), "is not UTF-8"))
        except ValueError as error:
            found.append(Problem(origin, dotted(path), str(error)))
    if found:
        raise ConfigError(found)
    return layer
