"""A small web site that publishes issues, to see Tidemill fetch them: python examples/issue-site/serve.py

Only this machine can reach it. It behaves as a good site does (ETag, Last-Modified, ranges, robots.txt, checksums),
and misbehaves when asked to. What it says of itself: http://127.0.0.1:8765/
"""

import argparse
import hashlib
import json
import re
import threading
import time
import urllib.request
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from issues import ISSUES, make_issue

PORT = 8765
PORT_FILE = ".port"
FAULTS = {
    "unavailable": "503 for every file",
    "too-many": "429, and Retry-After: 3",
    "html": "a page in place of every PDF",
    "truncated": "half of what Content-Length announces",
    "wrong-range": "a range from another place than asked for",
    "slow": "1 KB a second",
}
HOME = """<!doctype html><title>Issue site</title>
<h1>Issue site</h1>
<p>Publishes a betting paper for <a href="/issues/">whoever asks</a>: {published} of {all} issues are out.</p>
<pre>
curl -X POST http://{host}/publish          # the next issue, with moved odds
curl -X POST http://{host}/fault/html/3     # the next 3 answers misbehave
</pre>
<p>Faults: {faults}. <code>/fault/none/0</code> ends them.</p>
"""


class IssueSite(ThreadingHTTPServer):
    """Its issues are the PDFs of a folder, so that they are still there after a restart."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.folder = folder
        self.fault = ""
        self.fault_times = 0
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        if not self.published():
            self.publish()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def published(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("*.pdf"), reverse=True)

    def publish(self) -> str | None:
        """The name of the next issue, which is out now; None when all are."""
        with self.lock:
            number = len(self.published())
            if number >= ISSUES:
                return None
            name, content = make_issue(number)
            draft = self.folder / f".{name}"
            draft.write_bytes(content)
            draft.replace(self.folder / name)
            return name

    def next_fault(self) -> str:
        with self.lock:
            if self.fault_times <= 0:
                return ""
            self.fault_times -= 1
            return self.fault


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: IssueSite

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path == "/":
            self._home()
        elif path == "/robots.txt":
            self._send(200, b"User-agent: *\nDisallow: /publish\nDisallow: /fault\n", "text/plain")
        elif path == "/issues/":
            self._index()
        elif path.startswith("/issues/"):
            self._issue(path.rpartition("/")[2])
        else:
            self._send(404, b"<!doctype html><title>Not found</title>\n", "text/html")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path.strip("/").split("/"):
            case ["publish"]:
                name = self.server.publish()
                if name is None:
                    self._send_json(409, {"error": f"all {ISSUES} issues are out"})
                else:
                    self._send_json(201, {"published": name})
            case ["fault", kind, times] if (kind in FAULTS or kind == "none") and times.isdigit():
                self.server.fault, self.server.fault_times = kind, 0 if kind == "none" else int(times)
                self._send_json(200, {"fault": kind, "times": self.server.fault_times})
            case _:
                self._send_json(404, {"error": f"POST /publish or /fault/KIND/TIMES with one of {', '.join(FAULTS)}"})

    def _home(self) -> None:
        faults = "; ".join(f"<b>{kind}</b>: {meaning}" for kind, meaning in FAULTS.items())
        page = HOME.format(published=len(self.server.published()), all=ISSUES, host=self.server.host, faults=faults)
        self._send(200, page.encode(), "text/html; charset=utf-8")

    def _index(self) -> None:
        links = "".join(f'<li><a href="{each.name}">{each.stem}</a>\n' for each in self.server.published())
        page = f"<!doctype html><title>Issues</title><h1>Issues</h1>\n<ul>\n{links}</ul>\n"
        self._send_with_validators(page.encode(), "text/html; charset=utf-8", None)

    def _issue(self, name: str) -> None:
        file = self.server.folder / name.removesuffix(".sha256")
        if file not in self.server.published():
            self._send(404, b"<!doctype html><title>Not found</title>\n", "text/html")
            return
        content = file.read_bytes()
        if name.endswith(".sha256"):
            self._send(200, f"{hashlib.sha256(content).hexdigest()}  {file.name}\n".encode(), "text/plain")
        else:
            self._send_with_validators(content, "application/pdf", file.stat().st_mtime, self.server.next_fault())

    def _send_with_validators(self, content: bytes, kind: str, modified: float | None, fault: str = "") -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if modified is not None:
            headers["Last-Modified"] = formatdate(modified, usegmt=True)
        wanted = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        if fault in ("unavailable", "too-many", "html"):
            self._misbehave(fault)
        elif self.headers.get("If-None-Match") == etag:
            self._send(304, b"", kind, headers)
        elif wanted and self.headers.get("If-Range", etag) == etag:
            self._send_range(content, int(wanted[1]) // (2 if fault == "wrong-range" else 1), kind, headers, fault)
        else:
            self._send(200, content, kind, headers, fault)

    def _send_range(self, content: bytes, first: int, kind: str, headers: dict[str, str], fault: str) -> None:
        if first >= len(content):
            self._send(416, b"", kind, {"Content-Range": f"bytes */{len(content)}"})
            return
        told = {**headers, "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        self._send(206, content[first:], kind, told, fault)

    def _misbehave(self, fault: str) -> None:
        match fault:
            case "unavailable":
                self._send(503, b"", "text/plain")
            case "too-many":
                self._send(429, b"", "text/plain", {"Retry-After": "3"})
            case _:
                self._send(200, b"<!doctype html><title>Please log in</title>\n", "text/html")

    def _send_json(self, status: int, answer: dict[str, object]) -> None:
        self._send(status, json.dumps(answer).encode() + b"\n", "application/json")

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None, fault: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "truncated":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault == "slow":
            for start in range(0, len(body), 1000):
                self.wfile.write(body[start : start + 1000])
                time.sleep(1)
        else:
            self.wfile.write(body)


def port_of(folder: Path) -> int:
    """Where the site of this folder listens, or did last."""
    try:
        return int((folder / PORT_FILE).read_text())
    except FileNotFoundError:
        return PORT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help=f"{PORT} unless said otherwise; 0 takes a free one")
    parser.add_argument("--folder", type=Path, default=Path("data/issue-site"), help="where its issues are kept")
    parser.add_argument("--publish", action="store_true", help="have the site of that folder publish its next issue")
    arguments = parser.parse_args()
    if arguments.publish:
        port = arguments.port or port_of(arguments.folder)
        ask = urllib.request.Request(f"http://127.0.0.1:{port}/publish", method="POST")
        with urllib.request.urlopen(ask) as answer:
            print(answer.read().decode(), end="")
        return
    with IssueSite(arguments.folder, PORT if arguments.port is None else arguments.port) as site:
        (arguments.folder / PORT_FILE).write_text(str(site.server_address[1]))
        print(f"http://{site.host}/ publishes {', '.join(each.name for each in site.published())}", flush=True)
        site.serve_forever()


if __name__ == "__main__":
    main()
