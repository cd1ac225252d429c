"""A folder for documents at work, which goes with the process; what a killed one left, the next one takes away."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "tidemill-converter"
LOCK = ".lock"


@contextmanager
def open_scratch(below: Path | None = None) -> Iterator[Path]:
    """An empty folder; `below` is the system's folder for temporary files unless given.

    Its owner lives while its lock is held: process ids do not tell, for in containers every first process has the same.
    """
    root = below or Path(tempfile.gettempdir())
    for left in root.glob(f"{PREFIX}-*"):
        _take_away_if_left(left)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-{os.getpid()}-", dir=root) as name:
        folder = Path(name)
        draft = folder / f"{LOCK}.new"
        lock = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            draft.rename(folder / LOCK)  # It is never there without being held.
            yield folder
        finally:
            os.close(lock)


def _take_away_if_left(folder: Path) -> None:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # No folder of ours, or one that is just being made, or of another user.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
