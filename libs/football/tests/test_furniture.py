"""What is printed between and around the rows of a table is no part of a row."""

from dataclasses import replace
from typing import Any

import pytest
from conversions import convert
from paper import Heading, Paper, Row, Style, print_paper

WIDE = Style(page=(680, 500), size=7, offer_only=True)
STYLES = {"one column": WIDE, "two columns": Style(page=(808, 500), columns=2, size=5.5, offer_only=True)}
DAY = Heading("Péntek (2025. július 18.)", is_day=True)
LEAGUE = Heading("Labdarúgás, Képzelt bajnokság")
HEAD = Heading("Fogadási esemény Kim. H D V")


def row(number: int, market: str = "", **cells: str) -> Row:
    event = f"Haza{number} FC - Vendeg{number} SE"
    prices = cells or {"H": "1,50", "D": "3,50", "V": "5,50"}
    return {"time": f"P 1{number}:00", "serial": f"1000{number}", "event": event, "market": market, **prices}


def goals(number: int) -> Row:
    return row(number, "Gólszám 2,5 (H: kev., V: több)", H="1,80", V="1,90") | {"serial": f"2000{number}"}


def matches(items: list[Heading | Row], style: Style) -> list[tuple[Any, ...]]:
    document = convert(print_paper(Paper(57, "2025-07-18", items), style)).document
    assert document["rejected"] == []
    return [
        (m["date"], m["league"], m["home"], m["away"], [k["market_text"] for k in m["markets"]])
        for m in document["matches"]
    ]


def match(number: int, *markets: str, league: str = "Képzelt bajnokság") -> tuple[Any, ...]:
    return "2025-07-18", league, f"Haza{number} FC", f"Vendeg{number} SE", ["", *markets]


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("head", ["each", "none"])
def test_a_head_may_stand_below_each_league(head: str, style: Style) -> None:
    other = Heading("Labdarúgás, Mintakupa")
    items = [DAY, LEAGUE, HEAD, row(1), goals(1), row(2), other, HEAD, row(3), goals(3)]
    assert matches(items, replace(style, head=head)) == [
        match(1, "Gólszám 2,5 (H: kev., V: több)"),
        match(2),
        match(3, "Gólszám 2,5 (H: kev., V: több)", league="Mintakupa"),
    ]


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize(
    "notice",
    [
        "Rövidítések:",
        "Megjegyzések:",
        "Ezt a fogadási ajánlat kivonatot a kiadó adta ki.",
        "Játsszon felelősen és mértékkel: ez a hirdetés szélesebb mint az esemény rovata és nem tartozik hozzá",
    ],
)
def test_a_notice_below_a_row_is_no_name(notice: str, style: Style) -> None:
    items = [DAY, LEAGUE, row(1), goals(1), row(2), goals(2), row(3), Heading(notice)]
    market = "Gólszám 2,5 (H: kev., V: több)"
    assert matches(items, style) == [match(1, market), match(2, market), match(3)]


@pytest.mark.parametrize("texts", ["left", "centre", "right"])
def test_rows_may_all_lack_a_market(texts: str) -> None:
    names = ["Aba", "Bonyhád-Völgységi Labdarúgó Klub", "Cegléd", "Dunaszekcsői Sportegyesület", "Eger", "Füzesabonyi"]
    items = [row(number) | {"event": f"{name} - Győr"} for number, name in enumerate(names)]
    found = matches([DAY, LEAGUE, *items], replace(WIDE, texts=texts))
    assert [(home, away) for _, _, home, away, _ in found] == [(name, "Győr") for name in names]


@pytest.mark.parametrize("turned", [0, 2])
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_serials_may_come_in_pieces_and_words_whole(pieces: int, turned: int) -> None:
    texts = [f"Félidő/végeredmény ({one}/{two})" for one in ("Haza1 FC", "Döntetlen", "Vendeg1 SE") for two in "HDV"]
    items = [row(1, text, H="9,50") | {"kim": f"0{kim}"} for kim, text in enumerate(texts, start=1)]
    style = replace(WIDE, head="none", folio=False, empty="*", pieces=pieces, turned=turned, rotate=90 * turned)
    assert matches([DAY, LEAGUE, row(1), *items], style) == [match(1, *texts)]


@pytest.mark.parametrize("rows", range(1, 5))
def test_a_league_beside_a_day_heads_the_second_column(rows: int) -> None:
    first, second = [row(number) for number in range(rows)], [row(number) for number in range(rows, 2 * rows + 1)]
    style = Style(page=(808, 88 + 12 * (rows + 3)), columns=2, size=5.5, padding=6, offer_only=True)
    found = matches([DAY, LEAGUE, *first, Heading("Labdarúgás, Mintakupa"), *second], style)
    assert [league for _, league, *_ in found] == ["Képzelt bajnokság"] * rows + ["Mintakupa"] * (rows + 1)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_an_event_may_be_printed_in_its_first_row_alone(style: Style) -> None:
    bare = [goals(1) | {"event": ""}, row(1, "Hendikep 0:1") | {"event": "", "serial": "30001"}]
    items = [DAY, LEAGUE, row(1), *bare, row(2), goals(2) | {"event": ""}, row(3)]
    market = "Gólszám 2,5 (H: kev., V: több)"
    assert matches(items, style) == [match(1, market, "Hendikep 0:1"), match(2, market), match(3)]


def test_a_row_without_an_event_at_another_hour_is_rejected() -> None:
    items = [DAY, LEAGUE, row(1), goals(2) | {"event": ""}, row(3), row(4)]
    document = convert(print_paper(Paper(57, "2025-07-18", items), WIDE)).document
    assert [rejected["reason"] for rejected in document["rejected"]] == ["no_main_row"], document["rejected"]


@pytest.mark.parametrize("texts", ["left", "centre", "right"])
def test_the_last_line_of_a_wrapped_event_need_not_hold_its_dash(texts: str) -> None:
    names = [f"Alsófalvai {word} Sportegyesület" for word in ("Vasas", "Bányász", "Honvéd", "Kohász", "Postás")]
    market = "Gólszám 2,5 (H: kev., V: több)"
    items: list[Heading | Row] = [DAY, LEAGUE]
    for number, name in enumerate(names):
        event = f"{name} - Felsőfalva"
        items += [row(number) | {"event": event}, goals(number) | {"event": event}]
    style = replace(WIDE, page=(420, 500), texts=texts, wraps="bottom", padding=4)
    found = matches(items, style)
    assert [(home, away, markets) for _, _, home, away, markets in found] == [
        (name, "Felsőfalva", ["", market]) for name in names
    ]


@pytest.mark.parametrize("wraps", ["top", "middle", "bottom"])
def test_a_market_does_not_end_with_a_plus(wraps: str) -> None:
    ends = ["Igen és több", "Igen és kevesebb", "Nem és több", "Nem és kevesebb"]
    texts = [f"Mindkét csapat szerez gólt + Gólszám 2,5 ({end}, mint 2,5)" for end in ends]
    items = [row(1, text, H="9,50") | {"kim": f"0{kim}"} for kim, text in enumerate(texts, start=1)]
    style = replace(WIDE, page=(380, 500), head="none", wraps=wraps)
    assert matches([DAY, LEAGUE, row(1), *items, row(2)], style) == [match(1, *texts), match(2)]


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_a_mark_close_to_an_event_is_no_part_of_it(style: Style) -> None:
    marked = [row(number) | {"mark": str(number)} for number in (2, 4)]
    items = [DAY, LEAGUE, row(1), goals(1), marked[0], row(3), goals(3), marked[1], row(5), goals(5)]
    market = "Gólszám 2,5 (H: kev., V: több)"
    expected = [match(1, market), match(2), match(3, market), match(4), match(5, market)]
    assert matches(items, replace(style, head="none", widths={**style.widths, "mark": 3})) == expected


ORDERS = {
    "before the time": ("day", "time", "serial", "event", "market", "kim", "H", "D", "V"),
    "behind the serial": ("time", "serial", "day", "event", "market", "kim", "H", "D", "V"),
    "last": ("time", "serial", "event", "market", "kim", "H", "D", "V", "day"),
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("width", [5, 9])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_day_letter_may_have_a_cell_of_its_own(order: tuple[str, ...], width: float, style: Style) -> None:
    days = ["P", "P", "Szo", "Szo"]
    items = [row(number) | {"day": day, "time": f"1{number}:00"} for number, day in enumerate(days)]
    style = replace(style, head="none", order=order, widths={**style.widths, "day": width})
    dates = [date for date, *_ in matches([DAY, LEAGUE, *items], style)]
    assert dates == ["2025-07-18", "2025-07-18", "2025-07-19", "2025-07-19"]
