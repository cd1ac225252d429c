"""A folder for documents at work, which goes with the process; what a killed one left, the next one takes away."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PREFIX = "tidemill-converter"
OURS = re.compile(rf"{PREFIX}-(\d+)-\w+")


@contextmanager
def open_scratch(below: Path | None = None) -> Iterator[Path]:
    """An empty folder; `below` is the system's folder for temporary files unless given."""
    root = below or Path(tempfile.gettempdir())
    for left in root.glob(f"{PREFIX}-*"):
        owner = OURS.fullmatch(left.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-{os.getpid()}-", dir=root) as folder:
        yield Path(folder)
