"""A replica of the API and the pages of asunnot.oikotie.fi, as public programs that read it describe them, to try
sources/oikotie.yaml on without asking the real site: python examples/oikotie-replica/serve.py

It is written from those descriptions, holds nothing of the site, and its homes are invented. Only this machine can
reach it. The API wants the three tokens of a page as headers, and forgets them after a while.

    GET  /_/truth?day=N     the homes of that day, with all fields
    POST /_/day/N           from now on it is that day
    POST /_/expire          the tokens that were given out hold no more
"""

import argparse
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from homes import CITIES, RENT, SALE, gone_by, on
from pages import card, detail, removed, shell

PORT = 8767
MOST = 24
"""Cards of an answer."""
USES = 200
"""Requests for which tokens hold."""
TOKENS = {"api-token": "OTA-token", "loaded": "OTA-loaded", "cuid": "OTA-cuid"}
"""The `meta` of a page, and the header that it is sent as."""
HTML, JSON = "text/html; charset=utf-8", "application/json"


class Replica(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, *, uses: int = USES) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.day = 0
        self.uses = uses
        self.views = 0
        self.lock = threading.Lock()
        self._known: dict[tuple[str, ...], int] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def give_tokens(self) -> dict[str, str]:
        tokens = {name: secrets.token_hex(16) for name in TOKENS}
        with self.lock:
            self._known[tuple(tokens.values())] = self.uses
        return tokens

    def takes(self, tokens: tuple[str, ...]) -> bool:
        with self.lock:
            left = self._known.get(tokens, 0)
            self._known[tokens] = left - 1
            return left > 0

    def expire(self) -> None:
        with self.lock:
            self._known.clear()

    def view(self) -> int:
        with self.lock:
            self.views += 1
            return self.views


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Head and body are two writes; with it the second waits for 40 ms.
    server: Replica

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path.strip("/").split("/"):
            case ["robots.txt"]:
                self._send(200, "User-agent: *\nDisallow: /_/\nDisallow: /omat/\n", "text/plain")
            case ["myytavat-asunnot" | "vuokra-asunnot"]:
                self._send(200, shell(self.server.give_tokens(), len(on(self.server.day))), HTML)
            case ["api", "search"]:
                self._search(query)
            case ["myytavat-asunnot" | "vuokra-asunnot", _, number] if number.isdecimal():
                self._home(int(number), parts.path)
            case ["_", "truth"]:
                homes = on(int(query.get("day", self.server.day)))
                self._send_json(200, {str(home.id): home.facts() for home in homes.values()})
            case _:
                self._send(404, "<!doctype html><title>Sivua ei löydy</title>", HTML)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path.strip("/").split("/"):
            case ["_", "day", number] if number.isdecimal():
                self.server.day = int(number)
            case ["_", "expire"]:
                self.server.expire()
            case _:
                self._send_json(404, {"error": "POST /_/day/N or /_/expire"})
                return
        self._send_json(200, {"day": self.server.day})

    def _search(self, query: dict[str, str]) -> None:
        tokens = tuple(self.headers.get(header, "") for header in TOKENS.values())
        if not all(tokens):
            self._send_json(403, {"error": "Forbidden"})
            return
        if not self.server.takes(tokens):
            self._send_json(401, {"error": "Unauthorized"})
            return
        try:
            kind, offset = int(query.get("cardType", SALE)), int(query.get("offset", 0))
            limit = min(MOST, int(query.get("limit", MOST)))
            places = [tuple(place) for place in json.loads(query.get("locations", "[]"))]
        except (ValueError, TypeError):
            self._send_json(400, {"error": "Bad Request"})
            return
        cities = [name for name, number in CITIES.items() if (number, 6, name) in places]
        homes = [home for home in on(self.server.day).values() if home.city in cities and home.kind == kind]
        homes.sort(key=lambda home: (home.published, home.id), reverse=True)
        cards = [card(home, self.server.host) for home in homes[offset : offset + limit]]
        # One of the cities answers in the second list, as the site does at times.
        first, second = ([], cards) if cities == ["Espoo"] else (cards, [])
        self._send_json(200, {"found": len(homes), "start": offset, "cards": first, "secondaryCards": second})

    def _home(self, number: int, path: str) -> None:
        home, gone = on(self.server.day).get(number), gone_by(self.server.day).get(number)
        if home is not None and home.path == path:
            self._send(200, detail(home, self.server.host, self.server.view()), HTML)
        elif gone is not None:
            self._send(200, removed(gone), HTML)
        else:
            self._send(404, "<!doctype html><title>Sivua ei löydy</title>", HTML)

    def _send_json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False), JSON)

    def _send(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nobody reads it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT, help="0 takes a free one")
    parser.add_argument("--uses", type=int, default=USES, help="requests for which tokens hold")
    arguments = parser.parse_args()
    with Replica(arguments.port, uses=arguments.uses) as replica:
        kinds = {SALE: "for sale", RENT: "to let"}
        counts = {said: sum(home.kind == kind for home in on(0).values()) for kind, said in kinds.items()}
        print(f"http://{replica.host}/myytavat-asunnot has {counts}", flush=True)
        replica.serve_forever()


if __name__ == "__main__":
    main()
