"""The beginning of a file on disk, with a state beside it that a kill at any moment leaves true."""

import hashlib
import json
import os
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path

from pydantic import TypeAdapter

from tidemill.common.http.kinds import HEAD_BYTES
from tidemill.common.http.resume import Part

CHECKPOINT_BYTES = 2 << 20
"""At most so much is asked for again after a kill."""
BLOCK_BYTES = 1 << 20

_PART = TypeAdapter(Part)


def state_of(path: Path) -> Path:
    """Where the state of a part is kept."""
    return path.with_name(f"{path.name}.json")


def forget(path: Path) -> None:
    """Remove a part and its state; harmless when there is none."""
    state_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def find_part(path: Path) -> Part | None:
    """What is safe of a part; None where there is none, or nothing is known of it."""
    try:
        part = _PART.validate_json(state_of(path).read_bytes(), strict=True)
        return part if 0 < part.size <= path.stat().st_size else None
    except (OSError, ValueError):
        return None


class PartFile:
    """Open for what comes; to be closed. Hashes what it writes. Blocks: for a thread."""

    def __init__(self, path: Path, part: Part) -> None:
        """The first `part.size` bytes are kept, the rest is cut off."""
        if not part.size:  # An old state must not vouch for what comes now.
            state_of(path).unlink(missing_ok=True)
        self._path = path
        self._part = part
        self._hash = hashlib.sha256()
        self._head = b""
        self._safe = part.size
        self.size = 0
        self._file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")
        self._file.truncate(part.size)
        while block := self._file.read(BLOCK_BYTES):
            self._take(block)

    @property
    def head(self) -> bytes:
        """The first bytes of the file."""
        return self._head

    @property
    def sha256(self) -> str:
        """Of all that was written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append; now and then it is made safe. Raises OSError; then nothing was appended."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._file.fileno(), memoryview(data)[written:], self.size + written)
        self._take(data)
        if self.size - self._safe >= CHECKPOINT_BYTES:
            self.checkpoint()

    def save(self, data: bytes) -> None:
        """Append, and make safe: in one go, so that nothing comes in between."""
        self.write(data)
        self.checkpoint()

    def checkpoint(self) -> None:
        """Make safe what was written, and then say so beside it: never the other way round."""
        os.fsync(self._file.fileno())
        state = json.dumps(asdict(replace(self._part, size=self.size)))
        fresh = state_of(self._path).with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(state_of(self._path))
        self._safe = self.size

    def close(self) -> None:
        self._file.close()

    def _take(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
