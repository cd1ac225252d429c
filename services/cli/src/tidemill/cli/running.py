"""How every command finds the configuration and the servers, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from tidemill.common.config import Config
    from tidemill.common.servers import Addresses
    from tidemill.common.service import ServiceSpec


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="table for people, json for programs.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Overrides a setting, for instance log.level=debug."),
]


def read_config(assignments: Sequence[str] | None = (), *, services: bool = False, only: Sequence[str] = ()) -> Config:
    """The configuration of the working folder; with the sections of all installed services (or `only` some), where they
    matter. What is wrong with it is told, and ends the command."""
    from tidemill.common.config import ConfigError, load_config, parse_assignments

    models = {spec.name: spec.settings for spec in services_named(only)} if services else {}
    try:
        return load_config(Path.cwd(), services=models, cli=parse_assignments(assignments or ()))
    except ConfigError as error:
        fail(str(error))


def services_named(names: Sequence[str] = ()) -> list[ServiceSpec]:
    """All installed services, or those named."""
    from tidemill.common.service import UnknownService, find_services

    try:
        return find_services(names)
    except UnknownService as unknown:
        fail(str(unknown))


def addresses(config: Config) -> Addresses:
    """Of NATS and Postgres: those configured, else those of `tidemill up` in this folder."""
    from tidemill.common.servers import Addresses, NothingRuns

    try:
        return Addresses.find(config.common)
    except NothingRuns as nothing:
        fail(
            f"{nothing}. One that runs with another folder is found with `--set data_dir=DIR` or TIDEMILL_DATA_DIR=DIR"
        )


def addresses_in_need(assignments: Sequence[str] | None) -> Addresses:
    """As `addresses`; a `tidemill.yaml` with mistakes is told and left out: a stop must not wait until it is mended."""
    from tidemill.common.config import ConfigError, load_config, parse_assignments

    try:
        return addresses(load_config(Path.cwd(), services={}, cli=parse_assignments(assignments or ())))
    except ConfigError as wrong:
        typer.echo(f"{wrong}\ngoing on without tidemill.yaml", err=True)
    try:
        return addresses(load_config(Path.cwd(), services={}, cli=parse_assignments(assignments or ()), content={}))
    except ConfigError as error:
        fail(str(error))


def program() -> str:
    """How a person calls us from the working folder: by name where the shell finds it, else by path."""
    import shlex
    import shutil
    import sysconfig

    ours = Path(sysconfig.get_path("scripts")) / "tidemill"
    found = shutil.which("tidemill")
    if not ours.exists() or (found and Path(found).samefile(ours)):
        return "tidemill"
    return shlex.quote(str(ours.relative_to(Path.cwd()) if ours.is_relative_to(Path.cwd()) else ours))


def copyable(text: str) -> str:
    """With the commands in it as this person can copy them."""
    return text.replace("`tidemill ", f"`{program()} ") if "`tidemill " in text else text


def fail(message: str, status: int = 1) -> NoReturn:
    """End the command with a sentence on stderr that says what to do."""
    from tidemill.common.config.secrets import masked

    typer.echo(f"tidemill: {copyable(masked(message))}", err=True)
    raise typer.Exit(status)
