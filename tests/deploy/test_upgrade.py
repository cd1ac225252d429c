"""From the previous release's code to this one and back, under load: replicas of both work side by side, and no work is
lost or doubled. `tests/deploy/previous` names the commit while there is no tag."""

import asyncio
import io
import os
import shlex
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deploy.load import Load, assert_exactly_once, sources
from tests.system import System, at_work, new_folder
from tidemill.cli.status import Running, running
from tidemill.common.bus.client import open_client
from tidemill.common.servers import NatsServer, PostgresServer
from tidemill.common.testing import new_environment
from tidemill.common.testing.site import site_in_a_thread

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.slow, pytest.mark.deploy, pytest.mark.timeout(1150)]

ROOT = Path(__file__).parents[2]
REPLICAS = [f"{service}-{n}" for service in ("watcher", "converter", "scraper", "scheduler") for n in (1, 2)]
NEW, OLD = "new", "old"
BROKEN = "broken"
"""This release, with a mistake in its settings: it does not start."""
ROLL = """
import contextlib, os, pathlib, signal, sys, time
folder, service, version = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
for note in sorted(folder.glob(f"{service}-*.pid")):
    old = note.read_text()
    (folder / f"{note.stem}.code").write_text(version)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(old), signal.SIGTERM)
    while note.read_text() == old:
        time.sleep(0.1)
"""
"""What systemd does for `systemctl restart`, one replica after the other."""


def previous() -> str:
    tag = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return tag.stdout.strip() or (ROOT / "tests" / "deploy" / "previous").read_text().strip()


def unpack(commit: str, to: Path) -> Path:
    archive = subprocess.run(["git", "archive", commit, "libs", "services"], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(to, filter="data")
    return to


@dataclass
class Releases(System):
    """Which code a replica runs is written beside its process id, as a supervisor has it in the unit."""

    old: Path = field(init=False)
    ending: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start_servers(self) -> None:
        self.old = unpack(previous(), self.folder / "previous")
        self.notes = self.folder / "units"
        self.notes.mkdir()
        for replica in self.replicas:
            (self.notes / f"{replica}.code").write_text(OLD)
        self.nats = NatsServer(self.folder / "nats")
        self.postgres = PostgresServer(self.folder / "postgres", settings={"fsync": "off"})
        self.nats.start()
        self.postgres.start()
        self.tidemill(OLD, "migrate")

    def code_of(self, version: str) -> dict[str, str]:
        """Environment with that release's modules before those that are installed."""
        environment = new_environment() | self.addresses_of("")
        if version == OLD:
            folders = sorted(str(path) for path in self.old.glob("*/*/src"))
            del environment["TIDEMILL_RUNS_IN"]  # It knew no such setting.
            return environment | {"PYTHONPATH": os.pathsep.join(folders)}
        more = {"TIDEMILL_LOG__LEVEL": "nonsense"} if version == BROKEN else {}
        return environment | more

    def tidemill(self, version: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from tidemill.cli.main import main; main()", *words],
            cwd=self.folder,
            env=self.code_of(version),
            capture_output=True,
            text=True,
            check=check,
            timeout=600,
        )

    def _spawn(self, replica: str) -> subprocess.Popen[bytes]:
        service = replica.partition("-")[0]
        version = (self.notes / f"{replica}.code").read_text()
        with (self.folder / "log" / f"{replica}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"tidemill.{service}"],
                cwd=self.folder,
                env=self.code_of(version)
                | {"TIDEMILL_CONVERTER__WORKERS": "1", "TIDEMILL_CONVERTER__SPARE_WORKERS": "0"},
                stdout=log,
                stderr=log,
            )
        (self.notes / f"{replica}.pid").write_text(str(process.pid))
        return process

    def revive(self) -> None:
        with self.lock:
            super().revive()

    def supervise(self) -> None:
        while not self.ending.wait(0.3):
            self.revive()

    def upgrade(self, to: str, back: str) -> subprocess.CompletedProcess[str]:
        roll = f"{shlex.quote(sys.executable)} -c {shlex.quote(ROLL)} {self.notes} {{service}}"
        words = ["--restart", f"{roll} {to}", "--back", f"{roll} {back}", "--within", "60", "--calm", "3"]
        return self.tidemill(NEW, "upgrade", *words, check=False)

    def answering(self) -> list[Running]:
        async def ask() -> list[Running]:
            async with open_client(self.nats.url) as client:
                return await running(client, "")

        return asyncio.run(ask())

    def wait_until_all_answer(self, within: float = 180) -> None:
        deadline = time.monotonic() + within
        while len(self.answering()) < len(self.replicas):
            assert time.monotonic() < deadline, f"logs in {self.folder / 'log'}"
            time.sleep(1)

    def old_ones(self) -> int:
        """Replicas that tell nothing of what is wrong are of the previous release, unless that has learned it."""
        codes = [(self.notes / f"{replica}.code").read_text() for replica in self.replicas]
        return codes.count(OLD)


@contextmanager
def at_the_previous_release() -> Iterator[tuple[Releases, Load]]:
    with site_in_a_thread() as site:
        system = Releases(new_folder(), REPLICAS, sources=sources(site))
        load = Load(system, site)
        with at_work(system):
            where = "import tidemill.common.config.settings as module; print(module.__file__)"
            command = [sys.executable, "-c", where]
            said = subprocess.run(command, env=system.code_of(OLD), capture_output=True, text=True, check=True).stdout
            assert said.startswith(str(system.old)), "the previous release is not what runs"
            supervisor = threading.Thread(target=system.supervise, daemon=True)
            supervisor.start()
            try:
                system.wait_until_all_answer()
                yield system, load
            finally:
                system.ending.set()
                supervisor.join()


def test_both_releases_work_side_by_side_and_back_again() -> None:
    with at_the_previous_release() as (system, load):
        load.begin()
        print(f"\n{previous()[:9]}: paper {load.seconds_of_paper():.1f} s, 12 pages {load.seconds_of_wave():.1f} s")
        system.tidemill(NEW, "migrate")
        print(f"its replicas on the new tables: paper {load.seconds_of_paper():.1f} s")
        for replica in REPLICAS[::2]:
            (system.notes / f"{replica}.code").write_text(NEW)
            with system.lock:
                system.services[replica].terminate()
                system.services[replica].wait(60)
        system.wait_until_all_answer()
        assert system.old_ones() == len(REPLICAS) // 2
        print(f"half and half: paper {load.seconds_of_paper():.1f} s, 12 pages {load.seconds_of_wave():.1f} s")
        done = system.upgrade(NEW, OLD)
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        assert system.old_ones() == 0
        broken = system.upgrade(BROKEN, NEW)
        print(broken.stdout + broken.stderr)
        assert broken.returncode == 1
        assert "went back to the release before" in broken.stderr
        assert {each.ready for each in system.answering()} == {True}
        back = system.upgrade(OLD, NEW)
        print(back.stdout)
        assert back.returncode == 0, back.stdout + back.stderr
        assert system.old_ones() == len(REPLICAS)
        print(
            f"back at {previous()[:9]}: paper {load.seconds_of_paper():.1f} s, 12 pages {load.seconds_of_wave():.1f} s"
        )
        load.end()
        load.wait_until_all_is_there()
        counts = assert_exactly_once(load)
        print("0 lost, 0 doubled of " + ", ".join(f"{count} {what}" for what, count in counts.items()))
