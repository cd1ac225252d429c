"""A folder in which `tidemill` runs as a person would run it, with the mill as its only service."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.common.servers import free_port
from tidemill.common.testing import mill, new_environment
from tidemill.common.testing.cluster import begin_used

TIDEMILL = Path(sys.executable).parent / "tidemill"
START_SECONDS = 40.0


def eventually(true: Callable[[], object], within: float = 30.0) -> None:
    """Wait until it is so; its last failure is the test's."""
    deadline = time.monotonic() + within
    while True:
        try:
            if true():
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.05)


class Up:
    """A running `tidemill up`."""

    def __init__(self, place: "Place", *words: str) -> None:
        self.place = place
        self.output = ""
        self.process = place.begin("up", *words)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, text: str, within: float = 40.0) -> None:
        """Until it was printed."""
        deadline = time.monotonic() + within
        while text not in self.output:
            assert self.process.poll() is None, f"up ended:\n{self.output}"
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    @property
    def addresses(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.place.folder / "data/run/servers.json").read_text())
        return found

    def child(self, name: str) -> psutil.Process:
        """The server of that name that `up` started."""
        (found,) = [child for child in psutil.Process(self.process.pid).children() if child.name() == name]
        return found

    def health(self, path: str = "readyz") -> tuple[int, dict[str, object]]:
        try:
            with urlopen(f"{self.addresses['health_url']}/{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except HTTPError as refused:
            return refused.code, json.load(refused)
        except URLError as away:
            return 0, {"error": str(away)}

    def ready(self) -> bool:
        return self.health()[0] == 200

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout=40)
        self._reader.join(5)
        return status


class Place:
    def __init__(self, folder: Path, brought: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []
        self.environment = new_environment() | {"PYTHONPATH": str(brought), "COLUMNS": "300"}

    def begin(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [TIDEMILL, *words],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """Exit status and what was printed."""
        process = self.begin(*words, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def here(self, *words: str) -> tuple[int, str]:
        """As `run`, in this process: to start one takes most of a command's time."""
        unset = dict.fromkeys(os.environ.keys() - self.environment.keys())
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(app, list(words), env={**unset, **self.environment})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    def has_been_used(self) -> None:
        """Postgres was here before: to make its files and tables takes two seconds."""
        if not (data := self.folder / "data/postgres").exists():
            begin_used(data)

    def has_a_port_of_its_own(self) -> None:
        """As if an earlier start had it: the well-known one goes to whichever test starts first."""
        note = self.folder / "data/nats/port"
        if not note.exists():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(str(free_port()))

    def up(self, *words: str) -> Up:
        """With the mill alone, ready."""
        self.has_been_used()
        self.has_a_port_of_its_own()
        up = Up(self, "--service", "mill", *words)
        up.wait_for("Ctrl-C ends it", within=START_SECONDS)
        return up

    def begin_up(self, *words: str) -> Up:
        return Up(self, *words)

    def servers(self) -> list[psutil.Process]:
        """Every nats-server and Postgres process that works in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                living = process.status() != psutil.STATUS_ZOMBIE
                if living and process.name() in ("nats-server", "postgres") and self._is_here(process.cwd()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _is_here(self, folder: str) -> bool:
        return Path(folder).is_relative_to(self.folder)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
        eventually(lambda: not self.servers())


@pytest.fixture(name="eventually")
def the_wait() -> Callable[..., None]:
    return eventually


@pytest.fixture
def place(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = open_folder / "place"
    folder.mkdir()
    brought = mill.install(open_folder / "brought")
    monkeypatch.syspath_prepend(brought)
    made = Place(folder, brought)
    yield made
    made.close()


@pytest.fixture
def small_disk(place: Place) -> Iterator[Callable[[str], None]]:
    """Makes the place a disk of that size."""

    def make(size: str) -> None:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place.folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small disk")
        mounted.append(place.folder)

    mounted: list[Path] = []
    yield make
    place.close()
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `. .venv/bin/activate`."""
    monkeypatch.setenv("PATH", str(TIDEMILL.parent), prepend=os.pathsep)
