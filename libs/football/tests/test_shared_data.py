"""Real content: the development issues to the last row, and what must not be converted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conversions import Conversion, convert, rows

from tidemill.common.testing import shared_data
from tidemill.plugin import Accounting, Outcome, Record

DATA = shared_data()
pytestmark = [
    pytest.mark.skipif(DATA is None, reason="the development data are not beside the repository"),
    pytest.mark.unmeasured,
]
ISSUES = sorted(DATA.glob("football/dev/*.pdf")) if DATA else []
WHOLE = 619
"""Matches of the issue that the bad files were made from."""

OUTCOMES = {
    "encrypted_user_password": Outcome.ENCRYPTED,
    "encrypted_owner_only": Outcome.CONVERTED,
    "truncated_60pct": Outcome.INCOMPLETE,
    "truncated_last_1kb": Outcome.CONVERTED,
    "zero_bytes": Outcome.EMPTY,
    "html_named": Outcome.WRONG_TYPE,
    "scanned_image_only": Outcome.SCANNED,
    "pages_400": Outcome.TOO_LARGE,
    "huge_page_size": Outcome.TOO_LARGE,
    "bomb_flate_256mb": Outcome.RESOURCE_LIMIT,
    "bomb_double_flate_256mb": Outcome.RESOURCE_LIMIT,
    "javascript_and_embedded_file": Outcome.CONVERTED,
    "page_tree_loop": Outcome.UNREADABLE,
    "junk_before_header": Outcome.CONVERTED,
    "rotated_pages": Outcome.CONVERTED,
    "no_tounicode": Outcome.UNREADABLE,
    "two_issues_concatenated": Outcome.AMBIGUOUS,
    "other_valid_pdf": Outcome.UNRECOGNISED,
    "invisible_rows": Outcome.CONVERTED,
}
WARNED = {
    "encrypted_owner_only",
    "truncated_last_1kb",
    "javascript_and_embedded_file",
    "junk_before_header",
    "invisible_rows",
}

converted: dict[Path, Conversion] = {}


def conversion_of(path: Path) -> Conversion:
    if path not in converted:
        converted[path] = convert(path.read_bytes())
    return converted[path]


def truth_of(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".truth.json").read_text("utf-8"))


@pytest.mark.parametrize("path", ISSUES, ids=lambda path: path.name)
def test_a_development_issue_converts_to_its_truth(path: Path) -> None:
    conversion = conversion_of(path)
    assert conversion.outcome is Outcome.CONVERTED
    assert rows(conversion.document) == rows(truth_of(path))
    assert conversion.document["rejected"] == []
    assert conversion.warnings == []
    assert all(item.balanced() for item in conversion.items if isinstance(item, Accounting))


@pytest.mark.parametrize("path", ISSUES, ids=lambda path: path.name)
def test_a_row_lies_in_its_printed_box(path: Path) -> None:
    boxes = {
        (serial, kim, page): box for serial, kim, page, *box in json.loads(path.with_suffix(".boxes.json").read_text())
    }
    for match in conversion_of(path).document["matches"]:
        for market in match["markets"]:
            left, top, right, bottom = market["box"]
            x0, y0, x1, y1 = boxes[market["serial"], market["kim"], market["page"]]
            assert x0 - 1 <= left and y0 - 2 <= top and right <= x1 + 1 and bottom <= y1 + 2


@pytest.mark.parametrize("path", ISSUES, ids=lambda path: path.name)
def test_long_term_bets_of_a_development_issue_are_found(path: Path) -> None:
    found = {
        (o["title"], o["serial"], o["outcome"], o["kim"], o["odds"]) for o in conversion_of(path).document["outrights"]
    }
    assert found == {
        (outright["title"], outright["serial"], outcome["name"], outcome["kim"], outcome["odds"])
        for outright in truth_of(path)["outrights_on_page"]
        if outright["title"].lower().startswith("labdarúgás")
        for outcome in outright["outcomes"]
    }


def records_of(path: Path) -> list[Any]:
    items = conversion_of(path).items
    return [(i.dataset, i.key, i.parent, i.data) for i in items if isinstance(i, Record)]


@pytest.mark.parametrize("path", [path for path in ISSUES if ".A1." in path.name], ids=lambda path: path.name)
def test_both_layouts_of_an_issue_give_the_same_records(path: Path) -> None:
    assert records_of(path) == records_of(path.with_name(path.name.replace(".A1.", ".A2.")))


def test_four_issues_in_two_layouts_hold_1320_matches() -> None:
    keys = {key for path in ISSUES for dataset, key, _, _ in records_of(path) if dataset == "football.match"}
    assert len(keys) == 1320


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_bad_file_is_told_apart(name: str) -> None:
    assert DATA
    path = DATA / "football" / "bad" / f"{name}.pdf"
    conversion = convert(path.read_bytes())
    assert conversion.outcome is OUTCOMES[name], conversion.reason
    matches = len(conversion.document["matches"])
    match conversion.outcome:
        case Outcome.CONVERTED:
            assert matches == WHOLE
            assert bool(conversion.warnings) is (name in WARNED)
        case Outcome.INCOMPLETE:
            assert 0 < matches < WHOLE
        case _:
            assert matches == 0
            assert conversion.reason.endswith(".")


def test_false_rows_are_counted_and_left_out() -> None:
    assert DATA
    conversion = convert((DATA / "football" / "bad" / "invisible_rows.pdf").read_bytes())
    serials = {market["serial"] for match in conversion.document["matches"] for market in match["markets"]}
    assert not serials & {"99998", "99999"}
    ignored = sum((Counter(i.ignored) for i in conversion.items if isinstance(i, Accounting)), Counter[str]())
    assert ignored["invisible"] == 2
