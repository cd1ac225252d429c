"""The drill: a machine at work is destroyed, its last backup is restored elsewhere, and collecting goes on.

`pytest -s tests/integration/test_disaster.py` prints how much was lost and how long it took.
"""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nats
import psutil
import pytest
import yaml
from sqlalchemy import text

from tests.system import SOURCE
from tidemill.common.database import open_engine
from tidemill.common.testing import new_environment

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.timeout(600)]

SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix"
TIDEMILL = Path(sys.executable).parent / "tidemill"
SERVICES = ("scheduler", "watcher", "converter")
BEFORE, MEANWHILE, AFTER = 4, 4, 3
"""Documents that come before the backup, while it is made, and after it."""
SECONDS = 90
COMMIT_WITHIN = timedelta(seconds=3)
"""After a document was received; of one that came that shortly before the snapshot, nobody can say."""


@dataclass
class Machine:
    """A folder with `tidemill up` in it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def inbox(self) -> Path:
        return self.folder / "data" / "inbox"

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [TIDEMILL, *words], cwd=self.folder, env=new_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> None:
        said = self.folder / "up.txt"
        words = [word for service in SERVICES for word in ("--service", service)]
        with said.open("wb") as output:
            self.process = subprocess.Popen(
                [TIDEMILL, "up", *words], cwd=self.folder, env=new_environment(), stdout=output, stderr=output
            )
        wait_for(lambda: "Tidemill is ready" in said.read_text(), said.read_text)

    def destroy(self) -> None:
        """Without a word, with all that is on its disk."""
        assert self.process
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):  # Its parent took it along.
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)
        shutil.rmtree(self.folder)

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def addresses(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "data/run/servers.json").read_text())
        return found

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        async def ask() -> list[tuple[Any, ...]]:
            engine = open_engine(self.addresses()["database_url"], pool=1)
            try:
                async with engine.connect() as connection:
                    return [tuple(row) for row in await connection.execute(text(statement))]
            finally:
                await engine.dispose()

        return asyncio.run(ask())

    def count(self, what: str) -> int:
        return int(self.query(f"SELECT count(*) FROM {what}")[0][0])

    def ids(self, stream: str) -> list[str]:
        async def read() -> list[str]:
            client = await nats.connect(self.addresses()["nats_url"])
            try:
                js = client.jetstream()
                messages = (await js.stream_info(stream)).state.messages
                subscription = await js.subscribe("", stream=stream, ordered_consumer=True)
                return [(await subscription.next_msg(timeout=5)).headers["Tidemill-Id"] for _ in range(messages)]
            finally:
                await client.close()

        return asyncio.run(read())

    def drop(self, number: int) -> None:
        """The facts of the sample in bytes of their own: readers ignore what follows the end of a PDF."""
        self.inbox.mkdir(parents=True, exist_ok=True)
        unfinished = self.inbox / f"paper-{number}.part"
        unfinished.write_bytes((SAMPLE / "sample.pdf").read_bytes() + b"\n%% %d\n" % number)
        unfinished.rename(self.inbox / f"paper-{number}.pdf")

    def wait_until_converted(self, documents: int) -> None:
        wait_for(
            lambda: (
                self.count("converter.documents WHERE state = 'finished'") >= documents
                and not list(self.inbox.glob("*.pdf"))
                and all(self.count(f"{service}.outbox WHERE sent_at IS NULL") == 0 for service in SERVICES)
            ),
            lambda: str(self.query("SELECT state, outcome, count(*) FROM converter.documents GROUP BY 1, 2")),
        )


def wait_for(true: Any, said: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not below pytest's: another session closes that to the user under whom Postgres runs.
    with TemporaryDirectory(prefix="tidemill-drill-") as made:
        yield Path(made)


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    made = Machine(folder / "machine")
    (made.folder / "sources").mkdir(parents=True)
    (made.folder / "sources" / "paper.yaml").write_text(yaml.safe_dump(SOURCE))
    (made.folder / "tidemill.yaml").write_text("log: {level: info}\n")
    yield made
    made.end()


@pytest.fixture
def successor(folder: Path) -> Iterator[Machine]:
    made = Machine(folder / "successor")
    made.folder.mkdir()
    yield made
    made.end()


def test_after_a_disaster_collecting_goes_on_and_nothing_is_there_twice(
    machine: Machine, successor: Machine, folder: Path
) -> None:
    machine.up()
    for number in range(BEFORE):
        machine.drop(number)
    machine.wait_until_converted(BEFORE)
    feeding = threading.Thread(target=feed, args=(machine, range(BEFORE, BEFORE + MEANWHILE)))
    feeding.start()
    taken = json.loads(machine.run("backup", str(folder / "backups"), "-o", "json"))
    feeding.join()
    documents = BEFORE + MEANWHILE + AFTER
    for number in range(BEFORE + MEANWHILE, documents):
        machine.drop(number)
    machine.wait_until_converted(documents)
    snapshot_at = datetime.fromisoformat(taken["snapshot_at"])
    known = machine.query("SELECT sha256, received_at FROM watcher.documents")
    matches, markets = machine.count("football.match"), machine.count("football.market")
    assert matches and markets
    machine.destroy()
    struck_at = datetime.now(UTC)

    begun = time.monotonic()
    successor.run("restore", str(folder / "backups"))
    restored = time.monotonic()
    successor.up()
    ready = time.monotonic()

    there = {sha256 for (sha256,) in successor.query("SELECT sha256 FROM watcher.documents")}
    committed = {sha256 for sha256, at in known if at < snapshot_at - COMMIT_WITHIN}
    assert BEFORE <= len(committed) < documents and committed <= there
    lost = len(known) - len(there)
    successor.wait_until_converted(len(there))
    verified = json.loads(successor.run("archive", "verify", *sorted(there), "-o", "json"))
    assert verified["good"] == len(there)

    # The source still has all of its files, and a new one.
    for number in range(documents + 1):
        successor.drop(number)
    successor.wait_until_converted(documents + 1)
    assert successor.query("SELECT DISTINCT outcome FROM converter.documents") == [("converted",)]
    assert successor.count("converter.documents") == successor.count("watcher.documents") == documents + 1
    assert (successor.count("football.match"), successor.count("football.market")) == (matches, markets)
    assert (successor.count("football.match_history"), successor.count("football.market_history")) == (matches, markets)
    for service in SERVICES:
        assert successor.query(f"SELECT error FROM {service}.dead_letters") == []
    for stream in ("DOCUMENTS", "RUNS", "RECORDS"):
        found = successor.ids(stream)
        assert len(found) == len(set(found)), f"{stream} holds an event twice"
    assert "one chain, complete" in successor.run("audit", "verify")

    print(
        f"\nbackup                    {taken['seconds']:.1f} s, while {MEANWHILE} documents came"
        f"\nlost with the machine     {lost} of {documents} documents: those after the snapshot, "
        f"{(struck_at - snapshot_at).total_seconds():.1f} s before the end; collected again from their source"
        f"\nlost of what was before   0 of {len(committed)}"
        f"\nrestore                   {restored - begun:.1f} s"
        f"\nrestore, until ready      {ready - begun:.1f} s"
    )


def feed(machine: Machine, numbers: range) -> None:
    for number in numbers:
        machine.drop(number)
        time.sleep(0.4)
