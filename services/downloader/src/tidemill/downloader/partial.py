"""Files that are not whole yet: a folder each, which outlives us and is used by one process at a time."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

KEPT = timedelta(days=7)
LOCK = "lock"


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
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{item} is being downloaded") from None
            yield folder / "content"
        finally:
            os.close(descriptor)

    def tidy(self) -> int:
        """Remove what nobody went on with for a week; how many there were."""
        removed = 0
        for folder in list(self._folder.iterdir()) if self._folder.is_dir() else []:
            try:
                young = any(file.stat().st_mtime > time.time() - KEPT.total_seconds() for file in folder.iterdir())
            except OSError:
                continue
            if not young:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed
