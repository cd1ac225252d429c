"""The `tidemill` command. Modules of commands are light to import: what they need is imported when they run."""

from importlib import import_module

import typer

MODULES = (
    "up",
    "run_service",
    "migrate",
    "status",
    "doctor",
    "config",
    "convert",
    "archive",
    "records",
    "export",
    "teams",
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


def main() -> None:
    app()
