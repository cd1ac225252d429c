"""Dashboards and rules: they are current, name only what there is, and every rule leads to a page and has its test."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.observability.__main__ import FOLDER, outdated
from deploy.observability.dashboards import DASHBOARDS
from deploy.observability.panels import COLUMNS
from tests.observability.promql import grouped_by, metrics_in
from tests.programs import program
from tidemill.common.telemetry.metrics import METRICS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "observability" / "prometheus"
SCRAPED = {"job", "instance"}
OF_OTHERS: dict[str, set[str]] = {
    "up": SCRAPED,
    "process_cpu_seconds_total": SCRAPED,
    "process_resident_memory_bytes": SCRAPED,
    "network_bytes_total": SCRAPED | {"direction"},
    "network_errors_total": SCRAPED | {"direction"},
}


def rules() -> Iterator[dict[str, Any]]:
    for path in sorted((PROMETHEUS / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


RULES = list(rules())
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"]: grouped_by(rule["expr"]) - {"le"} for rule in RULES if "record" in rule}
QUERIES = [
    *(
        pytest.param(query.expr, id=f"{dashboard.uid} {panel.title}")
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        for query in panel.queries
    ),
    *(pytest.param(rule["expr"], id=rule.get("alert") or rule["record"]) for rule in RULES),
    *(
        pytest.param(f"max by ({variable.name}) ({variable.metric})", id=f"{dashboard.uid} ${variable.name}")
        for dashboard in DASHBOARDS
        for variable in dashboard.variables
    ),
]


def labels_of(metric: str) -> set[str] | None:
    """None for what nobody exposes."""
    if metric in OF_OTHERS:
        return OF_OTHERS[metric]
    if metric in RECORDED:
        return RECORDED[metric]
    if metric in METRICS:
        return {*METRICS[metric].labels, "service", *SCRAPED} if METRICS[metric].kind != "histogram" else None
    base, _, suffix = metric.rpartition("_")
    if suffix in ("bucket", "sum", "count") and base in METRICS and METRICS[base].kind == "histogram":
        return {*METRICS[base].labels, "service", *SCRAPED, *(["le"] if suffix == "bucket" else [])}
    return None


def complaints(query: str) -> list[str]:
    named = metrics_in(query)
    wrong = [] if named else ["names no metric"]
    known: set[str] = set()
    for one in named:
        labels = labels_of(one.metric)
        if labels is None:
            wrong.append(f"{one.metric} is exposed by nobody")
            continue
        known |= labels
        wrong += [f"{one.metric} has no label {label}" for label in sorted(one.labels - labels)]
    return wrong + [f"groups by {label}, which none has" for label in sorted(grouped_by(query) - known)]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_that_there_are_with_labels_that_they_have(query: str) -> None:
    assert complaints(query) == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("rate(tidemill_handeld_total[5m])", ["tidemill_handeld_total is exposed by nobody"]),
        ('sum(tidemill_handled_total{source="a"})', ["tidemill_handled_total has no label source"]),
        ("sum by (source) (tidemill_handled_total)", ["groups by source, which none has"]),
        ("max(tidemill_work_seconds)", ["tidemill_work_seconds is exposed by nobody"]),
        ("sum by (le) (tidemill_work_seconds_sum)", ["groups by le, which none has"]),
        ("max(tidemill:unheard:of)", ["tidemill:unheard:of is exposed by nobody"]),
        ("vector(1)", ["names no metric"]),
        ("histogram_quantile(0.9, sum by (le) (rate(tidemill_work_seconds_bucket[5m]))) > 1e3 or vector(0)", []),
    ],
)
def test_what_a_query_may_get_wrong_is_found(query: str, wrong: list[str]) -> None:
    assert complaints(query) == wrong


def test_the_files_are_those_that_the_code_makes() -> None:
    assert outdated() == []


def test_dashboards_are_told_apart_and_their_panels_lie_side_by_side() -> None:
    files = [json.loads(path.read_text()) for path in FOLDER.glob("*.json")]
    assert len({one["uid"] for one in files}) == len({one["title"] for one in files}) == len(files) == 6
    for one in files:
        assert re.fullmatch(r"tidemill-[a-z]+", one["uid"]) and one["templating"]["list"][0]["name"] == "datasource"
        taken = [
            (x, y)
            for panel in one["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < COLUMNS
        assert len({panel["id"] for panel in one["panels"]}) == len(one["panels"])
        targets = [target for panel in one["panels"] for target in panel.get("targets", ())]
        assert targets and all(target["datasource"]["uid"] == "${datasource}" for target in targets)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_leads_to_a_page(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "error", "warning")
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.is_file() and page.parent == ROOT / "docs" / "runbooks"
    assert rule["annotations"]["summary"]


def test_every_alert_is_tried_quiet_and_firing_and_every_record_for_its_value() -> None:
    tried = yaml.safe_load((PROMETHEUS / "tests" / "rules.yaml").read_text())["tests"]
    cases = [case for test in tried for case in test.get("alert_rule_test", ())]
    for firing in (True, False):
        assert {case["alertname"] for case in cases if bool(case["exp_alerts"]) is firing} == {
            rule["alert"] for rule in ALERTS
        }
    asked = {case["expr"] for test in tried for case in test.get("promql_expr_test", ())}
    assert set(RECORDED) <= asked


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yaml"),
        ("check", "rules", "rules/records.yaml", "rules/alerts.yaml"),
        ("test", "rules", "tests/rules.yaml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(words: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *words], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_selector_is_taken_whole() -> None:
    query = (
        'sum by (le) (rate(a_bucket{le="60.0",x!~"[23]xx"}[5m])) / 3 > 1e3 and max(b[$__rate_interval]) or vector(0)'
    )
    assert [one.text for one in metrics_in(query)] == ['a_bucket{le="60.0",x!~"[23]xx"}', "b"]
    assert metrics_in(query)[0].labels == {"le", "x"}
