"""The contract of a converter, on the sample issue and on small ones printed for the purpose."""

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import generate
import pytest
from conversions import convert, rows
from paper import Heading, Paper, Row, Style, print_paper

from tidemill.football.converter import SzerencsemixConverter
from tidemill.football.datasets import MARKET, MATCH, OUTRIGHT
from tidemill.plugin import (
    API_VERSION,
    Accounting,
    Converter,
    Dataset,
    Described,
    Document,
    Outcome,
    Progress,
    Record,
)

SMALL = Style(page=(680, 500), head="split", size=7, offer_only=True)
DAY = Heading("Péntek (2025. július 18.)", is_day=True)
LEAGUE = Heading("Labdarúgás, Képzelt bajnokság")


def row(time: str, serial: str, event: str, market: str = "", **cells: str) -> Row:
    return {"time": time, "serial": serial, "event": event, "market": market, **cells}


def printed(*items: Heading | Row, style: Style = SMALL) -> bytes:
    """A small issue. A row of football goes ahead, since an offer without one is not recognised."""
    first = row("P 10:00", "00001", "Elso FC - Masodik FC", H="1,50", D="3,50", V="5,50")
    return print_paper(Paper(57, "2025-07-18", [DAY, LEAGUE, first, *items]), style)


@pytest.fixture(scope="module")
def sample() -> bytes:
    return generate.PDF.read_bytes()


def test_the_sample_is_what_its_generator_prints(sample: bytes, truth: dict[str, Any]) -> None:
    assert print_paper(generate.make_paper(truth), generate.STYLE) == sample


def test_the_sample_converts_to_its_truth(sample: bytes, truth: dict[str, Any]) -> None:
    conversion = convert(sample)
    assert conversion.outcome is Outcome.CONVERTED
    assert rows(conversion.document) == rows(truth)
    assert conversion.document["rejected"] == []
    assert conversion.warnings == []
    assert conversion.document["document"]["issue"] == 57
    assert conversion.document["document"]["pages"] == 7


def test_long_term_bets_on_football_are_found(sample: bytes, truth: dict[str, Any]) -> None:
    found = Counter(
        (o["title"], o["serial"], o["outcome"], o["kim"], o["odds"]) for o in convert(sample).document["outrights"]
    )
    assert found == Counter(
        (outright["title"], outright["serial"], outcome["name"], outcome["kim"], outcome["odds"])
        for outright in truth["outrights_on_page"]
        if outright["title"].lower().startswith("labdarúgás")
        for outcome in outright["outcomes"]
    )


def test_every_row_of_a_page_is_accounted_for(sample: bytes) -> None:
    pages = [item for item in convert(sample).items if isinstance(item, Accounting)]
    assert [page.page for page in pages] == list(range(1, 8))
    assert all(page.balanced() for page in pages)
    ignored = sum((Counter(page.ignored) for page in pages), Counter[str]())
    assert ignored["other_sport"] == 7 + 2
    assert ignored["special"] == 2
    assert ignored["szuper_odds"] == 2
    assert sum(page.accepted for page in pages) == 206 + 5


def test_the_same_bytes_give_the_same_items(sample: bytes) -> None:
    assert convert(sample).items == convert(sample).items


def test_the_document_is_described_before_its_records(sample: bytes) -> None:
    items = [item for item in convert(sample).items if not isinstance(item, Progress)]
    described = items[0]
    assert isinstance(described, Described)
    assert described.valid_from
    assert described.valid_from.isoformat() == "2025-07-18T00:00:00+02:00"
    assert sum(isinstance(item, Described) for item in items) == 1


def test_records_fit_their_datasets(sample: bytes) -> None:
    datasets = {dataset.name: dataset for dataset in (MATCH, MARKET, OUTRIGHT)}
    for record in (item for item in convert(sample).items if isinstance(item, Record)):
        model = datasets[record.dataset].model
        assert model.model_validate(record.data).model_dump(mode="json") == record.data
        assert record.position.page and record.position.box
        assert record.raw
        assert 0 < record.quality <= 1


def test_keys_are_unique_and_markets_stand_under_their_match(sample: bytes) -> None:
    records = [item for item in convert(sample).items if isinstance(item, Record)]
    keys = Counter((record.dataset, record.parent, record.key) for record in records)
    assert set(keys.values()) == {1}
    seen: set[tuple[str, str]] = set()
    for record in records:
        seen.add((record.dataset, record.key))
        assert record.parent is None or record.parent in seen


def test_two_layouts_of_an_issue_give_the_same_records(truth: dict[str, Any]) -> None:
    paper = generate.make_paper(truth)

    def facts(style: Style) -> list[Any]:
        items = convert(print_paper(paper, style)).items
        return [(i.dataset, i.key, i.parent, i.data, i.valid_from) for i in items if isinstance(i, Record)]

    assert facts(generate.STYLE) == facts(Style(page=(842, 1191), columns=3, size=4.6, gutter=8))


def test_a_row_has_its_place_on_the_unrotated_page(truth: dict[str, Any]) -> None:
    paper = generate.make_paper(truth)
    style = generate.STYLE

    def boxes(style: Style) -> list[tuple[float, ...]]:
        items = convert(print_paper(paper, style)).items
        return [i.position.box for i in items if isinstance(i, Record) and i.position.box]

    upright, turned = boxes(style), boxes(replace(style, turned=1, corner=(40, -70)))
    wide, high = style.page
    for (left, top, right, bottom), (x0, y0, x1, y1) in zip(upright, turned, strict=True):
        assert 0 <= left < right <= wide and 0 <= top < bottom <= high
        assert (left, top, right, bottom) == tuple(round(edge, 1) for edge in (left, top, right, bottom))
        # Turned counter-clockwise: what was left is at the bottom, what was at the top is left.
        assert (x0, y0, x1, y1) == pytest.approx((top, wide - right, bottom, wide - left), abs=1.5)


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="tidemill.converters", name="szerencsemix")
    converter = found.load()()
    assert isinstance(converter, Converter)
    assert converter.api_version == API_VERSION
    for name in converter.datasets:
        (dataset,) = entry_points(group="tidemill.datasets", name=name)
        loaded = dataset.load()
        assert isinstance(loaded, Dataset) and loaded.name == name


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({}, None),
        ({"max_pages": 30, "max_megabytes": 5, "max_inflated_megabytes": 8}, None),
        ({"max_page": 30}, "max_pages, max_megabytes"),
        ({"max_pages": 0}, "1 or more"),
        ({"max_pages": "30"}, "whole number"),
        ({"max_pages": True}, "whole number"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], complaint: str | None) -> None:
    error = SzerencsemixConverter().options_error(options)
    assert (error is None) if complaint is None else (error is not None and complaint in error)


def test_it_reads_from_an_open_file(sample: bytes, tmp_path: Path) -> None:
    path = tmp_path / "issue.pdf"
    path.write_bytes(sample)
    with path.open("rb") as content:
        document = Document(content, "", len(sample), "issue.pdf", datetime(2025, 7, 18, tzinfo=UTC))
        items = list(SzerencsemixConverter().convert(document, {}))
    assert items == convert(sample).items


@pytest.mark.parametrize(
    "prices, cols",
    [({"H": "25,00", "D": "15,00"}, "HD"), ({"D": "15,00", "V": "25,00"}, "DV"), ({"H": "1,50", "V": "2,50"}, "HV")],
)
def test_the_column_tells_which_outcome_is_not_offered(prices: dict[str, str], cols: str) -> None:
    (_, match) = convert(printed(row("P 21:00", "00002", "Benfica - Auckland City", **prices))).document["matches"]
    names = {"H": "home", "D": "draw", "V": "away"}
    assert match["markets"][0]["cols"] == cols
    assert match["markets"][0]["outcomes"] == [names[column] for column in cols]


def test_an_outcome_without_a_text_keeps_its_number() -> None:
    text = "1. félidő - 1X2 + Gólszám 1,5"
    items = [row("P 10:00", "00009", "Elso FC - Masodik FC", text, kim=f"0{n}", H=f"{n},50") for n in (1, 2, 3)]
    (match,) = convert(printed(*items)).document["matches"]
    assert [(market["kim"], market["outcome"], market["outcomes"]) for market in match["markets"][1:]] == [
        ("01", None, ["01"]),
        ("02", None, ["02"]),
        ("03", None, ["03"]),
    ]


def test_a_row_after_midnight_belongs_to_the_next_day() -> None:
    late = row("Szo 02:00", "00002", "Atlanta - Chicago", H="1,50", D="3,50", V="5,50")
    (_, match) = convert(printed(late)).document["matches"]
    assert (match["date"], match["kickoff"]) == ("2025-07-19", "2025-07-19T00:00:00Z")


def test_the_same_pair_may_meet_twice_in_an_issue() -> None:
    first = row("P 20:00", "00002", "Jamaika - Guatemala", H="1,50", D="3,50", V="5,50")
    second = row("K 20:00", "00003", "Jamaika - Guatemala", H="1,60", D="3,50", V="5,00")
    more = row("K 20:00", "00004", "Jamaika - Guatemala", "Hendikep 0:1", H="2,60", D="3,50", V="2,00")
    matches = convert(printed(first, second, more)).document["matches"][1:]
    assert [(match["date"], len(match["markets"])) for match in matches] == [("2025-07-18", 1), ("2025-07-22", 2)]


def test_the_women_of_two_clubs_may_play_while_the_men_do() -> None:
    event, women = "Brann Bergen - Rosenborg", Heading("Labdarúgás, Képzelt bajnokság, női")
    men = row("P 20:00", "00002", event, H="1,50", D="3,50", V="5,50")
    other = row("P 20:00", "00003", event, H="2,50", D="3,50", V="2,50")
    more = row("P 20:00", "00004", event, "Hendikep 0:1", H="4,60", D="3,50", V="1,60")
    matches = convert(printed(men, women, other, more)).document["matches"][1:]
    assert [(match["league"], match["serial"], len(match["markets"])) for match in matches] == [
        ("Képzelt bajnokság", "00002", 1),
        ("Képzelt bajnokság, női", "00003", 2),
    ]


def test_an_unknown_market_is_kept_word_for_word_and_counted() -> None:
    odd = row(
        "P 10:00", "00002", "Elso FC - Masodik FC", "Hány szögletzászló dől ki? (H: 0, V: 1+)", H="1,10", V="6,00"
    )
    conversion = convert(printed(odd))
    market = conversion.document["matches"][0]["markets"][1]
    assert (market["key"], market["market_text"]) == ("other", odd["market"])
    assert market["outcomes"] == ["0", "1+"]
    assert any("1 rows ask something" in warning for warning in conversion.warnings)


def test_a_match_under_no_day_has_no_date() -> None:
    first = row("P 10:00", "00001", "Elso FC - Masodik FC", H="1,50", D="3,50", V="5,50")
    second = row("P 11:00", "00002", "Harmadik FC - Negyedik FC", H="1,50", D="3,50", V="5,50")
    conversion = convert(print_paper(Paper(57, "2025-07-18", [LEAGUE, first, second]), SMALL))
    assert [match["date"] for match in conversion.document["matches"]] == [None, None]
    assert any("no date" in warning for warning in conversion.warnings)


GOOD = {"H": "1,50", "D": "3,50", "V": "5,50"}


@pytest.mark.parametrize(
    "bad, reason",
    [
        (row("P 11:00", "00002", "Harmadik FC - Negyedik FC"), "no_price"),
        (row("P 11:00", "", "Harmadik FC - Negyedik FC", **GOOD), "no_serial"),
        (row("", "00002", "Harmadik FC - Negyedik FC", **GOOD), "no_time"),
        (row("P 27:00", "00002", "Harmadik FC - Negyedik FC", **GOOD), "bad_time"),
        (row("P 11:00", "00002", "Harmadik FC - Negyedik FC", **{**GOOD, "H": "0,50"}), "bad_price"),
        (row("P 11:00", "00002", "Harmadik FC", **GOOD), "no_teams"),
        (row("P 11:00", "00002", "Harmadik FC - Negyedik FC", "Hendikep 0:1", **GOOD), "no_main_row"),
        (row("P 10:00", "00001", "Elso FC - Masodik FC", **{**GOOD, "H": "9,50"}), "contradiction"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_that_cannot_be_a_record_is_rejected_by_name(bad: Row, reason: str) -> None:
    good = [row(f"P 1{n}:30", f"0001{n}", f"Haza{n} FC - Vendeg{n} FC", **GOOD) for n in range(2, 6)]
    conversion = convert(printed(bad, *good))
    assert [rejected["reason"] for rejected in conversion.document["rejected"]] == [reason]
    assert conversion.document["rejected"][0]["box"]
    assert len(conversion.document["matches"]) == 5
    assert all(item.balanced() for item in conversion.items if isinstance(item, Accounting))


def test_rows_before_any_heading_are_rejected() -> None:
    lost = row("P 09:00", "00009", "Nulladik FC - Masik FC", **GOOD)
    first = row("P 10:00", "00001", "Elso FC - Masodik FC", **GOOD)
    second = row("P 11:00", "00002", "Harmadik FC - Negyedik FC", **GOOD)
    conversion = convert(print_paper(Paper(57, "2025-07-18", [DAY, lost, LEAGUE, first, second]), SMALL))
    assert [rejected["reason"] for rejected in conversion.document["rejected"]] == ["no_league"]


def test_an_offer_that_is_mostly_rejected_is_not_understood() -> None:
    bad = [row(f"P 1{n}:30", f"0001{n}", f"Csak egy FC {n}", **GOOD) for n in range(2, 8)]
    assert convert(printed(*bad)).outcome is Outcome.UNRECOGNISED


def test_marks_in_their_column_are_kept() -> None:
    style = replace(SMALL, head="each")
    marked = row("P 11:00", "00002", "Harmadik FC - Negyedik FC", mark="3", **GOOD)
    (first, second) = convert(printed(marked, style=style)).document["matches"]
    assert (first["markets"][0]["mark"], second["markets"][0]["mark"]) == (None, "3")
    assert second["home"] == "Harmadik FC"


def test_figures_that_touch_are_told_apart() -> None:
    cells = {"kim": "03", "H": "100,00"}
    text = "Félidő/végeredmény (Elso FC/Masodik FC)"
    tight = replace(SMALL, widths={**SMALL.widths, "kim": 3.4, "H": 5.4}, page=(680, 500))
    (match,) = convert(printed(row("P 10:00", "00002", "Elso FC - Masodik FC", text, **cells), style=tight)).document[
        "matches"
    ]
    assert (match["markets"][1]["kim"], match["markets"][1]["odds"]) == ("03", [100.0])


def test_an_empty_stream_is_no_document() -> None:
    document = Document(io.BytesIO(), "", 0, "issue.pdf", datetime(2025, 7, 18, tzinfo=UTC))
    with pytest.raises(Exception, match="empty"):
        list(SzerencsemixConverter().convert(document, {}))
