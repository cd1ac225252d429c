"""What a command writes: to a file, or to standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast


class CannotWrite(Exception):
    """The text names the file and what is wrong with it."""


@contextmanager
def written_whole(out: Path | None, *, binary: bool = False) -> Iterator[BinaryIO]:
    """A file that appears only when all of it is written. Standard output without one; that and a device get what is
    `binary` at the end, for such a writer looks back in its file."""
    if out is None:
        yield from _to_the_end(sys.stdout.buffer, binary)
        return
    if out.is_dir():
        raise CannotWrite(f"{out} is a folder: name a file in it")
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as device:
                yield from _to_the_end(device, binary)
        else:
            yield from _replacing(out)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotWrite(f"cannot write {out}: {error.strerror or error}") from error


def _to_the_end(stream: BinaryIO, binary: bool) -> Iterator[BinaryIO]:
    if not binary:
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        yield cast(BinaryIO, file)
        file.seek(0)
        shutil.copyfileobj(file, stream)


def _replacing(out: Path) -> Iterator[BinaryIO]:
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(out)
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def until_the_reader_leaves() -> Iterator[None]:
    """`… | head` has seen enough, which is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter must not flush into the closed pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
