"""The issues that the demo site publishes: the sample, and what its paper would have printed on the days after."""

import hashlib
import sys
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).resolve().parent.parent / "szerencsemix"
ISSUES = 4
"""After the fourth day all matches of the sample are played."""


def make_issue(number: int) -> tuple[str, bytes]:
    """File name and PDF of the first (0), second (1), … issue."""
    if str(SAMPLE) not in sys.path:
        sys.path.insert(0, str(SAMPLE))
    from generate import STYLE, make_paper, read_truth
    from paper import print_paper

    facts = facts_of(read_truth(), number)
    return f"szerencsemix-{facts['issue_date'][:4]}-{facts['issue']}.pdf", print_paper(make_paper(facts), STYLE)


def facts_of(sample: dict[str, Any], number: int) -> dict[str, Any]:
    """The sample some days later: what is played by then is gone, and some odds have moved."""
    facts = deepcopy(sample)
    day = date.fromisoformat(facts["issue_date"]) + timedelta(days=number)
    facts["issue"] += number
    facts["issue_date"] = day.isoformat()
    facts["matches"] = [match for match in facts["matches"] if date.fromisoformat(match["date"]) >= day]
    for match in facts["matches"]:
        for market in match["markets"]:
            market["odds"] = [
                moved(odds, f"{market['serial']}/{place}", number) for place, odds in enumerate(market["odds"])
            ]
    return facts


def moved(odds: float | None, name: str, days: int) -> float | None:
    """Every third price moves, by up to 8 % a day, always in the same way."""
    for day in range(1, days + 1):
        chance = hashlib.sha256(f"{name}/{day}".encode()).digest()
        if odds is not None and chance[0] % 3 == 0:
            odds = max(1.01, round(odds * (0.92 + chance[1] / 255 * 0.16), 2))
    return odds
