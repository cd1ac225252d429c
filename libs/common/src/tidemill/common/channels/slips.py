"""What is told in an emergency, in a file: what waits, and what was sent, so that it is not sent again."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tidemill.common.channels.cached import write_whole
from tidemill.common.channels.message import Message
from tidemill.common.telemetry.logs import get_logger

log = get_logger(__name__)

REMEMBERED = timedelta(days=30)
"""After it ended; nothing is stated under its id any more by then."""

BUSY_SECONDS = 0.01
PATIENCE_SECONDS = 1.0


class Slip(BaseModel):
    """A message to one recipient."""

    model_config = ConfigDict(frozen=True)

    key: str
    message: Message
    channel: str
    recipient: str
    state: Literal["waiting", "delivered", "given_up"] = "waiting"
    stated_at: datetime
    due_at: datetime
    """While it is sent: when the lease ends."""
    attempts: int = 0
    reply: str = ""
    ended_at: datetime | None = None


_SLIPS: TypeAdapter[dict[str, Slip]] = TypeAdapter(dict[str, Slip])


class Slips:
    """By their key. Where the disk takes nothing they are in memory: then a restart may repeat something."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._in_memory: dict[str, Slip] | None = None
        self._seen: tuple[int, int] | None = None
        self._waiting = False

    def due(self, now: datetime) -> bool:
        """Whether something is to be sent. Cheap while nothing waits: a look at the file's time."""
        seen = self._stamp()
        if self._in_memory is None and seen == self._seen and not self._waiting:
            return False
        slips = self._read() if self._in_memory is None else self._in_memory
        self._seen, self._waiting = seen, any(slip.state == "waiting" for slip in slips.values())
        return any(slip.state == "waiting" and slip.due_at <= now for slip in slips.values())

    @contextmanager
    def changed(self, now: datetime) -> Iterator[dict[str, Slip]]:
        """All of them, to be changed and kept; no other process has them meanwhile."""
        with self._locked():
            slips = self._read() if self._in_memory is None else dict(self._in_memory)
            yield slips
            kept = {k: slip for k, slip in slips.items() if slip.ended_at is None or slip.ended_at > now - REMEMBERED}
            try:
                write_whole(self._file, _SLIPS.dump_json(kept, indent=1))
                self._in_memory = None
            except OSError as error:
                if self._in_memory is None:
                    log.error("what is told in an emergency cannot be kept", file=str(self._file), error=str(error))
                self._in_memory = kept

    def _read(self) -> dict[str, Slip]:
        try:
            return _SLIPS.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            log.error("what was told in an emergency cannot be read", file=str(self._file), error=type(error).__name__)
            return {}

    def _stamp(self) -> tuple[int, int] | None:
        try:
            known = self._file.stat()
        except OSError:
            return None
        return known.st_mtime_ns, known.st_ino

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._open_lock()
        if lock is None:
            yield
            return
        try:
            _wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _open_lock(self) -> int | None:
        """None where the disk takes nothing: nowhere to lock is nowhere to keep, too."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None


def _wait_for(lock: int) -> None:
    """A little: none holds it for longer than it takes to write a file, unless it was stopped; then it counts for
    nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(BUSY_SECONDS)
    log.warning("another process holds what is told in an emergency, and does not go on")
