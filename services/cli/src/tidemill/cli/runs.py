"""`tidemill runs`: what ran, how it ended, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.checked import find_checked, print_checked
from tidemill.cli.decisions import find_decisions, print_decisions
from tidemill.cli.reading import database_url, moment, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

SHOWN = 30
ITEMS_SHOWN = 20
EARLIER = 20
"""Runs that one is compared with."""
STATES = (
    *("waiting", "requested", "planned", "running"),
    *("complete", "partial", "blocked", "failed", "timed_out", "cancelled"),
)
UNWELL = ("failed", "blocked", "timed_out", "partial")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `tidemill runs list` shows it.")]

LIST = """
SELECT run, source, trigger, slot, state, reason, requested_at, finished_at, items, new, changed, unchanged, gone,
    reappeared, skipped, failed, bytes, requests, corrected,
    extract(epoch FROM coalesce(finished_at, now()) - requested_at)::float8 AS duration_seconds
FROM scheduler.runs
"""
SHOW = """
SELECT run, source, trigger, slot, state, reason, actor, requested_at, planned_at, started_at, finished_at, deadline_at,
    items, new, changed, unchanged, gone, reappeared, skipped, failed, bytes, requests, cpu_seconds, peak_memory_bytes,
    config_version, params, only_items, retry_of, backfill, records, corrected,
    extract(epoch FROM coalesce(finished_at, now()) - requested_at)::float8 AS duration_seconds
FROM scheduler.runs WHERE run = :run
"""
EARLIER_RUNS = """
SELECT items, new, changed, unchanged, failed, requests, bytes, cpu_seconds,
    extract(epoch FROM finished_at - requested_at)::float8 AS duration_seconds
FROM scheduler.runs
WHERE source = :source AND requested_at < :before AND ended_by = '' AND finished_at IS NOT NULL
ORDER BY requested_at DESC LIMIT :earlier
"""
ITEMS = """
SELECT item, outcome, reason, detail, name, sha256, ended_at FROM scheduler.run_items
WHERE run = :run ORDER BY outcome <> 'failed', outcome <> '', item LIMIT :shown
"""


def register(app: typer.Typer) -> None:
    runs = typer.Typer(help="What ran, and how it ended.", no_args_is_help=True)
    runs.command("list")(list_runs)
    runs.command()(show)
    runs.command()(cancel)
    runs.command()(retry)
    app.add_typer(runs, name="runs")


def list_runs(
    source: Annotated[str, typer.Option(help="Of this source.")] = "",
    state: Annotated[
        str, typer.Option(help="In this state: waiting, requested, planned, running, complete, partial, failed, …")
    ] = "",
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Asked for then or later; UTC without a zone."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """List runs, the newest first."""
    if state and state not in STATES:
        fail(f"no run is {state!r}; states are {', '.join(STATES)}")
    given = {"source": source, "state": state, "since": since}
    found = asyncio.run(_find(database_url(assignments), {k: v for k, v in given.items() if v}, limit))
    if output is Output.JSON:
        typer.echo(json.dumps([_plain(run) for run in found], indent=2, ensure_ascii=False))
    elif found:
        _print_list(found)
    else:
        typer.echo("no runs")


def show(
    run: RunId,
    items: Annotated[int, typer.Option(min=0, help="At most so many items, those that failed first.")] = ITEMS_SHOWN,
    decisions: Annotated[
        bool,
        typer.Option("--decisions", help="What a source that scrapes decided about each page it follows, and why."),
    ] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Everything about one run: counts, items, costs, and what is usual for its source."""
    found = asyncio.run(_get(database_url(assignments), run, items, decisions=decisions))
    if found is None:
        fail(f"there is no run {run}; `tidemill runs list` shows the last ones")
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print_run(found)
        print_checked(found["checked"], run)
        if found.get("scraped"):
            print_decisions(found["scraped"])


def cancel(
    run: RunId,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """End a run; what waits for it is dropped."""
    answer = ask("cancel", said(run=run, reason=reason), assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{answer['run']} is cancelled" if answer["cancelled"] else f"{run} had ended: {answer['state']}")


def retry(
    run: RunId,
    all_items: Annotated[bool, typer.Option("--all", help="All of its items, not only those that failed.")] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Begin a new run of what an ended one left undone."""
    answer = ask("retry", {**said(run=run), "failed_only": not all_items}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        of = f"{answer['items']} items of {run}" if answer["items"] else f"all of {run}"
        typer.echo(f"{answer['run']} is {answer['state']}: {of} again")


async def _find(url: str, given: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    from sqlalchemy import text

    conditions = {"source": "source = :source", "state": "state = :state", "since": "requested_at >= :since"}
    chosen = [conditions[name] for name in given]
    where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
    query = text(f"{LIST} {where} ORDER BY requested_at DESC, run LIMIT :limit")
    async with open_store(url) as connection:
        return [dict(row) for row in (await connection.execute(query, {**given, "limit": limit})).mappings()]


async def _get(url: str, run: str, items: int, *, decisions: bool = False) -> dict[str, Any] | None:
    """The run with its items and what is usual, as JSON shows it."""
    from sqlalchemy import text

    from tidemill.scheduler.history import compare

    async with open_store(url) as connection:
        row = (await connection.execute(text(SHOW), {"run": run})).mappings().first()
        if row is None:
            return None
        listed = (await connection.execute(text(ITEMS), {"run": run, "shown": items})).mappings()
        found = {**_plain(dict(row)), "item_list": [_plain(dict(item)) for item in listed]}
        asked = {"source": row["source"], "before": row["requested_at"], "earlier": EARLIER}
        earlier = [dict(one) for one in (await connection.execute(text(EARLIER_RUNS), asked)).mappings()]
        found["checked"] = await find_checked(connection, run)
        if decisions:
            found["scraped"] = await find_decisions(connection, run, items)
            if found["scraped"] is None:
                fail(f"{run} decided about no pages: {row['source']} does not scrape")
    compared = compare(dict(row), earlier)
    found["usual"] = {name: {"usual": one.usual, "remark": one.remark} for name, one in compared.items()}
    return found


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for name, value in row.items()
    }


def _print_list(found: Sequence[Mapping[str, Any]]) -> None:
    counts = ("items", "new", "changed", "reappeared", "unchanged", "gone", "failed")
    columns = [
        Column("asked for (UTC)", whole=True),
        Column("source"),
        Column("state"),
        Column("trigger"),
        *(Column(name, right=True) for name in counts),
        Column("took", right=True),
        Column("reason"),
        Column("run", whole=True, most=80),
    ]
    rows = [
        [
            f"{run['requested_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            run["source"],
            run["state"] + (" *" if run["corrected"] else ""),
            run["trigger"],
            *(f"{run[name]:,}" if run[name] else "" for name in counts),
            _duration(run["duration_seconds"]) if run["finished_at"] else "",
            run["reason"],
            run["run"],
        ]
        for run in found
    ]
    important = ("asked for (UTC)", "run", "state", "items", "failed", "source")
    print_table(columns, rows, important, alarming=[n for n, run in enumerate(found) if run["state"] in UNWELL])
    if any(run["corrected"] for run in found):
        typer.echo("\n* corrected: a replay or a late outcome changed it after its end")


def _print_run(run: Mapping[str, Any]) -> None:
    shown = {
        name: value
        for name, value in run.items()
        if name not in ("item_list", "usual", "records", "scraped", "checked") and value
    }
    shown["duration_seconds"] = _duration(run["duration_seconds"])
    width = max(map(len, shown))
    for name, value in shown.items():
        usual = run["usual"].get(name, {})
        remark = f"  ({usual['remark']})" if usual.get("remark") else ""
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
        typer.echo(f"{name.replace('_', ' '):<{width}}  {text}{remark}")
    for dataset, changes in (run["records"] or {}).items():
        told = ", ".join(f"{count:,} {name}" for name, count in changes.items() if count)
        typer.echo(f"{'records':<{width}}  {dataset}: {told or 'none'}")
    if run["item_list"]:
        typer.echo("")
        columns = [Column("item", most=60), Column("outcome"), Column("reason"), Column("detail", most=60)]
        rows = [[item["item"], item["outcome"] or "open", item["reason"], item["detail"]] for item in run["item_list"]]
        alarming = [n for n, item in enumerate(run["item_list"]) if item["outcome"] == "failed"]
        print_table(columns, rows, ("item", "outcome", "reason"), alarming=alarming)
        if run["items"] > len(run["item_list"]):
            typer.echo(f"… of {run['items']:,} items; --items shows more")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
