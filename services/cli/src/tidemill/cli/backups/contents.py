"""The archive's contents: copied into a backup once, verified on the way, and copied back."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from tidemill.cli.backups.errors import BackupDamaged
from tidemill.cli.backups.layout import Indexed
from tidemill.cli.backups.sealed import SLICE, Seal, check, unseal
from tidemill.common.archive import Entry
from tidemill.common.archive.packing import Unpacker
from tidemill.common.archive.store import ObjectArchive

THREADS = 4
IN_MEMORY = 8 << 20


@dataclass
class Copied:
    """What a backup has of the archive."""

    index: dict[str, Indexed] = field(default_factory=dict)
    new: int = 0
    new_bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(one.kept.bytes for one in self.index.values())


def copy_contents(
    store: ObjectArchive, contents: Path, known: Mapping[str, Indexed], seal: Seal, copied: Copied
) -> None:
    """Everything that is in the archive and not in `copied` yet. What an earlier backup has is not read again."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="backup") as threads:
        for block in store.list():
            missing = [entry for entry in block if entry.sha256 not in copied.index]
            for entry, found in zip(
                missing, threads.map(partial(_copy, store, contents, known, seal), missing), strict=True
            ):
                match found:
                    case (Indexed() as one, was_there):
                        copied.index[entry.sha256] = one
                        copied.damaged.pop(entry.sha256, None)
                        if not was_there:
                            copied.new += 1
                            copied.new_bytes += one.kept.bytes
                    case str(why):
                        copied.damaged[entry.sha256] = why
                    case None:  # Its time was over, and it went meanwhile.
                        pass


def _copy(
    store: ObjectArchive, contents: Path, known: Mapping[str, Indexed], seal: Seal, entry: Entry
) -> tuple[Indexed, bool] | str | None:
    target = contents / f"{entry.key}{seal.suffix}"
    before = known.get(entry.sha256)
    if before and before.compressed == entry.compressed and _has_size(target, before.kept.bytes):
        return before, True
    try:
        stored = store.open(entry)
    except LookupError:
        return None
    with closing(stored), tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(contents)) as held:
        while piece := stored.read(SLICE):
            held.write(piece)
        held.seek(0)
        try:
            _verify(held, entry.sha256, compressed=entry.compressed)
        except ValueError as error:
            return f"{entry.key} in the archive is damaged: {error}"
        held.seek(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        return Indexed(entry.sha256, entry.compressed, seal.write(held, target)), False


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _verify(stored: IO[bytes], sha256: str, *, compressed: bool) -> None:
    unpacker = Unpacker(stored, sha256, compressed=compressed)
    while unpacker.read():
        pass


def put_back(
    contents: Path, one: Indexed, suffix: str, store: ObjectArchive, identities: Callable[[], Iterator[object]]
) -> None:
    """Into the archive, after it was found to be what its name says. Raises BackupDamaged."""
    path = contents / one.path(suffix)
    check(path, one.kept)
    incoming = store.incoming()
    try:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as held:
            unseal(path, held, identities())
            held.seek(0)
            try:
                _verify(held, one.sha256, compressed=one.compressed)
            except ValueError as error:
                raise BackupDamaged(f"{path} is damaged: {error}") from None
            held.seek(0)
            while piece := held.read(SLICE):
                incoming.write(piece)
        store.store(incoming, one.path(""))
    finally:
        incoming.discard()
