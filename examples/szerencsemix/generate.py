"""Prints the sample issue: python examples/szerencsemix/generate.py

The rows of the offer are facts of one real issue (sample.truth.json holds them, and what a converter should find).
Everything around them is invented, and imitates what a converter must not fall for.
"""

import json
from pathlib import Path
from typing import Any

from paper import Heading, Paper, Row, Style, offer_items, print_paper

HERE = Path(__file__).parent
TRUTH = HERE / "sample.truth.json"
PDF = HERE / "sample.pdf"

STYLE = Style(page=(680, 960), head="split", size=7)
"""One wide table, as the real paper has it."""


def read_truth() -> dict[str, Any]:
    return json.loads(TRUTH.read_text("utf-8"))


def make_paper(truth: dict[str, Any]) -> Paper:
    """The issue that a truth file describes, with rows that are no football between the days."""
    boxes = [{**box, "prices": [_printed(price) for price in box["odds"]]} for box in truth["szuper_odds"]]
    outrights = [
        {
            "title": _two_lines(outright["title"]),
            "serial": outright["serial"],
            "outcomes": [(o["name"], o["kim"], _printed(o["odds"])) for o in outright["outcomes"]],
        }
        for outright in truth["outrights_on_page"]
    ]
    items = offer_items(truth["matches"], OTHER_SPORTS)
    return Paper(truth["issue"], truth["issue_date"], items, boxes, outrights)


def _printed(price: float) -> str:
    return f"{price:.2f}".replace(".", ",")


def _two_lines(title: str) -> list[str]:
    words = title.split(" ")
    return [title] if len(words) < 7 else [" ".join(words[:6]), " ".join(words[6:])]


def _row(time: str, serial: str, event: str, market: str = "", **prices: str) -> Row:
    return {"time": time, "serial": serial, "event": event, "market": market, **prices}


OTHER_SPORTS: list[Heading | Row] = [
    Heading("Tenisz, Képzelt kupa, női egyes", pages="11"),
    _row("P 11:00", "38926", "Minta Anna - K. Képzelt", H="2,50", V="1,55"),
    _row("P 12:30", "38931", "Minta Anna / Képes B - Tükör C / Másolat D", H="1,43", V="2,45"),
    Heading("Vízilabda, Képzelt liga", pages="12"),
    _row("P 18:00", "27031", "Alsófalva - Felsőfalva", H="1,40", D="9,50", V="3,10"),
    _row("P 18:00", "27032", "Alsófalva - Felsőfalva", "Kétesély (V: X2)", V="6,40"),
    _row("P 18:00", "27033", "Alsófalva - Felsőfalva", "Gólszám 19,5 (H: kev., V: több)", H="1,85", V="1,75"),
    _row("P 18:00", "27034", "Alsófalva - Felsőfalva", "1. félidő - 1X2", H="1,60", D="5,50", V="2,90"),
    Heading("3x3 Kosárlabda, Képzelt torna"),
    _row("Szo 02:00", "28001", "Pécs - Salford", H="1,80", V="1,80"),
    Heading("Labdarúgás, NB I (speciális)"),
    _row("V 20:00", "40791", "NB I, 1. forduló (6 mérkőzés)", "Hány csapat szerez gólt? 8,5", H="3,20", V="1,30"),
    _row("V 20:00", "40792", "NB I, 1. forduló (6 mérkőzés)", "Gólszám 16,5 (H: kev., V: több)", H="2,70", V="1,40"),
]


if __name__ == "__main__":
    PDF.write_bytes(print_paper(make_paper(read_truth()), STYLE))
    print(f"{PDF.name}: {PDF.stat().st_size:,} bytes")
