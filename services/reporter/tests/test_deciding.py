"""Who gets a report, and who does not, and why."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.config import ConfigError, load_config
from tidemill.reporter.deciding import Wish, decide
from tidemill.reporter.main import SPEC
from tidemill.reporter.report import Missing, Report, SourceChanges, Trust
from tidemill.reporter.send_rules import SendSettings

from .kit import MONDAY
from .rendering_kit import sample

DEADLINE = timedelta(hours=8)
MIDNIGHT = MONDAY.replace(hour=0) + timedelta(days=1)
CHANNELS = """
channels:
  operators:
    mail: {host: mail.example.org, from: tidemill@example.org, to: [anna@example.org]}
  nobody:
    mail: {host: mail.example.org, from: tidemill@example.org}
  chat:
    slack: {url: "${env:SLACK_URL}"}
"""


def report(verdict: str = "trusted", *, new: int = 1, edition: int = 1, **others: Any) -> Report:
    given = {
        "kind": "day",
        "subject": "2026-03-02",
        "day": MONDAY.date(),
        "zone": "UTC",
        "edition": edition,
        "made_from": "x",
        "summary": "1 source.",
        "complete": True,
        "changes": (SourceChanges(source="demo-vaduz", runs=1, state="complete", new=new),),
        "trust": Trust.model_validate({"verdict": verdict}),
    }
    return Report.model_validate({**given, **others})


def rule(**said: Any) -> SendSettings:
    return SendSettings.model_validate({"to": ["operators"], **said})


def reason(told: Report, now: datetime = MIDNIGHT, **said: Any) -> str | None:
    """None where the rule is not for such a report."""
    found = decide([rule(**said)], told, now, DEADLINE)
    return found[0].reason if found else None


@pytest.mark.parametrize(
    ("when", "told", "why"),
    [
        ("always", report(new=0), ""),
        ("if_something_changed", report(), ""),
        ("if_something_changed", report(new=0), "nothing_changed"),
        ("if_something_changed", report("untrusted", new=0), ""),
        ("if_unusual", report(), "nothing_unusual"),
        ("if_unusual", report(anomalies=sample().anomalies[:1]), ""),
        ("if_doubtful", report(), "trusted"),
        ("if_doubtful", report("doubtful"), ""),
        ("if_not_to_be_trusted", report(), "trusted"),
        ("if_not_to_be_trusted", report("doubtful"), "doubtful"),
        ("if_not_to_be_trusted", report("untrusted"), ""),
    ],
)
def test_a_report_goes_when_there_is_a_reason_to_read_it(when: str, told: Report, why: str) -> None:
    assert reason(told, when=when) == why


def test_what_is_no_news_and_what_is_not_over_stays_here() -> None:
    assert reason(report(), MIDNIGHT - timedelta(minutes=1)) == "not_over"
    latest = MIDNIGHT + DEADLINE + timedelta(days=2)
    assert (reason(report(), latest), reason(report(), latest + timedelta(seconds=1))) == ("", "old")
    assert reason(report(), latest + timedelta(days=1), no_older_than=timedelta(days=9)) == ""
    run = report(kind="run", subject="demo-1")
    assert reason(run, MIDNIGHT - timedelta(hours=9), report="run") == ""


def test_a_corrected_edition_goes_by_choice() -> None:
    assert reason(report(edition=2)) == ""
    assert reason(report(edition=2), corrected=False) == "corrected"
    assert reason(report(edition=2, goes_on=True), corrected=False) == ""


def test_a_rule_is_for_one_kind_and_for_its_sources() -> None:
    assert reason(report(), report="run") is None
    assert reason(report(), sources=["demo-*"]) == "" and reason(report(), sources=["paper"]) is None
    missing = (Missing(source="paper", why="did not run"),)
    told = report(missing=missing)
    assert reason(told, sources=["paper"]) == ""
    assert reason(told, sources=["paper"], when="if_something_changed") == "nothing_changed"


def test_who_is_named_by_several_rules_gets_it_once_with_all_that_is_attached() -> None:
    both = {"recipients": ["anna@example.org"]}
    rules = [
        rule(attach=["pdf"], **both),
        rule(attach=["pdf", "xlsx"], **both),
        rule(attach=["csv"], when="if_unusual", **both),
        rule(to=["chat"], when="if_unusual"),
    ]
    assert decide(rules, report(), MIDNIGHT, DEADLINE) == [
        Wish("operators", "anna@example.org", ("pdf", "xlsx")),
        Wish("chat", reason="nothing_unusual"),
    ]
    assert decide(rules[::-1], report(), MIDNIGHT, DEADLINE)[1].attach == ("pdf", "xlsx")


@pytest.mark.parametrize(
    ("written", "key", "why"),
    [
        ("{to: [operator]}", "send[0].to[0]", "there is no channel operator; did you mean operators?"),
        ("{to: [chat, phone]}", "send[0].to[1]", "no channel phone. The section channels has: chat, nobody, operators"),
        ("{to: [nobody]}", "send[0].to[0]", "nobody names nobody; set channels.nobody.mail.to, or recipients here"),
        ("{to: [chat], attach: [pdf]}", "send[0].attach", "no channel of this rule is mail: chat is slack"),
        ("{to: [chat], recipients: [a@b.org]}", "send[0].recipients", "no channel of this rule is mail"),
        ("{to: [operators], attach: [pfd]}", "send[0].attach[0]", "did you mean pdf?"),
        ("{to: [operators], recipients: [A <a@b.org>]}", "send[0].recipients[0]", "is not a mail address"),
        ("{to: [operators], when: sometimes}", "send[0].when", "sometimes is not possible here"),
        ("{to: []}", "send[0].to", "at least 1"),
        ("{report: day}", "send[0].to", "is missing"),
        ("{to: [operators], whom: x}", "send[0].whom", "unknown key"),
    ],
)
def test_a_mistake_is_told_by_file_line_and_key(tmp_path: Path, written: str, key: str, why: str) -> None:
    (tmp_path / "tidemill.yaml").write_text(f"{CHANNELS}reporter:\n  send:\n    - {written}\n")
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path, services={"reporter": SPEC.settings}, environ={})
    told = str(refused.value)
    assert told.startswith("tidemill.yaml:11:") and f"reporter.{key}" in told and why in told, told


def test_rules_that_fit_are_read(tmp_path: Path) -> None:
    (tmp_path / "tidemill.yaml").write_text(
        f"{CHANNELS}reporter:\n  send:\n    - {{to: [nobody], recipients: [a@b.org], attach: [pdf]}}\n"
    )
    found = load_config(tmp_path, services={"reporter": SPEC.settings}, environ={}).service("reporter").send
    assert found[0].recipients == ("a@b.org",) and found[0].when == "always"
