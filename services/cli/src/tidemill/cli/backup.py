"""`tidemill backup`: everything that cannot be collected again, copied while everything runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from tidemill.cli.backups.layout import Folder, Manifest
    from tidemill.common.config import Config

Where = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="Folder of backups; without it the setting backup.folder.")
]
Name = Annotated[str, typer.Option("--name", help="This backup, as `backup list` shows it, instead of the newest.")]


class _TakesByItself(TyperGroup):
    """`tidemill backup DIR` is `tidemill backup take DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--show-completion"):
            args = ["take", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    backup = typer.Typer(
        help="Copy everything that cannot be collected again: `tidemill backup DIR`.",
        no_args_is_help=True,
        cls=_TakesByItself,
    )
    backup.command()(take)
    backup.command()(verify)
    backup.command("list")(list_)
    app.add_typer(backup, name="backup")


def take(
    where: Where = None,
    encrypt_to: Annotated[
        list[str] | None,
        typer.Option(metavar="AGE1…", help="Who may read it; may be given more than once. Else backup.recipients."),
    ] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="From a timer: told of when it stays away, old ones are removed.")
    ] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Copy database, streams, archive and configuration, while everything runs. Of the archive only what is new. Exit
    status 1 when something is missing in it."""
    from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
    from tidemill.cli.backups.sealed import Seal
    from tidemill.cli.backups.take import take_backup
    from tidemill.common.archive import ArchiveUnavailable
    from tidemill.common.bus.client import CommandFailed
    from tidemill.common.config import ConfigError

    config = read_config(assignments)
    folder = _folder(where, config)
    begun = datetime.now(UTC)
    silent = output is Output.JSON

    async def work() -> Manifest:
        seal = Seal(encrypt_to or config.common.backup.recipients)
        found = addresses(config)
        return await take_backup(config, found, folder, seal, _nothing if silent else typer.echo)

    try:
        manifest = asyncio.run(work())
    except (ArchiveUnavailable, BackupFailed, CommandFailed, ConfigError, OSError, ValueError) as error:
        _tell(config, folder, begun, scheduled, problem=str(error))
        fail(f"no backup was made: {error}")
    _tell(config, folder, begun, scheduled, manifest=manifest)
    try:
        removed = folder.prune(config.common.backup.keep, datetime.now(UTC)) if scheduled else []
    except (BackupDamaged, BackupFailed) as error:
        fail(f"{manifest.name} was made, but older ones cannot be removed: {error}")
    if silent:
        typer.echo(json.dumps({**_described(manifest), "folder": str(folder.path), "removed": removed}))
    else:
        typer.echo(f"{folder.path / manifest.name}: {_size(manifest.contents.new_bytes + _bytes(manifest))} written")
        for name in removed:
            typer.echo(f"removed {name}, which is older than {config.common.backup.keep.days} days")
    for problem in manifest.problems:
        typer.echo(f"not in it: {problem}", err=True)
    if manifest.problems:
        raise typer.Exit(1)


def verify(
    where: Where = None,
    name: Name = "",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Also restore it into servers made for that, and compare.")
    ] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Read a backup: every file is there, is what was written, and is enough for a restore. Exit status 1 if not."""
    from tidemill.cli.backups import check
    from tidemill.cli.backups.errors import BackupDamaged

    folder = _folder(where, read_config(assignments))
    try:
        manifest = folder.manifest(name)
        wrong = [*check.missing_parts(manifest), *check.damaged_files(folder, manifest)]
        wrong += check.damaged_contents(folder, manifest)
        looked = not manifest.recipients or has_key()
        if looked and not wrong:
            wrong += check.missing_tables(folder, manifest, identities)
        if rehearse and not wrong:
            wrong += asyncio.run(_rehearse(folder, manifest))
    except BackupDamaged as damaged:
        fail(str(damaged))
    if output is Output.JSON:
        typer.echo(json.dumps({**_described(manifest), "wrong": wrong}))
    else:
        for each in wrong:
            typer.echo(each, err=True)
        typer.echo(f"{manifest.name}: {_said(manifest)}, {len(wrong)} damaged" if wrong else _good(manifest, rehearse))
        if not looked:
            typer.echo("it is encrypted: what is inside was not looked at, for which TIDEMILL_AGE_IDENTITY is needed")
    if wrong or manifest.problems:
        raise typer.Exit(1)


def list_(where: Where = None, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """The backups in a folder, the oldest first."""
    from tidemill.cli.backups.errors import BackupDamaged

    folder = _folder(where, read_config(assignments))
    try:
        manifests = [folder.manifest(name) for name in folder.names()]
    except BackupDamaged as damaged:
        fail(str(damaged))
    if output is Output.JSON:
        typer.echo(json.dumps([_described(each) for each in manifests], indent=1))
        return
    if not manifests:
        typer.echo(f"no backup in {folder.path}")
        return
    columns = [Column("name", whole=True), Column("database at (UTC)"), Column("rows", right=True)]
    columns += [Column("messages", right=True), Column("contents", right=True), Column("seconds", right=True)]
    rows = [
        [
            each.name,
            f"{each.snapshot_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            str(sum(each.tables.values())),
            str(sum(one.messages for one in each.streams.values())),
            str(each.contents.count),
            f"{each.seconds:.1f}",
            f"{'encrypted' if each.recipients else ''}{' damaged' if each.problems else ''}",
        ]
        for each in manifests
    ]
    print_table([*columns, Column("notes")], rows)


def identities() -> Iterator[object]:
    """The age keys of this process; an unencrypted backup needs none."""
    from tidemill.common.config.references import UnresolvedReference
    from tidemill.common.config.references import identities as keys

    with suppress(UnresolvedReference):
        yield from keys("the backup")


def has_key() -> bool:
    return any(True for _ in identities())


async def _rehearse(folder: Folder, manifest: Manifest) -> Sequence[str]:
    """What a restore into a place of its own complains about."""
    from tempfile import TemporaryDirectory

    from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
    from tidemill.cli.backups.restore import open_place, restore_into
    from tidemill.common.config import CommonSettings

    with TemporaryDirectory(prefix="tidemill-rehearsal-") as where:
        try:
            async with open_place(CommonSettings(data_dir=Path(where) / "data")) as place:
                return (await restore_into(place, folder, manifest, identities, _nothing)).damaged
        except (BackupDamaged, BackupFailed) as error:
            return [str(error)]


def _folder(where: Path | None, config: Config) -> Folder:
    from tidemill.cli.backups.layout import Folder

    chosen = where or config.common.backup.folder
    if chosen is None:
        fail("say where: `tidemill backup DIR`, or set backup.folder in tidemill.yaml")
    return Folder(config.folder / chosen)


def _tell(
    config: Config,
    folder: Folder,
    begun: datetime,
    scheduled: bool,
    *,
    manifest: Manifest | None = None,
    problem: str = "",
) -> None:
    """The scheduler, which notes it; a backup is none the worse where none runs."""
    from tidemill.cli.asking import SCHEDULER, actor
    from tidemill.cli.backups.layout import name_of
    from tidemill.common.bus.client import CommandFailed, open_client, request_command
    from tidemill.common.config.secrets import masked
    from tidemill.common.servers import Addresses, NothingRuns

    said: dict[str, Any] = {
        "folder": str(folder.path),
        "name": manifest.name if manifest else name_of(begun),
        "began_at": (manifest.began_at if manifest else begun).isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "scheduled": scheduled,
        "bytes": manifest.contents.new_bytes + _bytes(manifest) if manifest else 0,
        "problem": masked(problem or (manifest.problems[0] if manifest and manifest.problems else "")),
        "actor": actor(),
        "via": "cli",
    }

    async def tell() -> None:
        async with open_client(Addresses.find(config.common).nats_url) as client:
            await request_command(client, SCHEDULER, "backup_report", said)

    try:
        asyncio.run(tell())
    except (CommandFailed, NothingRuns) as failed:
        typer.echo(f"noted nowhere, so no alert knows of it: {failed}", err=True)


def _bytes(manifest: Manifest) -> int:
    return sum(kept.bytes for kept in manifest.files.values())


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "snapshot_at": manifest.snapshot_at.isoformat(),
        "seconds": round(manifest.seconds, 3),
        "rows": sum(manifest.tables.values()),
        "messages": sum(one.messages for one in manifest.streams.values()),
        "contents": manifest.contents.model_dump(),
        "bytes": _bytes(manifest),
        "encrypted": bool(manifest.recipients),
        "problems": manifest.problems,
    }


def _said(manifest: Manifest) -> str:
    return (
        f"{sum(manifest.tables.values()):,} rows, {sum(one.messages for one in manifest.streams.values()):,} messages, "
        f"{manifest.contents.count:,} contents"
    )


def _good(manifest: Manifest, rehearsed: bool) -> str:
    how = "restored, and all of it is as it was" if rehearsed else "every file is as it was written"
    return f"{manifest.name}: {_said(manifest)}; {how}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _nothing(_: str) -> None:
    """For who wants no words on the way."""
