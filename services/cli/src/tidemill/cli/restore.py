"""`tidemill restore`: a backup, put into an empty place."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.backup import Name, identities
from tidemill.cli.running import Assignments, fail, program, read_config

if TYPE_CHECKING:
    from tidemill.cli.backups.layout import Folder, Manifest
    from tidemill.cli.backups.restore import Restored
    from tidemill.common.config import Config


def register(app: typer.Typer) -> None:
    app.command("restore")(restore)


def restore(
    where: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of backups.")],
    name: Name = "",
    keep_configuration: Annotated[
        bool, typer.Option("--keep-configuration", help="The files that are here stay, whatever the backup has.")
    ] = False,
    assignments: Assignments = None,
) -> None:
    """Put a backup into an empty place: the working folder, or the servers that are configured there. Exit status 1
    when part of it is damaged."""
    from tidemill.cli.backups.errors import BackupDamaged, BackupFailed, PlaceNotEmpty
    from tidemill.cli.backups.layout import Folder
    from tidemill.cli.backups.restore import different_files, read_configuration, write_configuration
    from tidemill.common.archive import ArchiveUnavailable
    from tidemill.common.bus.client import CommandFailed
    from tidemill.common.config import ConfigError
    from tidemill.common.config.references import UnresolvedReference
    from tidemill.common.servers import FolderNotOurs, ServerFailed

    begun = time.monotonic()
    folder = Folder(where)
    here = Path.cwd()
    try:
        manifest = folder.manifest(name)
        content = read_configuration(folder, manifest, identities)
        if not keep_configuration and (different := different_files(here, content)):
            fail(
                f"other files are here already: {', '.join(different)}. Restore into an empty folder, or keep what is "
                "here with --keep-configuration"
            )
        config = _config(assignments, content, here)
        done = asyncio.run(_restore(config, folder, manifest))
        write_configuration(here, content)
    except (ArchiveUnavailable, BackupDamaged, BackupFailed, CommandFailed, ConfigError) as error:
        fail(str(error))
    except (FolderNotOurs, PlaceNotEmpty, ServerFailed, UnresolvedReference, OSError) as error:
        fail(f"nothing was restored: {error}")
    typer.echo(
        f"restored {manifest.name} in {time.monotonic() - begun:.1f} s: everything that was committed at "
        f"{manifest.snapshot_at:%Y-%m-%d %H:%M:%S} UTC. Start it: {program()} up"
    )
    for each in done.damaged:
        typer.echo(f"not restored: {each}", err=True)
    if done.damaged:
        raise typer.Exit(1)


def _config(assignments: list[str] | None, content: dict[str, str], here: Path) -> Config:
    """By the files that are here, else by those of the backup. Raises ConfigError."""
    from tidemill.common.config import load_config, parse_assignments
    from tidemill.common.config.content import FILE

    if (here / FILE).exists():
        return read_config(assignments)
    return load_config(here, services={}, cli=parse_assignments(assignments or ()), content=content)


async def _restore(config: Config, folder: Folder, manifest: Manifest) -> Restored:
    from tidemill.cli.backups.restore import open_place, restore_into

    async with open_place(config.common) as place:
        return await restore_into(place, folder, manifest, identities, typer.echo)
