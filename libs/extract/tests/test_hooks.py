"""Rules in Python: found by entry point, checked when the source is read, no worse than a rule that finds nothing."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tidemill.extract import FieldRules, Page, PageRules, SearchRules, extract, find_links, version
from tidemill.extract.hooks import hook_of, hook_version

PAGE = '<h1>Flat</h1><img src="s.jpg" srcset="/m.jpg 640w, /l.jpg 1280w"><a href="/1">one</a>'
PLUGIN = """
def shout(part):
    return [part.text.upper()]

def fail(part):
    raise KeyError("price")

not_a_function = 7
"""
POINTS = """
[tidemill.rules]
shout = hooks_of_a_test:shout
fail = hooks_of_a_test:fail
seven = hooks_of_a_test:not_a_function
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of somebody else's that is installed."""
    (tmp_path / "hooks_of_a_test.py").write_text(PLUGIN)
    info = tmp_path / "loud-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    hook_of.cache_clear()
    hook_version.cache_clear()


def rules_of(**fields: object) -> PageRules:
    return PageRules(fields={name: FieldRules.model_validate({"from": rule}) for name, rule in fields.items()})


def test_a_function_of_an_installed_package_is_a_rule(plugin: None) -> None:
    record = extract(Page(PAGE), rules_of(loud={"python": "shout"}, image={"python": "largest_image"}))
    assert record.values == {"loud": "FLAT ONE", "image": "/l.jpg"}
    assert record.fields["loud"].rule == "python: shout"


def test_what_a_function_raises_is_a_problem_of_the_field_and_the_next_rule_is_tried(plugin: None) -> None:
    record = extract(Page(PAGE), rules_of(title=[{"python": "fail"}, {"css": "h1"}]))
    assert record.values == {"title": "Flat"}
    assert record.problems == {"title": ("python: fail: KeyError: 'price'",)}


def test_search_rules_may_be_python_and_failures_are_told(plugin: None) -> None:
    search = SearchRules.model_validate({"url": "https://x.example/", "link": {"python": "fail"}})
    links, problems = find_links(search, Page(PAGE, url="https://x.example/"))
    assert (links, problems) == ([], ["KeyError: 'price'"])


def test_a_name_that_nobody_brings_is_refused_with_those_there_are(plugin: None) -> None:
    with pytest.raises(ValidationError, match=r"no installed package brings a rule shot .*installed: .*shout"):
        rules_of(loud={"python": "shot"})
    with pytest.raises(ValidationError, match="is no function"):
        rules_of(loud={"python": "seven"})


def test_another_version_of_the_package_is_another_version_of_the_rules(plugin: None) -> None:
    assert hook_version("shout") == "loud-1.5:shout"
    assert version(rules_of(a={"python": "shout"})) != version(rules_of(a={"python": "largest_image"}))


def test_a_page_without_pictures_has_no_largest() -> None:
    assert extract(Page("<p>none</p>"), rules_of(image={"python": "largest_image"})).values == {}
    assert extract(Page('{"a": 1}'), rules_of(image={"python": "largest_image"})).values == {}
