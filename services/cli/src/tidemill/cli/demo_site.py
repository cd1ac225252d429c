"""The demo's web site on this machine: it publishes issues, and a source that comes with it fetches them."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tidemill.cli import sample
from tidemill.common.config import Config, Sources
from tidemill.common.servers import ChildServer, free_port
from tidemill.common.servers.child import port_is_free

SOURCE = "szerencsemix-demo"
SITE = Path("examples") / "issue-site"
PORT = 8765
"""In the bundled source file."""


class IssueSite(ChildServer):
    """Runs the program beside the source file that it is for."""

    name = "issue site"

    def __init__(self, folder: Path, program: Path, port: int) -> None:
        super().__init__(folder)
        self._program = program
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def command(self) -> Sequence[str | Path]:
        return sys.executable, self._program, "--port", str(self.port), "--folder", self.folder

    def ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def provide_source(config: Config) -> None:
    """Put the source file beside the others, with a port that is free here."""
    bundled = (sample.find() / SITE / f"{SOURCE}.yaml").read_text(encoding="utf-8")
    file = config.common.sources_dir / f"{SOURCE}.yaml"
    if file.exists():
        known = re.search(r"127\.0\.0\.1:([0-9]+)", file.read_text(encoding="utf-8"))
        if known is None or port_is_free(int(known[1])):
            return
    port = free_port()  # A fixed one could be taken by another demo between here and the start.
    file.write_text(bundled.replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{port}"), encoding="utf-8")


def find_site(config: Config, sources: Sources) -> IssueSite | None:
    """The site of the demo's source, where there are both."""
    source = sources.get(SOURCE)
    if source is None or source.download is None or source.download.index is None:
        return None
    try:
        program = sample.find() / SITE / "serve.py"
    except sample.NoSample:
        return None
    port = urlsplit(source.download.index.url).port or PORT
    return IssueSite(config.common.data_dir / "issue-site", program, port)
