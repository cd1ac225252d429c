"""A real Prometheus scrapes a machine at work: every panel has data, every rule sees what it is about."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.observability.dashboards import DASHBOARDS
from tests.observability.prometheus import SCRAPE_SECONDS, Server, ended, wait_for
from tests.observability.promql import metrics_in
from tests.observability.test_dashboards import RULES
from tests.programs import program
from tidemill.common.servers import free_port
from tidemill.common.testing import new_environment

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
TIDEMILL = Path(sys.executable).parent / "tidemill"
SAMPLE = ROOT / "examples" / "szerencsemix" / "sample.pdf"
SECONDS = 400
ONLY_WHEN_WRONG = {
    "tidemill_dead_lettered_total",
    "tidemill_slow_statements_total",
    "tidemill_deliveries_oldest_seconds",
    'tidemill_http_requests_total{outcome!~"[23]xx"}',
}
"""What rules are about and a machine that is well does not have; a query that names them says what it is then."""
CONFIGURATION = """
backup: {folder: backups}
alerter: {look_every: 2s}
"""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Server]:
    """Beside a machine that has converted papers, fetched files, followed a site, reported and been backed up, each
    twice with a look in between: of a counter's first value nobody knows since when it is."""
    program("prometheus")
    environment = new_environment()
    with TemporaryDirectory(prefix="tidemill-prometheus-") as made:
        folder = Path(made)
        port = free_port()
        (folder / "tidemill.yaml").write_text(f"{CONFIGURATION}health: {{port: {port}}}\n")
        with (folder / "up.txt").open("wb") as said:
            up = subprocess.Popen([TIDEMILL, "up", "--demo"], cwd=folder, env=environment, stdout=said, stderr=said)
        with ended(up):
            wait_for(lambda: "Tidemill is ready" in (folder / "up.txt").read_text(), folder / "up.txt")
            server = Server(folder / "prometheus", [f"127.0.0.1:{port}"])
            with ended(server.process):
                wait_for(lambda: server.numbers('up{job="tidemill"}') == [1], folder / "prometheus" / "log")
                for turn in range(2):
                    work(folder, environment, turn)
                    time.sleep(5 * SCRAPE_SECONDS)
                yield server


def work(folder: Path, environment: dict[str, str], turn: int) -> None:
    def tidemill(*words: str) -> None:
        command = [TIDEMILL, *words]
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False)

    for number in range(2):
        content = SAMPLE.read_bytes() + b"\n%% %d %d\n" % (turn, number)
        (folder / "data" / "inbox" / "szerencsemix" / f"{turn}-{number}.pdf").write_bytes(content)
    for source in ("szerencsemix-demo", "listings-demo"):
        tidemill("run", source, "--wait")
    tidemill("backup", "take", "--scheduled")


def in_this_test(query: str) -> str:
    """With all that Grafana chooses, and in the time that there was."""
    return query.replace("$__rate_interval", "15m").replace("$service", ".*").replace("$source", ".*")


PANELS = [
    pytest.param(query.expr, id=f"{dashboard.uid}: {panel.title}: {query.legend}")
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for query in panel.queries
]
SEEN = sorted({one.text for rule in RULES for one in metrics_in(rule["expr"])} - ONLY_WHEN_WRONG)


def eventually(prometheus: Server, query: str, within: float = 75.0) -> list[float]:
    """Some are measured once a minute."""
    deadline = time.monotonic() + within
    while not (found := prometheus.numbers(query)) and time.monotonic() < deadline:
        time.sleep(1)
    return found


@pytest.mark.parametrize("query", PANELS)
def test_a_panel_has_data(prometheus: Server, query: str) -> None:
    assert eventually(prometheus, in_this_test(query)), f"no data: {in_this_test(query)}"


@pytest.mark.parametrize("selector", SEEN)
def test_what_a_rule_is_about_is_there(prometheus: Server, selector: str) -> None:
    assert eventually(prometheus, selector), f"no data: {selector}"


def test_every_rule_is_evaluated_and_nothing_fires_on_a_machine_that_is_well(prometheus: Server) -> None:
    deadline = time.monotonic() + 60
    while True:
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        if all(rule["health"] == "ok" for rule in rules) or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert len(rules) == len(RULES)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def test_what_happened_is_what_is_shown(prometheus: Server) -> None:
    """Against the papers that came: four and the sample."""
    assert prometheus.numbers('sum(tidemill_documents_total{source="szerencsemix",outcome="converted"})') == [5]
    assert prometheus.numbers("max(tidemill_backup_age_seconds)")[0] < SECONDS
    assert prometheus.numbers("tidemill:services_ready:ratio") == [1]
