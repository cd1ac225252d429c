"""A server as a foreground child: it has a folder to itself, dies with us, and starts again after any kill."""

import fcntl
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

import psutil

from tidemill.common.servers import launch

LOG_KEPT_BYTES = 10_000_000


class ServerFailed(Exception):
    """A server did not start; the text holds the end of its log."""


class FolderInUse(Exception):
    """Another living process works in this folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(f"{folder} is in use by {holder}")
        self.folder = folder
        self.holder = holder


class FolderNotOurs(Exception):
    """The folder belongs to another user, and may not even be looked into."""

    def __init__(self, folder: Path) -> None:
        owner = owner_of(folder)
        super().__init__(f"{folder} belongs to {owner}: run this as {owner}, or choose another data folder")


class FolderLock:
    """An exclusive lock on a folder, gone with the process that holds it, however that ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._file: int | None = None

    def take(self) -> None:
        """Harmless when we have it already; raises FolderInUse, FolderNotOurs."""
        if self._file is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:
            raise FolderNotOurs(self.path.parent) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise FolderInUse(self.path.parent, self.holder() or "another process") from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file

    def holder(self) -> str | None:
        """Who has it, for people; None when nobody does. Raises FolderNotOurs."""
        try:
            with self.path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return f"process {file.read().strip() or '(unknown)'}"
        except FileNotFoundError:
            pass
        except PermissionError:
            raise FolderNotOurs(self.path.parent) from None
        return None

    def release(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


class ChildServer(ABC):
    """`start()` is `prepare()`, `spawn()` and `wait()`. A caller with an event loop runs the first and the last in a
    thread, and `spawn` in its main thread: the kernel ends the child with the *thread* that made it."""

    name: ClassVar[str]
    """Of the program, as the process list shows it."""
    start_within: ClassVar[float] = 60.0
    """Seconds; a Postgres that recovers after a crash may take a while."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "log"
        self._lock = FolderLock(self.folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def command(self) -> Sequence[str | Path]: ...

    @abstractmethod
    def ready(self) -> bool: ...

    def owner(self) -> tuple[int, int]:
        """User and group id to run under."""
        return os.getuid(), os.getgid()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.alive() else None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        if not self.alive():
            self.prepare()
            self.spawn()
            self.wait()
        return self

    def prepare(self) -> None:
        """Take the folder, and end what a killed predecessor left in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        end_processes_in(self.workdir(), self.name)

    def workdir(self) -> Path:
        """The working folder of the server's processes, by which they are found."""
        return self.folder

    def spawn(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".old"))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "COVERAGE"))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in (*self.launcher(self.stop_signal), *self.command())],
                cwd=self.workdir(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us; we stop our children in order.
            )

    def launcher(self, at_our_end: signal.Signals) -> Sequence[str | int]:
        """Words before a command: it runs under its owner, and gets this signal when we end."""
        return sys.executable, "-I", "-S", launch.__file__, os.getpid(), int(at_our_end), *self.owner()

    def wait(self) -> None:
        """Return when the server answers; raises ServerFailed."""
        deadline = time.monotonic() + self.start_within
        while self.alive() and time.monotonic() < deadline:
            if self.ready():
                return
            time.sleep(0.005)
        reason = "does not answer" if self.alive() else "ended at once"
        self.kill()
        raise ServerFailed(f"{self.name} {reason}; the end of {self.log}:\n{self.log_end()}")

    def log_end(self, lines: int = 15) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 20_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def stop(self, within: float = 10.0) -> None:
        """End it in its own orderly way, and give the folder back."""
        if self._process is not None:
            self.ask_to_end()
            try:
                self._process.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None
        self._lock.release()

    def ask_to_end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """As `kill -9` does it: nothing is said goodbye to, and `start()` repairs it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def end_processes_in(folder: Path, program: str) -> None:
    """End every process of this program whose working folder is exactly this one: asked first, then killed."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() == program and process.cwd() == str(folder):
                found.append(process)
    for ask, seconds in ((signal.SIGQUIT, 2.0), (signal.SIGKILL, 5.0)):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(ask)
        deadline = time.monotonic() + seconds
        while (found := [process for process in found if at_work(process)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        if not found:
            return
    raise ServerFailed(f"{folder}: processes {[process.pid for process in found]} cannot be ended")


def at_work(process: psutil.Process) -> bool:
    """A zombie is not: it may wait for ever for a parent that does not ask, as the first process of a container."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def nearest(path: Path) -> Path:
    """The path, or the first folder above it that is there and may be looked at."""
    for place in (path, *path.parents):
        with suppress(OSError):
            place.stat()
            return place
    return Path("/")


def owner_of(path: Path) -> str:
    uid = nearest(path).stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(*preferred: int) -> int:
    """A loopback port below the ephemeral range: inside it, a client that reconnects to a server that is down can be
    given the very port as its own and connect to itself."""
    for port in (*preferred, *random.sample(range(20_000, 32_000), 200)):
        if port_is_free(port):
            return port
    raise ServerFailed("no free port on the loopback address")


def remembered(path: Path) -> int | None:
    """A number that an earlier start wrote down."""
    with suppress(FileNotFoundError, ValueError):
        return int(path.read_text())
    return None
