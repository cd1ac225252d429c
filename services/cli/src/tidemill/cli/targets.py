"""`tidemill targets`: the pages that a source follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tidemill.cli.decisions import labels_text
from tidemill.cli.named import TAKES_NAMED, read_named
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

SHOWN = 30
STATES = ("new", "present", "missing", "failing", "given_up", "duplicate", "gone")
COUNTS = """
SELECT state, count(*) AS targets FROM scraper.targets WHERE source = :source AND labels @> CAST(:labels AS jsonb)
GROUP BY state
"""
LIST = """
SELECT item, state, labels, url, key, first_seen_at, seen_at, checked_at, changed_at, misses, failures, failure,
    next_check_at, duplicate_of, gone_at, gone_reason, sha256
FROM scraper.targets
WHERE source = :source AND labels @> CAST(:labels AS jsonb) AND (:state = '' OR state = :state)
ORDER BY coalesce(gone_at, changed_at, seen_at) DESC, item LIMIT :shown
"""
LABELS = "SELECT DISTINCT jsonb_object_keys(labels) FROM scraper.targets WHERE source = :source"


def register(app: typer.Typer) -> None:
    app.command("targets", context_settings=TAKES_NAMED)(list_targets)


def list_targets(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source that scrapes.")],
    state: Annotated[str, typer.Option(help=f"In this state: {', '.join(STATES)}.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, those that changed last first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """List the pages that a source follows. `--city Helsinki`: of that search alone, by whatever names it has."""
    if state and state not in STATES:
        fail(f"no page is {state!r}; states are {', '.join(STATES)}")
    labels = read_named(context.args)
    found = asyncio.run(_find(database_url(assignments), source, state, labels, limit))
    if unknown := sorted(labels.keys() - set(found["labels"])):
        valid = ", ".join(f"--{name}" for name in found["labels"]) or "none, for nothing was found yet"
        fail(f"{source} has no --{unknown[0]}; its searches have {valid}")
    if output is Output.JSON:
        typer.echo(json.dumps({"states": found["states"], "targets": found["targets"]}, indent=2, ensure_ascii=False))
    elif found["states"]:
        _print(found, state)
    else:
        typer.echo(f"{source} follows no pages yet")


async def _find(url: str, source: str, state: str, labels: Mapping[str, str], limit: int) -> dict[str, Any]:
    from sqlalchemy import text

    wanted = {"source": source, "labels": json.dumps(labels)}
    async with open_store(url) as connection:
        counted = {row.state: row.targets for row in await connection.execute(text(COUNTS), wanted)}
        listed = await connection.execute(text(LIST), {**wanted, "state": state, "shown": limit})
        targets = [_plain(dict(row)) for row in listed.mappings()]
        names = sorted((await connection.execute(text(LABELS), {"source": source})).scalars())
    return {"states": {name: counted[name] for name in STATES if name in counted}, "targets": targets, "labels": names}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for name, value in row.items()
    }


def _print(found: Mapping[str, Any], state: str) -> None:
    typer.echo(", ".join(f"{count:,} {name}" for name, count in found["states"].items()) + "\n")
    targets: Sequence[Mapping[str, Any]] = found["targets"]
    columns = [
        Column("item", most=60),
        Column("state"),
        Column("labels"),
        Column("looked at (UTC)"),
        Column("changed (UTC)"),
        Column("why", most=60),
        Column("address", whole=True),
    ]
    rows = [
        [
            target["item"],
            target["state"],
            labels_text(target["labels"]),
            _minute(target["checked_at"]),
            _minute(target["changed_at"]),
            _why(target),
            target["url"],
        ]
        for target in targets
    ]
    alarming = [n for n, target in enumerate(targets) if target["state"] in ("failing", "given_up")]
    print_table(columns, rows, ("item", "state", "why"), alarming=alarming)
    of = found["states"].get(state, 0) if state else sum(found["states"].values())
    if of > len(targets):
        typer.echo(f"… of {of:,}; --limit shows more")


def _minute(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else ""


def _why(target: Mapping[str, Any]) -> str:
    match target["state"]:
        case "gone":
            return f"{target['gone_reason']} {_minute(target['gone_at'])}"
        case "failing" | "given_up":
            again = "" if target["state"] == "given_up" else f", again {_minute(target['next_check_at'])}"
            return f"{target['failure']}, {target['failures']} runs in a row{again}"
        case "missing":
            return f"not listed in {target['misses']} runs"
        case "duplicate":
            return f"leads to {target['duplicate_of']}"
    return ""
