"""Rules as they are written: those that ship, changed, switched off, new, and wrong."""

from pathlib import Path

import pytest

from tidemill.alerter.measures.declared import MEASURES
from tidemill.alerter.measures.shown import GAUGES
from tidemill.alerter.settings import AlerterSettings
from tidemill.alerter.shipped import shipped_rules
from tidemill.alerter.signals import EVENT_LABELS, EVENTS
from tidemill.common.config import Config, ConfigError, load_config


def loaded(folder: Path, text: str) -> Config:
    (folder / "tidemill.yaml").write_text(text)
    return load_config(folder, services={"alerter": AlerterSettings}, environ={})


def section(folder: Path, text: str) -> AlerterSettings:
    settings = loaded(folder, text).service("alerter")
    assert isinstance(settings, AlerterSettings)
    return settings


def test_those_that_ship_are_whole(tmp_path: Path) -> None:
    settings = section(tmp_path, "")
    assert settings.active_rules().keys() == shipped_rules().keys()
    assert settings.inhibitions()


def test_every_measure_has_a_rule_that_ships_or_is_shown_to_prometheus() -> None:
    ruled = {rule.measure for rule in shipped_rules().values() if rule.measure}
    assert ruled | GAUGES.keys() == MEASURES.keys()
    assert {event.__name__ for event in EVENTS} == EVENT_LABELS.keys()


def test_a_rule_is_changed_in_one_key_and_switched_off_by_name(tmp_path: Path) -> None:
    text = """
alerter:
  rules:
    run_failed: {severity: critical}
    queue_growing: {enabled: false}
    my_queue:
      measure: queue_length
      where: {consumer: [converter]}
      above: 50
      for: 2m
      summary: "{value} documents wait"
"""
    rules = section(tmp_path, text).active_rules()
    assert rules["run_failed"].severity == "critical"
    assert rules["run_failed"].summary == shipped_rules()["run_failed"].summary
    assert "queue_growing" not in rules and rules["my_queue"].above == 50


WRONG = {
    "rules:\n    mine: {severity: info}": ":3:5: alerter.rules.mine: a rule has a condition",
    "rules:\n    run_failed: {severity: bad}": ":3:18: alerter.rules.run_failed.severity: bad is not possible here",
    "rules:\n    run_failed: {evnt: x}": ":3:18: alerter.rules.run_failed.evnt: unknown key; did you mean event?",
    "rules:\n    run_failed: {event: RunFinish}": "alerter.rules.run_failed.event: RunFinish is not possible here; did",
    "rules:\n    run_failed: {summary: '{sauce}'}": ":3:18: alerter.rules.run_failed.summary: there is no {sauce} here",
    "rules:\n    run_failed: {by: [host]}": "alerter.rules.run_failed.by: host is not possible here",
    "rules:\n    queue_old: {below: 3}": "alerter.rules.queue_old: a measured value has a limit",
    "rules:\n    run_failed: {for: 5}": "alerter.rules.run_failed.for: 5 has no unit",
    "routes: [{match: [paper]}]": "alerter.routes[0].match: 'paper' says of no label",
    "maintenance: {weekly: {begins: 0 2 * * 7}}": "alerter.maintenance.weekly: a window that comes again has both",
    "maintenance: {weekly: {days: [2026-02-30]}}": "is no day",
    "maintenance: {weekly: {days: [2026-02-20], zone: Mars}}": "alerter.maintenance.weekly.zone: Mars is no IANA",
    "inhibit: {mine: {when: [rule=a]}}": "alerter.inhibit.mine: is missing; without it, every alert would be a",
}


@pytest.mark.parametrize("written", WRONG)
def test_what_is_wrong_is_told_with_file_line_and_key(written: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, f"alerter:\n  {written}\n")
    assert f"tidemill.yaml:{2 if 'rules' not in written else 3}" in str(raised.value)
    assert WRONG[written] in str(raised.value)
