"""`tidemill init`: files to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.running import fail

SETTINGS = """\
# Settings of Tidemill. What is commented out is the default: take the first # of a line away to change it.
# `tidemill config check` says what is wrong; changes are taken while the services run.
# For one environment (TIDEMILL_ENV=production) write what differs into tidemill.production.yaml.
# Secrets are named, not written: ${env:NAME}, ${file:/path}, ${age:path}.
"""

SOURCE = """\
# One source: where data comes from, and what it becomes. The file is named for it.
# This one takes JSON files that are put into data/inbox/example. Its keys with their defaults are below.
# Files of a web site have `download` in place of `watch`; pages that are searched have `scrape`, and `extract` says
# what is on them: `tidemill source new` writes such a source, docs/configuration.md has all keys.
"""
OTHER_WAYS = ("download", "scrape", "extract")
"""Sections of sources that are not like the example."""

EXAMPLE: dict[str, Any] = {
    "source": "example",
    "title": "Readings of a tide gauge",
    "watch": {"folder": "inbox/example", "include": ["*.json"]},
    "convert": {
        "with": "json",
        "options": {
            "items": "readings.item",
            "key": ["station", "at"],
            "fields": {"station": "station", "at": {"path": "at", "type": "datetime"}, "level_cm": "level_cm"},
        },
    },
}


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if it is missing.")] = Path(),
) -> None:
    """Write a tidemill.yaml and an example source, with all keys, their meaning and defaults. Overwrites nothing."""
    from tidemill.cli.config import service_models
    from tidemill.common.config import settings_model
    from tidemill.common.config.reference import settings_schema, source_schema
    from tidemill.common.config.template import template

    settings = template(settings_schema(settings_model(service_models())), {})
    files = {
        folder / "tidemill.yaml": SETTINGS + settings,
        folder / "sources" / "example.yaml": SOURCE + template(_without(source_schema(), OTHER_WAYS), EXAMPLE),
    }
    try:
        for file, text in files.items():
            typer.echo(f"{'wrote' if _write(file, text) else 'kept '} {file}")
    except OSError as error:
        fail(f"cannot write there: {error}")


def _without(schema: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    properties = {name: entry for name, entry in schema["properties"].items() if name not in keys}
    return {**schema, "properties": properties}


def _write(file: Path, text: str) -> bool:
    """Whether it was not there yet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        return False
    return True
