"""`tidemill report send`, and what became of reports that were sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.reading import open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

STATES = """
WITH told AS (
    SELECT DISTINCT kind, subject, edition, message FROM reporter.sendings WHERE subject = ANY(:subjects)
)
SELECT t.kind, t.subject, t.edition, d.channel, d.recipient,
    CASE WHEN d.state <> 'waiting' THEN d.state WHEN d.attempts > 0 THEN 'retrying' ELSE 'waiting' END AS state,
    d.attempts, coalesce(d.reason, '') AS reason, coalesce(d.reply, '') AS said, d.fallback_of,
    coalesce(d.ended_at, d.stated_at) AS at
FROM told t JOIN reporter.deliveries d USING (message)
UNION ALL
SELECT kind, subject, edition, channel, recipient, state, attempts, reason, '', NULL, coalesce(ended_at, stated_at)
FROM reporter.sendings WHERE state <> 'handed_over' AND subject = ANY(:subjects)
ORDER BY at, channel, recipient
"""
ORDER = ("delivered", "preparing", "waiting", "retrying", "given_up", "skipped")
Sent = Mapping[tuple[str, str, int], Sequence[Mapping[str, Any]]]
"""What became of it, by kind, subject and edition."""


def send(
    about: Annotated[
        str,
        typer.Argument(
            metavar="[DAY|RUN|ID]", help="A day as 2025-06-17, the id of a run or a report; the newest day without."
        ),
    ] = "",
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="CHANNEL", help="Through this channel; by the rules of reporter.send without."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option("--recipient", metavar="ADDRESS", help="To this address, instead of those of the mail channel."),
    ] = None,
    attach: Annotated[
        list[str] | None, typer.Option("--attach", metavar="FORM", help="Along with mail: pdf, xlsx, csv, html, json.")
    ] = None,
    edition: Annotated[int, typer.Option(min=0, help="This one; the last without.")] = 0,
    again_failed: Annotated[
        bool, typer.Option("--again-failed", help="Try again what was given up, of all reports or of this one.")
    ] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Send a report, whether it was sent before or not; `tidemill report show` says what became of it."""
    if again_failed and (attach or edition):
        fail("--again-failed sends what was stated, as it was; leave out --attach and --edition")
    chosen = {"to": to, "recipient": recipient, "attach": attach}
    given = {name: ",".join(values) for name, values in chosen.items() if values}
    answer = ask(
        "send", said(about=about, edition=edition, again_failed=again_failed, **given), assignments, service="reporter"
    )
    if output is Output.JSON:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    elif again_failed:
        _print_again(answer["again"])
    else:
        _print_sent(answer)


def _print_sent(answer: Mapping[str, Any]) -> None:
    typer.echo(f"the report on {answer['report']} goes to:")
    for one in answer["sent_to"]:
        files = f", with {', '.join(one['attach'])}" if one["attach"] else ""
        typer.echo(f"  {_whom(one)}{files}")
    typer.echo(f"`tidemill report show {answer['about']}` says what became of it")


def _print_again(several: Sequence[Mapping[str, Any]]) -> None:
    for one in several:
        typer.echo(f"tried again: {one['message']} to {_whom(one)}")
    if not several:
        typer.echo("nothing was given up")


def _whom(one: Mapping[str, Any]) -> str:
    return f"{one['channel']}: {one['recipient']}" if one["recipient"] else str(one["channel"])


def find_sent(url: str, subjects: Sequence[str]) -> Sent:
    """Nothing where the tables are those of an older version."""
    return asyncio.run(_find_sent(url, subjects))


async def _find_sent(url: str, subjects: Sequence[str]) -> Sent:
    from sqlalchemy import text

    found: dict[tuple[str, str, int], list[Mapping[str, Any]]] = defaultdict(list)
    async with open_store(url) as connection:
        if await connection.scalar(text("SELECT to_regclass('reporter.sendings') IS NOT NULL")):
            for row in (await connection.execute(text(STATES), {"subjects": list(subjects)})).mappings():
                found[row["kind"], row["subject"], row["edition"]].append(dict(row))
    return found


def in_short(several: Sequence[Mapping[str, Any]]) -> str:
    """`2 delivered, 1 given up`."""
    counted = Counter(one["state"] for one in several)
    return ", ".join(f"{counted[state]} {state.replace('_', ' ')}" for state in ORDER if counted[state])


def as_values(several: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For programs."""
    left_out = ("kind", "subject", "edition")
    return [{name: value for name, value in one.items() if name not in left_out} for one in several]


def print_sent(several: Sequence[Mapping[str, Any]]) -> None:
    if not several:
        return
    typer.secho("\nSent", bold=True)
    columns = [
        Column("to", most=60),
        Column("state", whole=True),
        Column("tried", right=True),
        Column("why", most=90),
        Column("at"),
    ]
    rows = [
        [
            _whom(one),
            one["state"].replace("_", " "),
            str(one["attempts"] or ""),
            _why(one),
            f"{one['at']:%Y-%m-%d %H:%M}",
        ]
        for one in several
    ]
    alarming = [n for n, one in enumerate(several) if one["state"] == "given_up"]
    print_table(columns, rows, ("to", "state", "why"), alarming=alarming)


def _why(one: Mapping[str, Any]) -> str:
    reason = "" if one["state"] == "delivered" else one["reason"].replace("_", " ")
    instead = f"instead of {one['fallback_of']}" if one["fallback_of"] else ""
    return "; ".join(filter(None, (reason, one["said"], instead)))
