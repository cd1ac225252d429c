"""`tidemill config`: what is set, where it comes from, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli import config_versions
from tidemill.cli.running import Assignments, Output, OutputOption, fail, read_config
from tidemill.cli.tables import width_here

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tidemill.common.config import Config, Origin, Problem, Sources
    from tidemill.common.config.sources import OptionsError

CONVERTERS = "tidemill.converters"


class SchemaOf(StrEnum):
    SETTINGS = "settings"
    SOURCE = "source"


def register(app: typer.Typer) -> None:
    config = typer.Typer(help="What is set, where it comes from, and what is wrong with it.", no_args_is_help=True)
    config.command()(show)
    config.command()(check)
    config.command()(schema)
    config.command()(reference)
    config_versions.register(config)
    app.add_typer(config, name="config")


def show(
    key: Annotated[str, typer.Argument(help="A setting or section, for instance log or sources.demo.watch.")] = "",
    version: Annotated[
        int | None, typer.Option(min=0, help="The files of this kept version; 0: of the active one.")
    ] = None,
    versions: Annotated[bool, typer.Option("--versions", help="Which version each replica works by.")] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Every setting of this folder with its value and origin, passwords masked; or what is kept of versions."""
    from tidemill.common.config import ConfigError, load_sources

    if versions:
        config_versions.show_versions(output, assignments)
        return
    if version is not None:
        config_versions.show_version(version, output, assignments)
        return
    config = read_config(assignments, services=True)
    try:
        sources = load_sources(config.common.sources_dir, config.common.data_dir)
    except ConfigError as error:
        fail(str(error))
    rows = {name: row for name, row in _rows(config, sources).items() if _within(name, key)}
    if not rows:
        fail(_no_such_key(key, _rows(config, sources)))
    if output is Output.JSON:
        document = {name: {"value": value, "origin": str(origin)} for name, (value, origin) in rows.items()}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    texts = {name: _cell(value) for name, (value, _) in rows.items()}
    key_width, text_width = max(map(len, rows)), min(60, max(map(len, texts.values())))
    origins = {name: str(origin) for name, (_, origin) in rows.items()}
    if key_width + text_width + max(map(len, origins.values())) + 4 > width_here():
        for name, origin in origins.items():
            typer.echo(f"{name}: {texts[name]}" + (f"  ({origin})" if origin != "default" else ""))
        return
    for name, origin in origins.items():
        typer.echo(f"{name:<{key_width}}  {texts[name]:<{text_width}}  {origin}")


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with tidemill.yaml and sources/.")] = Path(),
    assignments: Assignments = None,
) -> None:
    """Read tidemill.yaml, environment and source files, and say all that is wrong with them, in this environment and in
    every one that has overlays. Starts nothing."""
    from tidemill.common.config import ConfigError, parse_assignments
    from tidemill.common.config.content import SETTINGS, SOURCES, chosen_environment, environments, files_in

    if not folder.is_dir():
        fail(f"{folder} is no folder")
    problems: dict[Problem, None] = {}
    sources: Sources | None = None
    converters = installed_converters()
    try:
        assigned = parse_assignments(assignments or ())
        chosen = chosen_environment()
        names = [file.name for file in (*files_in(folder, SETTINGS), *files_in(folder / "sources", SOURCES))]
        for environment in (chosen, *sorted(environments(names) - {chosen})):
            found, wrong = _judged(folder, assigned, environment, converters)
            sources = sources or found
            problems |= dict.fromkeys(wrong)
    except ConfigError as error:
        problems |= dict.fromkeys(error.problems)
    if problems or sources is None:
        fail("\n".join(["the configuration cannot be used:", *map(str, problems)]))
    typer.echo(f"all is well: {_listed('source', sources)}; {_listed('converter', converters)} installed")


def _judged(
    folder: Path, assigned: Mapping[str, str], environment: str, converters: Mapping[str, OptionsError]
) -> tuple[Sources | None, list[Problem]]:
    """The sources in an environment, and all that is wrong with settings and sources there."""
    from tidemill.common.config import ConfigError, load_config, load_sources
    from tidemill.common.config.content import ENVIRONMENT

    problems: list[Problem] = []
    sources_dir, data_dir = folder / "sources", folder / "data"
    environ = {**os.environ, ENVIRONMENT: environment}
    try:
        common = load_config(folder, services=service_models(), cli=assigned, environ=environ).common
        sources_dir, data_dir = common.sources_dir, common.data_dir
    except ConfigError as error:
        problems += error.problems
    try:
        return load_sources(sources_dir, data_dir, converters=converters, environment=environment), problems
    except ConfigError as error:
        return None, problems + list(error.problems)


def schema(
    of: Annotated[SchemaOf, typer.Argument(help="settings: of tidemill.yaml; source: of a source file.")],
) -> None:
    """The JSON Schema by which an editor completes and checks a file."""
    from tidemill.common.config import settings_model
    from tidemill.common.config.reference import settings_schema, source_schema

    document = source_schema() if of is SchemaOf.SOURCE else settings_schema(settings_model(service_models()))
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def reference() -> None:
    """All settings with their defaults and meaning, as Markdown."""
    from tidemill.common.config import settings_model
    from tidemill.common.config.reference import reference as page

    typer.echo(page(settings_model(service_models())), nl=False)


def installed_converters() -> dict[str, OptionsError]:
    """Name to its judgement of options. A converter is imported when it is asked, not before."""
    return {point.name: _options_error(point) for point in entry_points(group=CONVERTERS)}


def _options_error(point: EntryPoint) -> OptionsError:
    def judge(options: Mapping[str, Any]) -> str | None:
        try:
            error: str | None = point.load()().options_error(options)
        except Exception as failure:  # noqa: BLE001 - somebody else's code, whose failure is what we tell
            return f"the converter {point.name} ({point.value}) does not work: {failure!r}"
        return error

    return judge


def service_models() -> dict[str, type[BaseModel]]:
    from tidemill.common.service import find_services

    return {spec.name: spec.settings for spec in find_services()}


def _rows(config: Config, sources: Sources) -> dict[str, tuple[Any, Origin]]:
    """Key to (printable value, origin), for the settings and then for every source file."""
    from tidemill.common.config.errors import DEFAULT, dotted
    from tidemill.common.config.layers import leaves

    rows = {dotted(path): (value, config.origins[dotted(path)]) for path, value in leaves(config.common)}
    for name, source in sources.items():
        origins = sources.origins[name]
        for path, value in leaves(source):
            rows[f"sources.{name}.{dotted(path)}"] = (value, origins.get(dotted(path), DEFAULT))
    return rows


def _within(name: str, key: str) -> bool:
    return not key or name == key or name.startswith(f"{key}.")


def _no_such_key(key: str, rows: Mapping[str, object]) -> str:
    import difflib

    near = difflib.get_close_matches(key, rows, n=3)
    return f"there is no setting {key}; " + (
        f"did you mean {', '.join(near)}?" if near else "tidemill config show lists all of them"
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _listed(word: str, names: Mapping[str, object]) -> str:
    """`2 sources (a, b)`, `1 source (a)`, `no sources`."""
    if not names:
        return f"no {word}s"
    return f"{len(names)} {word}{'' if len(names) == 1 else 's'} ({', '.join(sorted(names))})"
