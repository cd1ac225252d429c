"""Files that are not whole yet: a folder each, which outlives us and is used by one process at a time."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

KEPT = timedelta(days=7)
LOCK = "lock"
CONTENT = "content"


class Busy(Exception):
    """Another download of the same file is under way on this machine."""


class PartialFiles:
    """Below one folder, which belongs to the downloaders of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def open(self, source: str, item: str) -> Iterator[Path]:
        """The place for the bytes of a file, with what an earlier attempt left there. Raises Busy, and OSError when the
        disk cannot take it."""
        folder = self._folder / hashlib.sha256(f"{source}\0{item}".encode()).hexdigest()[:32]
        with _locked(folder):
            yield folder / CONTENT

    def tidy(self) -> int:
        """Remove what nobody went on with for a week; how many there were."""
        removed = 0
        for folder in list(self._folder.iterdir()) if self._folder.is_dir() else []:
            with suppress(Busy, OSError), _locked(folder):
                newest = max((file.stat().st_mtime for file in folder.glob(f"{CONTENT}*")), default=0.0)
                if newest < time.time() - KEPT.total_seconds():
                    for file in folder.glob(f"{CONTENT}*"):
                        file.unlink()
                    removed += 1
        return removed


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder to ourselves; it goes with the lock when nothing else is in it."""
    lock = folder / LOCK
    descriptor = _take(lock)
    try:
        yield
    finally:
        if not any(file.name != LOCK for file in folder.iterdir()):
            lock.unlink()
            with suppress(OSError):  # Somebody is here already.
                folder.rmdir()
        os.close(descriptor)


def _take(lock: Path) -> int:
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileExistsError, FileNotFoundError):
            if lock.parent.is_file():
                raise
            continue  # The folder went just now.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.exists() and os.fstat(descriptor).st_ino == lock.stat().st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise Busy(f"{lock.parent} is in use by another download") from None
        except FileNotFoundError:
            pass
        os.close(descriptor)  # Its last holder removed it.
