"""Every rule that ships has its page, and `docs/alerts.md` names all there is."""

import re
from pathlib import Path

import pytest

from tidemill.alerter.measures.declared import MEASURES
from tidemill.alerter.shipped import shipped_rules
from tidemill.alerter.signals import EVENT_LABELS

DOCS = Path(__file__).resolve().parents[3] / "docs"
RUNBOOKS = DOCS / "runbooks"
PROMETHEUS = DOCS.parent / "deploy" / "observability" / "prometheus" / "rules" / "alerts.yaml"


def test_every_rule_has_its_page_and_every_page_its_rule() -> None:
    of_prometheus = set(re.findall(r"runbook_url: docs/runbooks/(\w+)\.md", PROMETHEUS.read_text()))
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {*shipped_rules(), "database_down", *of_prometheus}


@pytest.mark.parametrize("name", shipped_rules())
def test_a_page_says_what_it_means_how_to_look_and_what_to_do(name: str) -> None:
    assert shipped_rules()[name].runbook == f"docs/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n\n") and "## How to look" in page and "## What to do" in page


def test_the_page_about_alerts_names_every_rule_event_and_measure() -> None:
    page = (DOCS / "alerts.md").read_text()
    for name, rule in shipped_rules().items():
        assert f"| [{name}](runbooks/{name}.md) | {rule.severity} | {rule.summary} |" in page
    for measure in MEASURES.values():
        assert f"| `{measure.name}` | {measure.unit} |" in page and measure.meaning in page
    for event, labels in EVENT_LABELS.items():
        assert f"| `{event}` | {', '.join(f'`{label}`' for label in labels)} |" in page
