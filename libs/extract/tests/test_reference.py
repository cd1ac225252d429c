"""The reference says what the models say, and its examples are true."""

import json
from pathlib import Path
from typing import TypeVar, get_args

import pytest
import yaml

from tidemill.extract import (
    FieldRules,
    Page,
    PageRules,
    SearchRules,
    UrlRules,
    advance,
    begin,
    canonical,
    extract,
    judge,
    plain,
    starts,
)
from tidemill.extract.examples import (
    KINDS,
    READINGS,
    SEARCHES,
    STATES,
    TYPES,
    URLS,
    Example,
    SearchExample,
    StateExample,
    UrlExample,
)
from tidemill.extract.model import Model
from tidemill.extract.reference import reference
from tidemill.extract.rules import KINDS as RULE_KINDS
from tidemill.extract.types import Kind

M = TypeVar("M", bound=Model)
PAGE = Path(__file__).resolve().parents[3] / "docs" / "extraction-rules.md"
EXAMPLES = [example for group in (KINDS, TYPES, READINGS) for examples in group.values() for example in examples]


def read(model: type[M], written: str) -> M:
    return model.model_validate_json(json.dumps(yaml.safe_load(written)), strict=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.field)
def test_an_example_gives_its_value(example: Example) -> None:
    rules = PageRules(fields={"field": read(FieldRules, example.field)})
    field = extract(Page(example.page, context=example.carried), rules).fields["field"]
    assert plain(field.value) == example.value
    assert field.rule


@pytest.mark.parametrize("example", SEARCHES, ids=lambda example: example.asked)
def test_an_example_of_a_search_goes_on_as_it_says(example: SearchExample) -> None:
    search = read(SearchRules, example.search)
    position = begin(search, next(starts(search)))
    step = advance(search, position, Page(example.page, url=position.url))
    assert position.url == example.asked
    assert tuple(link.url for link in step.links) == example.links
    assert (step.position.url if step.stop is None else None, step.stop) == (example.next, example.stop)
    assert step.problems == ()


@pytest.mark.parametrize("example", STATES, ids=lambda example: example.state)
def test_an_example_of_a_page_is_in_its_state(example: StateExample) -> None:
    rules, page = read(PageRules, example.rules), Page(example.page)
    assert judge(page, rules, extract(page, rules)).state == example.state


@pytest.mark.parametrize("example", URLS, ids=lambda example: example.url)
def test_an_example_of_an_address_is_the_same_page(example: UrlExample) -> None:
    assert canonical(example.url, read(UrlRules, example.rules)) == example.canonical


def test_every_kind_and_every_type_has_an_example() -> None:
    assert KINDS.keys() == RULE_KINDS.keys()
    assert set(TYPES) == set(get_args(Kind))


def test_the_page_is_what_the_models_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "write it again: python -m tidemill.extract.reference > docs/extraction-rules.md"
    )
