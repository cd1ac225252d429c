"""The `tidemill` command. Modules of commands are light to import: what they need is imported when they run."""

import errno
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

MODULES = (
    "up",
    "run_service",
    "migrate",
    "upgrade",
    "nats_config",
    "streams",
    "database_roles",
    "status",
    "doctor",
    "config",
    "convert",
    "archive",
    "documents",
    "records",
    "export",
    "teams",
    "listings",
    "geo",
    "reconvert",
    "quarantine",
    "governance",
    "lineage",
    "report",
    "demo",
    "retention",
    "backup",
    "restore",
    "dead_letters",
    "run",
    "runs",
    "targets",
    "schedules",
    "backfill",
    "control",
    "why",
    "audit",
    "alerts",
    "init",
    "source",
    "validate",
)

app = typer.Typer(
    name="tidemill",
    help="Unattended data collection, from documents to versioned records.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help comes in half the time.
)
for module in MODULES:
    import_module(f"tidemill.cli.{module}").register(app)


def show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tidemill {version('tidemill-cli')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """What stands before a command."""


def write_out(*, told: bool) -> None:
    """What is still buffered. Python would do it after us, and print an exception; what fails twice is told once."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not told and not isinstance(error, BrokenPipeError):
            raise


def main() -> None:
    try:
        try:
            app()
        except SystemExit as end:
            write_out(told=bool(end.code))
            raise
    except OSError as refused:  # A disk that is full, a folder of another user.
        write_out(told=True)
        if refused.errno not in (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        place = f": {refused.filename}" if refused.filename else ""
        typer.echo(f"tidemill: {refused.strerror}{place}", err=True)
        sys.exit(1)
    except Exception as error:
        from tidemill.common.config.references import UnresolvedReference

        if not isinstance(error, UnresolvedReference):
            raise
        typer.echo(f"tidemill: {error}", err=True)
        sys.exit(1)
