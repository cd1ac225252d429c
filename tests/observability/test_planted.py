"""What is planted in services at work raises its alert of Prometheus, and no other: memory that leaks, a slow query."""

import os
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from tests.observability.prometheus import Server, ended, wait_for
from tests.programs import program
from tests.system import System, at_work, new_folder
from tidemill.common.servers import free_port

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.timeout(300)]

LEAKS = """
import runpy, threading, time
kept = []
def leak():
    while len(kept) < 200:
        time.sleep(0.2)
        kept.append(b"x" * 5_000_000)
threading.Thread(target=leak, daemon=True).start()
runpy.run_module("tidemill.watcher", run_name="__main__")
"""
"""A watcher that keeps 25 MB more each second."""
SLOW = (
    "ALTER TABLE scheduler.runs RENAME TO runs_itself",
    "CREATE VIEW scheduler.runs AS SELECT * FROM scheduler.runs_itself "
    "WHERE CAST((SELECT pg_sleep(1.1)) AS text) IS NOT NULL",
)
"""Whoever asks about runs waits: the scheduler does so every two seconds."""
HURRY = {"[1h]": "[20s]", "for: 1h": "for: 4s", "for: 5m": "for: 4s"}
"""Of the rules, what they look back at and how long it has to last; what is too much stays."""


@dataclass
class Planted(System):
    """A scheduler, and a watcher that leaks; each with a known port for Prometheus."""

    ports: dict[str, int] = field(default_factory=dict)

    def _spawn(self, replica: str) -> subprocess.Popen[bytes]:
        self.ports[replica] = free_port()
        started = ["-c", LEAKS] if replica == "watcher" else ["-m", f"tidemill.{replica}"]
        environment = {**os.environ, **self.addresses_of(replica), "TIDEMILL_HEALTH__PORT": str(self.ports[replica])}
        with (self.folder / "log" / f"{replica}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *started], cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def instance(self, replica: str) -> str:
        return f"127.0.0.1:{self.ports[replica]}"


def test_a_leak_and_a_slow_query_raise_their_alerts_and_no_other() -> None:
    program("prometheus")
    with at_work(Planted(new_folder(), ("watcher", "scheduler"))) as system:
        instances = [system.instance(replica) for replica in system.replicas]
        server = Server(system.folder / "prometheus", instances, HURRY)
        with ended(server.process):
            wait_for(lambda: server.numbers('up{job="tidemill"}') == [1, 1], system.folder / "prometheus" / "log")
            (system.inbox / "paper.pdf").write_bytes(b"%PDF-1.7 that no converter reads: its run stays open")
            wait_for(lambda: system.count("scheduler.runs") == 1, system.folder / "log" / "scheduler.log")
            system.execute(*SLOW)
            seen: dict[str, set[str]] = {}

            def raised() -> bool:
                for name, alerts in server.alerts().items():
                    for alert in alerts:
                        seen.setdefault(name, set()).add(alert["state"])
                return all("firing" in seen.get(name, ()) for name in ("TidemillMemoryGrowing", "TidemillDatabaseSlow"))

            wait_for(raised, system.folder / "prometheus" / "log", within=150)
            alerts = server.alerts()
            system.execute("DROP VIEW scheduler.runs", "ALTER TABLE scheduler.runs_itself RENAME TO runs")
    (growing,) = alerts["TidemillMemoryGrowing"]
    (slow,) = alerts["TidemillDatabaseSlow"]
    assert growing["labels"]["instance"] == system.instance("watcher")
    assert slow["labels"]["service"] == "scheduler"
    assert "pending" in seen["TidemillMemoryGrowing"] | seen["TidemillDatabaseSlow"]
    assert seen.keys() == {"TidemillMemoryGrowing", "TidemillDatabaseSlow"}
