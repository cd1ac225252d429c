"""Whether a backup is what was written, and could be put back."""

from collections.abc import Callable, Iterator

from tidemill.cli.backups import postgres
from tidemill.cli.backups.errors import BackupDamaged
from tidemill.cli.backups.layout import DUMP, INDEX, Folder, Manifest
from tidemill.cli.backups.sealed import check
from tidemill.cli.backups.take import stream_file

Identities = Callable[[], Iterator[object]]


def missing_parts(manifest: Manifest) -> list[str]:
    """What a manifest must name so that a restore knows what to do."""
    wanted = [
        f"{DUMP}{manifest.suffix}",
        INDEX,
        *(f"{stream_file(name)}{manifest.suffix}" for name in manifest.streams),
    ]
    return [f"the manifest of {manifest.name} does not name {name}" for name in wanted if name not in manifest.files]


def damaged_files(folder: Folder, manifest: Manifest) -> Iterator[str]:
    """Of those without which nothing can be put back."""
    for name, kept in manifest.files.items():
        try:
            check(folder.path / manifest.name / name, kept)
        except BackupDamaged as damage:
            yield str(damage)


def damaged_contents(folder: Folder, manifest: Manifest) -> Iterator[str]:
    """Of the archive: each missing one is one document less, the others can be put back."""
    count = 0
    for one in folder.index(manifest.name):
        count += 1
        try:
            check(folder.contents / one.path(manifest.suffix), one.kept)
        except BackupDamaged as damage:
            yield str(damage)
    if count != manifest.contents.count:
        yield f"{manifest.name} lists {count} contents instead of {manifest.contents.count}"


def missing_tables(folder: Folder, manifest: Manifest, identities: Identities) -> Iterator[str]:
    """Needs the key of an encrypted backup. Raises BackupDamaged."""
    held = postgres.list_tables(folder.path / manifest.name / f"{DUMP}{manifest.suffix}", identities)
    for table in sorted(manifest.tables.keys() - held):
        yield f"the dump of {manifest.name} does not hold {table}"
