"""What a run of a source that scrapes decided about each page it follows, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

RUN = """
SELECT phase, outcome, known, seen, held FROM scraper.runs WHERE run = :run
"""
SEARCHES = """
SELECT item, labels, pages, seen, found, coalesce(stop, '') AS stop, complete, coalesce(failure, '') AS failure, detail
FROM scraper.searches WHERE run = :run ORDER BY search
"""
COUNTS = """
SELECT d.decision, coalesce(j.outcome, '') AS outcome, coalesce(j.failure, '') AS failure, t.labels,
    count(*) AS targets
FROM scraper.decisions d
JOIN scraper.targets t ON t.id = d.target
LEFT JOIN scraper.jobs j ON j.run = d.run AND j.item = t.item
WHERE d.run = :run GROUP BY 1, 2, 3, 4
"""
LISTED = """
SELECT t.item, d.decision, coalesce(j.outcome, '') AS outcome, coalesce(j.failure, '') AS failure, t.labels, t.url
FROM scraper.decisions d
JOIN scraper.targets t ON t.id = d.target
LEFT JOIN scraper.jobs j ON j.run = d.run AND j.item = t.item
WHERE d.run = :run ORDER BY array_position(CAST(:order AS text[]), d.decision), t.item LIMIT :shown
"""


async def find_decisions(connection: AsyncConnection, run: str, shown: int) -> dict[str, Any] | None:
    """None where the run is of no source that scrapes."""
    from sqlalchemy import text

    from tidemill.scraper.policy import FETCHED, LEFT

    of_run = {"run": run}
    row = (await connection.execute(text(RUN), of_run)).mappings().first()
    if row is None:
        return None
    searches = [dict(search) for search in (await connection.execute(text(SEARCHES), of_run)).mappings()]
    counted = [dict(each) for each in (await connection.execute(text(COUNTS), of_run)).mappings()]
    listing = {**of_run, "order": [*FETCHED, *LEFT], "shown": shown}
    listed = [dict(each) for each in (await connection.execute(text(LISTED), listing)).mappings()]
    return {**row, "searches": searches, **summed(counted, [*FETCHED, *LEFT]), "decision_list": listed}


def summed(counted: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    """Targets by decision, by outcome (`failed: blocked`), and by each label both together."""
    decisions = dict.fromkeys(order, 0)
    outcomes: dict[str, int] = {}
    by_label: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for each in counted:
        outcome = f"{each['outcome']}: {each['failure']}" if each["outcome"] == "failed" else each["outcome"]
        decisions[each["decision"]] += each["targets"]
        if outcome:
            outcomes[outcome] = outcomes.get(outcome, 0) + each["targets"]
        for label, value in each["labels"].items():
            of_value = by_label.setdefault(label, {}).setdefault(value, {"decisions": {}, "outcomes": {}})
            for kind, name in (("decisions", each["decision"]), ("outcomes", outcome)):
                if name:
                    of_value[kind][name] = of_value[kind].get(name, 0) + each["targets"]
    return {
        "decisions": {decision: count for decision, count in decisions.items() if count},
        "outcomes": dict(sorted(outcomes.items())),
        "by_label": {label: dict(sorted(values.items())) for label, values in sorted(by_label.items())},
    }


def print_decisions(found: Mapping[str, Any]) -> None:
    typer.echo(f"\n{found['known'] or 0:,} pages known, {found['seen'] or 0:,} listed; phase {found['phase']}")
    if found["held"]:
        typer.echo(f"nothing is said to be gone: {found['held']}")
    _print_searches(found["searches"])
    rows = [["", decision, f"{count:,}", ""] for decision, count in found["decisions"].items()]
    rows += [["", "", f"{count:,}", outcome] for outcome, count in found["outcomes"].items()]
    for label, values in found["by_label"].items():
        for value, of in values.items():
            rows += [[f"{label} {value}", decision, f"{count:,}", ""] for decision, count in of["decisions"].items()]
            rows += [[f"{label} {value}", "", f"{count:,}", outcome] for outcome, count in of["outcomes"].items()]
    typer.echo("")
    print_table([Column("of"), Column("decision"), Column("pages", right=True), Column("outcome")], rows)
    if found["decision_list"]:
        typer.echo("")
        columns = [Column("item", most=60), Column("decision"), Column("outcome"), Column("reason"), Column("labels")]
        listed = [
            [each["item"], each["decision"], each["outcome"], each["failure"], labels_text(each["labels"])]
            for each in found["decision_list"]
        ]
        alarming = [n for n, each in enumerate(found["decision_list"]) if each["outcome"] == "failed"]
        print_table(columns, listed, ("item", "decision", "outcome"), alarming=alarming)
        if (found["known"] or 0) > len(listed):
            typer.echo(f"… of {found['known']:,} pages; --items shows more")


def labels_text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items())


def _print_searches(searches: Sequence[Mapping[str, Any]]) -> None:
    if not searches:
        return
    columns = [
        Column("search", most=60),
        Column("pages", right=True),
        Column("seen", right=True),
        Column("of", right=True),
        Column("ended"),
        Column("problem", most=60),
    ]
    rows = [
        [
            search["item"],
            f"{search['pages']:,}",
            f"{search['seen']:,}",
            "" if search["found"] is None else f"{search['found']:,}",
            search["stop"],
            ": ".join(filter(None, (search["failure"], search["detail"]))),
        ]
        for search in searches
    ]
    typer.echo("")
    print_table(columns, rows, ("search",), alarming=[n for n, search in enumerate(searches) if search["failure"]])
