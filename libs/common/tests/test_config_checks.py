"""The list `checks` of source files."""

from pathlib import Path

import pytest

from tidemill.common.config import ConfigError, load_sources
from tidemill.common.config.checks import NEEDS, OF_RECORDS, Check, Kind

SCRAPED = """
scrape: {search: {url: "http://127.0.0.1/", link: {css: a}}}
extract: {fields: {price: {from: {css: b}}}}
"""


def load(folder: Path, checks: str, more: str = "convert: {with: json}") -> tuple[Check, ...]:
    (folder / "demo.yaml").write_text(f"source: demo\n{more}\nchecks: {checks}\n")
    return load_sources(folder)["demo"].checks


def complaint(folder: Path, checks: str, more: str = "convert: {with: json}") -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder, checks, more)
    return str(raised.value)


def test_a_check_warns_and_is_called_after_what_it_looks_at(tmp_path: Path) -> None:
    one, other, third = load(
        tmp_path,
        "[{check: range, field: price, least: 1}, {check: ratio, fields: [price, size_m2], most: 9, severity: block},"
        " {check: quality, least: 0.5, name: good_enough}]",
    )
    assert (one.called, one.severity) == ("range_price", "warn")
    assert (other.called, other.severity) == ("ratio_price_size_m2", "block")
    assert third.called == "good_enough"


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{check: rnage, field: price}", "checks[0].check: rnage is not"),
        ("{check: range, least: 1}", "checks[0]: range needs field"),
        ("{check: range, field: price}", "range needs least or most"),
        ("{check: range, field: price, least: 2, most: 1}", "least 2 is more than most 1"),
        ("{check: required, field: price, least: 1}", "required takes no least. Valid keys: check, name, severity"),
        ("{check: compare, field: price, to: 1}", "compare needs op"),
        ("{check: compare, field: price, op: '=>', to: 1}", "checks[0].op: "),
        ("{check: ratio, fields: [price], least: 1}", "ratio divides the first of two fields by the second, not 1"),
        ("{check: pattern, field: price, pattern: '('}", "( is no regular expression"),
        ("{check: quality, least: 5}", "quality is a share from 0 to 1, not 5"),
        ("{check: count, dataset: shop.price}", "count takes no dataset"),
        ("{check: failures, most: 0.1}", "failures is for sources that scrape"),
    ],
)
def test_what_is_wrong_with_a_check_is_told_with_what_would_work(tmp_path: Path, check: str, said: str) -> None:
    assert said in complaint(tmp_path, f"[{check}]")


def test_results_are_kept_by_name_so_that_a_name_stands_once(tmp_path: Path) -> None:
    twice = "[{check: range, field: price, least: 1}, {check: range, field: price, most: 9, severity: block}]"
    assert "has two checks called range_price; give one of them another name" in complaint(tmp_path, twice)


def test_records_are_checked_only_where_there_are_some(tmp_path: Path) -> None:
    assert "without convert there are none" in complaint(tmp_path, "[{check: required, field: a}]", "title: x")


def test_what_the_pages_tell_is_checked_by_the_scraper(tmp_path: Path) -> None:
    checks = "[{check: count}, {check: coverage, field: price, least: 0.9}, {check: required, field: price}]"
    load(tmp_path, checks, SCRAPED + "convert: {with: json}")
    source = load_sources(tmp_path)["demo"]
    assert [check.called for check in source.checks_of_scraper] == ["count", "coverage_price"]
    assert [check.called for check in source.checks_of_converter] == ["required_price"]
    missing = complaint(tmp_path, "[{check: coverage, field: prize, least: 0.9}]", SCRAPED)
    assert "extract has no field prize. Valid fields: price" in missing


@pytest.mark.parametrize("kind", NEEDS)
def test_every_kind_can_be_written(kind: Kind) -> None:
    some = {"field": "a", "fields": ("a", "b"), "least": 0.5, "most": 0.5, "pattern": "x", "values": ("x",)}
    needed = {key: {**some, "op": "<", "to": 1.0}[key] for key in NEEDS[kind]}
    bound = {"least": 0.5} if kind in ("range", "ratio", "sum_of_inverse") else {}
    assert Check(check=kind, **needed, **bound).judges_records == (kind in OF_RECORDS)
