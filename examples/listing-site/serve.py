"""A property portal on this machine, to see Tidemill follow homes from day to day:
python examples/listing-site/serve.py

Only this machine can reach it. The homes are invented; they stand at real addresses (© OpenStreetMap contributors,
ODbL 1.0, see osm/LICENCE). Each request is a line in access.jsonl of its folder. What it answers besides its pages:

    GET  /_/day                     which day it is
    POST /_/day                     the next day; {"advance": 3} or {"day": 7} for another one
    GET  /_/truth?day=2&seen=0,1    per city what is new, changed, unchanged, gone, reappeared on a day to whoever
                                    looked on the days in `seen` (all before, unless said otherwise), and all fields
    POST /_/faults                  {"mode": "none" | "mild" | "harsh", "hang": seconds, "always": [paths that fail]}
    POST /_/listed                  {"share": 0.5}: searches know of so many homes; their pages are there
    POST /_/crawl-delay             {"seconds": 2}
"""

import argparse
import json
import math
import secrets
import threading
import time
import urllib.request
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from faults import MODES, RETRY_SECONDS, Faults
from frame import Look
from market import Market, day_of, truth
from portal import WALL, Asked, Reply, answer, empty_search, fault_address, is_search, may_fail

PORT = 8766
PORT_FILE = ".port"
STATE_FILE = "state.json"
LOG_FILE = "access.jsonl"
LAST_DAY = 3_000


class ListingSite(ThreadingHTTPServer):
    """Its day is kept in a folder, and what was asked of it."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, folder: Path, port: int, *, seed: int | None = None) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        kept = self._kept()
        same = seed is None or seed == kept.get("seed")
        self.seed = int(kept.get("seed", 1) if seed is None else seed)
        self.day = int(kept.get("day", 0)) if same else 0
        self.market = Market(self.seed)
        self.faults = Faults(self.seed)
        self.hang_seconds = 10.0
        self.crawl_delay = 0.0
        self.listed = 1.0
        self.lock = threading.Lock()
        self.views: Counter[str] = Counter()
        self._log = (folder / LOG_FILE).open("a", encoding="utf-8")
        self.go_to(self.day)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def _kept(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / STATE_FILE).read_text()))
        except FileNotFoundError:
            return {}

    def go_to(self, day: int) -> None:
        with self.lock:
            self.day = min(max(0, day), LAST_DAY)
            draft = self.folder / f".{STATE_FILE}"
            draft.write_text(json.dumps({"seed": self.seed, "day": self.day}))
            draft.replace(self.folder / STATE_FILE)

    def state(self) -> dict[str, Any]:
        return {
            "day": self.day,
            "date": day_of(self.day).isoformat(),
            "seed": self.seed,
            "faults": self.faults.mode,
            "crawl_delay": self.crawl_delay,
            "listed": self.listed,
        }

    def look(self, path: str) -> Look:
        with self.lock:
            self.views[path] += 1
            return Look(sum(map(ord, path)) * 3 + self.views[path], secrets.token_hex(16))

    def reply(self, asked: Asked) -> tuple[Reply, str]:
        """The answer, and the fault that it is to suffer."""
        with self.lock:
            fault = self.faults.next(self.day, fault_address(asked.url), search=is_search(asked.url)) \
                if may_fail(asked.url) else ""  # fmt: skip
            reply = answer(self.market, self.day, asked, crawl_delay=self.crawl_delay, listed=self.listed)
        match fault:
            case "too-many":
                return Reply(429, b"", "text/plain", {"Retry-After": str(RETRY_SECONDS)}), fault
            case "too-many-date":
                until = math.ceil(time.time() + RETRY_SECONDS)
                return Reply(429, b"", "text/plain", {"Retry-After": formatdate(until, usegmt=True)}), fault
            case "unavailable" | "error":
                return Reply(503 if fault == "unavailable" else 500, b"", "text/plain"), fault
            case "wall":
                return Reply(200, WALL.encode()), fault
            case "empty":
                return empty_search(asked), fault
        return reply, fault

    def note(self, entry: dict[str, Any]) -> None:
        with self.lock:
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Head and body are two writes; with it the second waits for 40 ms.
    server: ListingSite
    timeout = 120

    def do_GET(self) -> None:
        if self.path.startswith("/_/"):
            self._told()
            return
        begun = time.time()
        asked = Asked(
            self.path,
            self.server.look(urlsplit(self.path).path),
            self.headers.get("If-None-Match", ""),
            self.headers.get("If-Modified-Since", ""),
        )
        reply, fault = self.server.reply(asked)
        entry = {"t": round(begun, 6), "method": "GET", "path": self.path, "status": reply.status, "bytes": 0,
                 "agent": self.headers.get("User-Agent", "")}  # fmt: skip
        if fault:
            entry["fault"] = fault
        if "Retry-After" in reply.headers:
            entry["retry_after"] = reply.headers["Retry-After"]
        try:
            entry["bytes"] = self._misbehave(reply, fault) if fault else self._send(reply)
        except OSError:
            entry["left"] = True
            self.close_connection = True
        finally:
            if fault == "hang":
                entry["status"] = 0
            self.server.note(entry)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            wanted = dict(json.loads(body or b"{}"))
            self._told_to(wanted)
        except (ValueError, TypeError, KeyError) as wrong:
            self._send_json(400, {"error": str(wrong)})

    def _told(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if parts.path == "/_/day":
                self._send_json(200, self.server.state())
            elif parts.path == "/_/truth":
                day = int(query.get("day", self.server.day))
                seen = [int(each) for each in query["seen"].split(",")] if "seen" in query else None
                if not 0 <= day <= LAST_DAY or (seen and not 0 <= min(seen) <= max(seen) < day):
                    raise ValueError(f"days are 0 to {LAST_DAY}, and those seen lie before")
                with self.server.lock:
                    found = truth(self.server.market, day, seen, self.server.host)
                self._send_json(200, found)
            else:
                self._send_json(404, {"error": "GET /_/day or /_/truth"})
        except ValueError as wrong:
            self._send_json(400, {"error": str(wrong)})

    def _told_to(self, wanted: dict[str, Any]) -> None:
        match self.path:
            case "/_/day":
                self.server.go_to(int(wanted.get("day", self.server.day + int(wanted.get("advance", 1)))))
            case "/_/faults" if wanted.get("mode") in MODES:
                with self.server.lock:
                    self.server.faults.switch(wanted["mode"])
                    self.server.hang_seconds = float(wanted.get("hang", self.server.hang_seconds))
                    self.server.faults.always = frozenset(wanted.get("always", ()))
            case "/_/listed":
                self.server.listed = min(max(0.0, float(wanted["share"])), 1.0)
            case "/_/crawl-delay":
                self.server.crawl_delay = float(wanted["seconds"])
            case _:
                self._send_json(
                    404, {"error": f"POST /_/day, /_/faults (mode: {', '.join(MODES)}), /_/listed or /_/crawl-delay"}
                )
                return
        self._send_json(200, self.server.state())

    def _misbehave(self, reply: Reply, fault: str) -> int:
        if fault == "hang":
            time.sleep(self.server.hang_seconds)
            self.close_connection = True
            return 0
        if fault == "truncated" and reply.body:
            self.close_connection = True
            return self._send(reply, part=len(reply.body) // 2)
        if fault == "slow":
            return self._send(reply, pause=self.server.hang_seconds / 50)
        return self._send(reply)

    def _send_json(self, status: int, value: dict[str, Any]) -> None:
        self._send(Reply(status, json.dumps(value, ensure_ascii=False).encode() + b"\n", "application/json"))

    def _send(self, reply: Reply, *, part: int | None = None, pause: float = 0) -> int:
        """How many bytes of the body were sent."""
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
            self.send_header(name, value)
        if reply.status != 304:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        body = reply.body if part is None else reply.body[:part]
        pieces = 8 if pause else 1
        size = -(-len(body) // pieces) or 1
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            time.sleep(pause)
        return len(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """access.jsonl has it."""


def ask(folder: Path, port: int | None, path: str, post: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the site of this folder answers."""
    if port is None:
        kept = folder / PORT_FILE
        port = int(kept.read_text()) if kept.exists() else PORT
    body = None if post is None else json.dumps(post).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)) as told:
        return dict(json.load(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help=f"{PORT} unless said otherwise; 0 takes a free one")
    parser.add_argument("--folder", type=Path, default=Path("data/listing-site"), help="where its day and log are kept")
    parser.add_argument("--seed", type=int, help="other homes; 1 unless said otherwise")
    parser.add_argument("--faults", choices=MODES, default="none", help="how it misbehaves")
    parser.add_argument("--hang", type=float, default=10, metavar="SECONDS", help="how long it hangs, where it does")
    parser.add_argument("--crawl-delay", type=float, default=0, metavar="SECONDS", help="what robots.txt asks for")
    parser.add_argument("--advance", type=int, nargs="?", const=1, metavar="DAYS",
                        help="have the site of that folder go on by so many days")  # fmt: skip
    parser.add_argument("--truth", type=int, nargs="?", const=-1, metavar="DAY",
                        help="print what that site knows of a day, or of today")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.advance is not None:
        print(json.dumps(ask(arguments.folder, arguments.port, "/_/day", {"advance": arguments.advance})))
    elif arguments.truth is not None:
        day = "" if arguments.truth < 0 else f"?day={arguments.truth}"
        print(json.dumps(ask(arguments.folder, arguments.port, f"/_/truth{day}"), ensure_ascii=False, indent=1))
    else:
        serve(arguments)


def serve(arguments: argparse.Namespace) -> None:
    port = PORT if arguments.port is None else arguments.port
    with ListingSite(arguments.folder, port, seed=arguments.seed) as site:
        site.faults.switch(arguments.faults)
        site.hang_seconds, site.crawl_delay = arguments.hang, arguments.crawl_delay
        (arguments.folder / PORT_FILE).write_text(str(site.server_address[1]))
        print(f"http://{site.host}/ is on day {site.day} ({day_of(site.day)})", flush=True)
        site.serve_forever()


if __name__ == "__main__":
    main()
