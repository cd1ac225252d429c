"""The limits of hosts in files of one machine, shared by all processes that use its data folder."""

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tidemill.common.http.limits import RENEW_EVERY, Change, SharedLimits, Unavailable
from tidemill.common.http.pacing import Host
from tidemill.common.telemetry.metrics import Metrics

T = TypeVar("T")

BUSY_SECONDS = 0.001
PATIENCE_SECONDS = 1.0
"""For a file that another process holds; none holds it longer than it takes to write it, unless it was stopped."""
LONGEST = 1 << 20
PATHS_KEPT = 1000


class MachineLimits(SharedLimits):
    """A file for each host; it is read, changed and written under its lock, which ends with its process."""

    def __init__(self, folder: Path, metrics: Metrics, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(metrics, RENEW_EVERY)
        self._folder = folder
        self._clock = clock
        self._paths: dict[str, Path] = {}

    async def change(self, host: str, change: Change[T]) -> tuple[T, float]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while True:
                with self._locked(host) as file:
                    if file is not None:
                        return self._change(file, change)
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self._path(host)} is held by a process that does not go on")
                await asyncio.sleep(BUSY_SECONDS)
        except OSError as error:
            raise Unavailable(f"{error.filename or self._path(host)}: {error.strerror or error}") from error

    def _change(self, file: int, change: Change[T]) -> tuple[T, float]:
        known = _first_line(os.pread(file, LONGEST, 0))
        state, now = _read(known), self._clock()
        answer = change(state, now)
        said = state.to_json()
        if said != known:
            # One call; the end of the line tells where it ends, so that killed in between the rest stays unread.
            os.pwrite(file, said + b"\n", 0)
            if len(said) < len(known):
                os.ftruncate(file, len(said) + 1)
        return answer, now

    async def peek(self, hosts: Sequence[str]) -> tuple[list[Host], float]:
        try:
            return [_read(_first_line(self._content(host))) for host in hosts], self._clock()
        except OSError as error:
            raise Unavailable(f"{error.filename}: {error.strerror}") from error

    async def complaint(self) -> str | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"{self._folder}: {error.strerror}, and without it nothing is fetched"
        return None if os.access(self._folder, os.W_OK) else f"{self._folder} cannot be written, so nothing is fetched"

    @contextmanager
    def _locked(self, host: str) -> Iterator[int | None]:
        """The host's file to ourselves; None where another process has it just now."""
        path = self._path(host)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield file
        finally:
            os.close(file)

    def _content(self, host: str) -> bytes:
        try:
            return self._path(host).read_bytes()
        except FileNotFoundError:
            return b""

    def _path(self, host: str) -> Path:
        if host not in self._paths:
            if len(self._paths) >= PATHS_KEPT:
                self._paths.clear()
            self._paths[host] = self._folder / hashlib.sha256(host.encode()).hexdigest()[:32]
        return self._paths[host]


def _first_line(content: bytes) -> bytes:
    """Empty where it is not whole: a disk that was full, a power loss."""
    line, end, _ = content.partition(b"\n")
    return line if end else b""


def _read(line: bytes) -> Host:
    try:
        return Host.from_json(line)
    except ValueError:
        return Host()
