"""Four sites that nobody made for us, each with another markup and locale: the page, its rules, and what they give."""

import json
from pathlib import Path

import pytest
import yaml

from tidemill.extract import Page, PageRules, extract, judge, plain

SITES = sorted((Path(__file__).parent / "fixtures").iterdir())


def rules_of(site: Path) -> PageRules:
    """As source files are read: strictly, from JSON."""
    written = yaml.safe_load((site / "rules.yaml").read_text(encoding="utf-8"))
    return PageRules.model_validate_json(json.dumps(written), strict=True)


def page_of(site: Path) -> Page:
    return Page.of_bytes(next(site.glob("page.*")).read_bytes(), url=f"https://{site.name}.example/1")


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_the_rules_of_a_site_give_the_values_beside_them(site: Path) -> None:
    record = extract(page_of(site), rules_of(site))
    expected = json.loads((site / "values.json").read_text(encoding="utf-8"))
    assert {name: plain(value) for name, value in record.values.items()} == expected
    assert judge(page_of(site), rules_of(site), record).ok


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_a_counter_changes_no_content_hash(site: Path) -> None:
    page, rules = page_of(site), rules_of(site)
    volatile = {name for name, field in rules.fields.items() if field.volatile}
    more_views = Page(page.source.replace("1'204", "1'205").replace("812", "813"))
    before, after = extract(page, rules), extract(more_views, rules)
    assert {name for name in before.values if before.values[name] != after.values[name]} == volatile
    assert before.content_hash == after.content_hash


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_every_value_says_which_rule_gave_it(site: Path) -> None:
    record = extract(page_of(site), rules_of(site))
    for name, field in record.fields.items():
        if name in record.values:
            assert field.rule
            assert field.raw or field.rule == "default"
