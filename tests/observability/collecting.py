"""Programs that take logs and traces, as deploy/compose/observability configures them: the OpenTelemetry collector,
Jaeger, and VictoriaLogs in the place of Loki, whose licence keeps it out of here. Only addresses and folders differ."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.programs import program
from tidemill.common.servers import free_port

CONFIGURED = Path(__file__).parents[2] / "deploy" / "compose" / "observability"
OF_ITSELF = {"telemetry": {"metrics": {"level": "none"}}}
"""A collector's own metrics would have a fixed port."""
PATIENCE_SECONDS = 100.0
T = TypeVar("T")


def wait_for(found: Callable[[], T], within: float = PATIENCE_SECONDS) -> T:
    deadline = time.monotonic() + within
    while not (answer := found()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.1)
    return answer


@contextmanager
def listening(words: list[str], folder: Path, *ports: int) -> Iterator[None]:
    """The program, once it takes connections at these ports."""
    folder.mkdir()
    said = folder / "said.txt"
    with said.open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, said.read_text()[-3000:]
        return all(open_at(port) for port in ports)

    try:
        wait_for(ready)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def open_at(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def configuration(name: str, folder: Path, changes: Callable[[Any], None]) -> Path:
    """The file that Compose gives a program, changed where this place is another."""
    says = yaml.safe_load((CONFIGURED / name).read_text())
    changes(says)
    says["service"] |= OF_ITSELF
    written = folder / name
    written.write_text(yaml.safe_dump(says))
    return written


def ask(url: str, **parameters: str) -> str:
    with urlopen(f"{url}?{urlencode(parameters)}", timeout=10) as answer:
        return str(answer.read(), "utf-8")


@dataclass(frozen=True, slots=True)
class Collector:
    otlp: str
    """Where services send their traces."""
    docker: int
    """Where Docker sends what containers log."""


@contextmanager
def collector(folder: Path, *, logs: int, traces: int) -> Iterator[Collector]:
    """Which passes on to programs at these ports."""
    binary = program("otelcol")
    otlp, docker = free_port(), free_port()

    def here(says: Any) -> None:
        says["receivers"]["otlp"]["protocols"]["http"]["endpoint"] = f"127.0.0.1:{otlp}"
        says["receivers"]["fluentforward"]["endpoint"] = f"127.0.0.1:{docker}"
        says["exporters"]["otlp/jaeger"]["endpoint"] = f"127.0.0.1:{traces}"
        says["exporters"]["otlphttp/loki"]["endpoint"] = f"http://127.0.0.1:{logs}/insert/opentelemetry"

    written = configuration("collector.yaml", folder, here)
    with listening([binary, "--config", str(written)], folder / "collector", otlp, docker):
        yield Collector(f"http://127.0.0.1:{otlp}", docker)


@dataclass(frozen=True, slots=True)
class Logs:
    port: int

    def find(self, query: str) -> list[dict[str, str]]:
        """By LogsQL, in order of their time."""
        said = ask(f"http://127.0.0.1:{self.port}/select/logsql/query", query=f"{query} | sort by (_time)")
        return [json.loads(line) for line in said.splitlines()]


@contextmanager
def victoria_logs(folder: Path) -> Iterator[Logs]:
    port = free_port()
    words = [program("victoria-logs"), f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'logs'}"]
    with listening(words, folder / "victoria-logs", port):
        yield Logs(port)


Told = tuple[str, str | None]
"""The service of a span, and the name of the span above it."""


@dataclass(frozen=True, slots=True)
class Jaeger:
    otlp: int
    query: int

    def find(self, service: str, tags: Mapping[str, str]) -> list[dict[str, Told]]:
        """Traces with a span of the service that has these tags: each span by its name."""
        told = ask(f"http://127.0.0.1:{self.query}/api/traces", service=service, tags=json.dumps(tags), lookback="1h")
        return [_spans(trace) for trace in json.loads(told)["data"] or ()]


def _spans(trace: Any) -> dict[str, Told]:
    names = {span["spanID"]: span["operationName"] for span in trace["spans"]}
    services = {key: process["serviceName"] for key, process in trace["processes"].items()}
    above = {span["spanID"]: span["references"][0]["spanID"] for span in trace["spans"] if span["references"]}
    return {
        span["operationName"]: (services[span["processID"]], names.get(above.get(span["spanID"], "")))
        for span in trace["spans"]
    }


@contextmanager
def jaeger(folder: Path) -> Iterator[Jaeger]:
    binary = program("jaeger")
    opened = Jaeger(free_port(), free_port())

    def here(says: Any) -> None:
        says["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"127.0.0.1:{opened.otlp}"
        says["extensions"]["jaeger_query"] |= {
            "http": {"endpoint": f"127.0.0.1:{opened.query}"},
            "grpc": {"endpoint": f"127.0.0.1:{free_port()}"},
        }
        kept = says["extensions"]["jaeger_storage"]["backends"]["kept"]["badger"]
        kept["directories"] = {"keys": str(folder / "keys"), "values": str(folder / "values")}

    written = configuration("jaeger.yaml", folder, here)
    with listening([binary, "--config", str(written)], folder / "jaeger", opened.otlp, opened.query):
        yield opened


def send_as_docker(port: int, lines: Iterable[tuple[str, str]]) -> None:
    """What its fluentd driver makes of a container and a line that it writes to stderr (compose.logs.yaml)."""
    sent = b""
    for container, line in lines:
        record = {"container_id": "0" * 64, "container_name": f"/{container}", "source": "stderr", "log": line}
        sent += packed([container, int(time.time()), record])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)


def packed(value: Any) -> bytes:
    """In MessagePack, as far as needed here."""
    match value:
        case int():
            return b"\xce" + value.to_bytes(4, "big")
        case str():
            encoded = value.encode()
            return b"\xdb" + len(encoded).to_bytes(4, "big") + encoded
        case list():
            return bytes([0x90 + len(value)]) + b"".join(map(packed, value))
        case dict():
            return bytes([0x80 + len(value)]) + b"".join(packed(one) for pair in value.items() for one in pair)
    raise TypeError(value)
