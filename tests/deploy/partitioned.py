"""The topology with one replica in a network namespace, whose only way to the servers can be cut: what it sends goes
nowhere then, and nobody is told."""

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.topology import NATS, Topology

AWAY = "converter-2"
RELAY = Path(__file__).with_name("relay.py")
NAMESPACE = ("unshare", "--net", "--")


def missing() -> str:
    """Why there is no network namespace here; empty: there is."""
    if not all(shutil.which(name) for name in ("unshare", "nsenter", "ip")):
        return "unshare, nsenter or ip is not on PATH"
    done = subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    return f"no network namespace for us: {done.stderr.strip()}" if done.returncode else ""


@dataclass
class Partitioned(Topology):
    _way: subprocess.Popen[bytes] | None = None

    def start_servers(self) -> None:
        super().start_servers()
        self.sockets.mkdir()
        self._way = subprocess.Popen(self._relay("outside"))

    @property
    def sockets(self) -> Path:
        return self.folder / "way"

    def cut(self) -> None:
        assert self._way
        self._way.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        assert self._way
        self._way.send_signal(signal.SIGCONT)

    def command(self, service: str, words: Sequence[str], replica: str = "") -> Sequence[str]:
        command = super().command(service, words, replica)
        if replica != AWAY:
            return command
        script = f"ip link set lo up; {shlex.join(self._relay('inside'))} & exec {shlex.join(command)}"
        return [*NAMESPACE, "sh", "-c", script]

    def ready(self, replica: str) -> bool:
        """Asked by the healthcheck of its image, which is in the namespace, too."""
        if replica != AWAY:
            return super().ready(replica)
        inside = ["nsenter", "--target", str(self.services[replica].pid), "--net", "--"]
        probe = [sys.executable, "-m", "tidemill.common.telemetry.probe", "readyz"]
        environment = self.environment_of(replica.partition("-")[0], replica)
        return subprocess.run([*inside, *probe], env=environment, capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        super().stop()
        if self._way:
            self._way.kill()
            self._way.wait()

    def _relay(self, side: str) -> list[str]:
        ports = [str(self.ports[name]) for name in (*NATS, "postgres", "redis")]
        return [sys.executable, str(RELAY), side, str(self.sockets), *ports]
