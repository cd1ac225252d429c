"""Pure: which files are taken, in which lane, and what makes one refused."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from tidemill.common.config.sources import Watch
from tidemill.watcher.stillness import Look

PROCESSED = "processed"
DUPLICATES = "duplicates"
FAILED = "failed"
OUR_FOLDERS = (PROCESSED, DUPLICATES, FAILED)
PROBE_PREFIX = ".tidemill-probe-"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file may not be stored."""

    reason: str
    """Slug that can be counted."""
    detail: str


def wanted(path: PurePosixPath, watch: Watch) -> bool:
    """Whether a file below the watched folder is asked for."""
    if path.parts[0] in OUR_FOLDERS or path.name.startswith(PROBE_PREFIX):
        return False
    if len(path.parts) > 1 and not watch.recursive:
        return False
    return watch.rejection(str(path)) is None


def printable(path: PurePath | str) -> str:
    """The path as text for people, tables and events; bytes of a name that are no UTF-8 as `\\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def refusal(path: PurePath, look: Look, watch: Watch) -> Refused | None:
    """What forbids storing a file of this name and size, or None."""
    if printable(path) != str(path):
        return Refused("name", "the name is not UTF-8; rename the file")
    if look.size < watch.min_size:
        if look.size == 0:
            return Refused("empty", "empty file (0 bytes)")
        return Refused("too_small", f"{look.size} bytes; the least is {int(watch.min_size)} (watch.min_size)")
    if look.size > watch.max_size:
        return Refused("too_large", f"{look.size} bytes; the limit is {int(watch.max_size)} (watch.max_size)")
    return None


def run_id(source: str, path: str, identity: str) -> str:
    """A watched file is a run of one item: the same file always gives the same run.

    `identity` is what makes this drop of the file another one than the last: its content, or its look.
    """
    digest = hashlib.sha256("\0".join((source, path, identity)).encode()).hexdigest()
    return f"{source}-file-{digest[:16]}"
