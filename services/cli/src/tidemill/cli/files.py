"""Files that a command writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(out: Path | None) -> Iterator[BinaryIO]:
    """A file that appears only when all of it is written; standard output without one."""
    if out is None:
        yield sys.stdout.buffer
        return
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
