"""The demo's web sites on this machine, and the sources that come with them: one publishes issues, one homes."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tidemill.cli import sample
from tidemill.cli.config import CONVERTERS
from tidemill.common.servers import ChildServer, free_port
from tidemill.common.servers.child import port_is_free

if TYPE_CHECKING:
    from tidemill.common.config import Config, Sources

ANSWER_SECONDS = 10.0
HOST = re.compile(r"127\.0\.0\.1:([0-9]+)")
WITH = re.compile(r"^  with: (\S+)$", re.MULTILINE)


class DemoSite(ChildServer):
    """Runs the program beside the source files that it is for."""

    example: ClassVar[str]
    """Folder below `examples`."""
    sources: ClassVar[Sequence[str]]

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

    def advance(self) -> str:
        """Its next day; what there is then. Raises OSError where it does not run."""
        raise NotImplementedError

    def _post(self, path: str) -> dict[str, Any]:
        try:
            request = Request(f"{self.url}{path}", data=b"{}")  # noqa: S310 - the address is ours
            with urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                return dict(json.load(answer))
        except HTTPError as refused:
            return dict(json.load(refused))


class IssueSite(DemoSite):
    name = "issue site"
    example = "issue-site"
    sources = ("szerencsemix-demo",)

    def advance(self) -> str:
        said = self._post("publish")
        return f"{said['published']} is out" if "published" in said else str(said["error"])


class ListingSite(DemoSite):
    name = "listing site"
    example = "listing-site"
    sources = ("listings-demo", "listings-demo-api", "listings-demo-app")

    def advance(self) -> str:
        said = self._post("_/day")
        return f"it is day {said['day']} there, {said['date']}"


SITES = (IssueSite, ListingSite)


def can_run(source: str) -> bool:
    """Whether all that a source file needs is installed: its converter, and a browser where it wants one."""
    converter = WITH.search(source)
    if converter is not None and not entry_points(group=CONVERTERS, name=converter[1]):
        return False
    return "browser: true" not in source or _has_browser()


def _has_browser() -> bool:
    """Playwright, and the system's Chromium. One of Playwright's own is found when it is started, which takes long."""
    if find_spec("playwright") is None or find_spec("tidemill.scraper") is None:
        return False
    from tidemill.scraper.chromium import find_chromium

    return find_chromium() is not None


def provide_sources(config: Config, can_run: Callable[[str], bool] = can_run) -> None:
    """Put the source files that can run beside the others, each site's with a port that is free here. A file that is
    there stays, unless its port is taken."""
    for site in SITES:
        files = [config.common.sources_dir / f"{name}.yaml" for name in site.sources]
        known = [port for file in files if file.exists() and (port := _port_in(file))]
        # A fixed port could be taken by another demo between here and the start.
        port = next(filter(port_is_free, known), None) or free_port()
        for file in files:
            bundled = (_folder(site) / file.name).read_text(encoding="utf-8")
            wanted = _port_in(file) not in (None, port) if file.exists() else can_run(bundled)
            if wanted:
                file.write_text(HOST.sub(f"127.0.0.1:{port}", bundled), encoding="utf-8")


def find_sites(config: Config, sources: Sources) -> list[DemoSite]:
    """The sites of those sources that are there."""
    found: list[DemoSite] = []
    for site in SITES:
        files = [sources.files[name] for name in site.sources if name in sources]
        port = next((port for file in files if (port := _port_in(file))), None)
        try:
            program = _folder(site) / "serve.py"
        except sample.NoSample:
            continue
        if port is not None:
            found.append(site(config.common.data_dir / site.example, program, port))
    return found


def _folder(site: type[DemoSite]) -> Path:
    return sample.find() / "examples" / site.example


def _port_in(file: Path) -> int | None:
    """The first port of this machine that a source file names."""
    host = HOST.search(file.read_text(encoding="utf-8"))
    return None if host is None else int(host[1])
