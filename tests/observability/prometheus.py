"""A real Prometheus, with the configuration and the rules that we ship."""

import json
import math
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.observability.test_dashboards import PROMETHEUS
from tests.programs import program
from tidemill.common.servers import free_port

SCRAPE_SECONDS = 2


class Server:
    """Prometheus with the files that we ship, only faster."""

    def __init__(self, folder: Path, targets: Sequence[str], hurry: Mapping[str, str] | None = None) -> None:
        """`hurry`: what rules say, and what they are to say instead."""
        self.url = f"http://127.0.0.1:{free_port()}"
        shutil.copytree(PROMETHEUS, folder)
        config = (folder / "prometheus.yaml").read_text()
        hurried = re.sub(r"(scrape|evaluation)_interval: 15s", rf"\1_interval: {SCRAPE_SECONDS}s", config)
        assert hurried != config
        (folder / "prometheus.yaml").write_text(hurried)
        (folder / "targets" / "one-machine.yaml").write_text(json.dumps([{"targets": list(targets)}]))
        for path in (folder / "rules").glob("*.yaml"):
            rules = path.read_text().replace("interval: 30s", f"interval: {SCRAPE_SECONDS}s")
            for slow, fast in (hurry or {}).items():
                rules = rules.replace(slow, fast)
            path.write_text(rules)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **parameters: str) -> Any:
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def alerts(self) -> dict[str, list[dict[str, Any]]]:
        """Those that are pending or fire, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self.ask("alerts")["alerts"]:
            found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def numbers(self, query: str) -> list[float]:
        result = self.ask("query", query=query)["result"]
        values = (float(series["value"][1]) for series in result)
        return [value for value in values if not math.isnan(value)]


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(true: Callable[[], Any], said: Path, within: float = 240) -> None:
    """Until it is; what the program at work has said is shown else."""
    deadline = time.monotonic() + within
    while True:
        try:
            if true():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, said.read_text()[-3000:]
        time.sleep(0.2)
