"""`tidemill alerts`: what a person has to know now, taking it, silence, and trying rules and channels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, copyable, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from tidemill.alerter.replay import Turn
    from tidemill.alerter.rules import Rule
    from tidemill.alerter.settings import AlerterSettings

ALERTER = "alerter"
STATES = ("open", "pending", "firing", "acknowledged", "flapping", "resolved", "all")
SHOWN = 100
ALERTS = """
SELECT id, rule, severity, state, labels, coalesce(fired_at, active_at) AS since, resolved_at, value, count, summary,
    description, runbook, hidden, acknowledged, run
FROM alerter.alerts
WHERE (:state = 'all' OR state = :state OR (:state = 'open' AND state NOT IN ('resolved', 'pending')))
    AND (:source = '' OR labels ->> 'source' = :source)
ORDER BY state = 'resolved', array_position(ARRAY['critical', 'error', 'warning', 'info'], severity), since DESC
LIMIT :limit
"""
SILENCES = """
SELECT s.id, s.matchers, s.author, s.comment, s.starts_at, s.ends_at,
    ARRAY(SELECT a.id FROM alerter.alerts a WHERE a.hidden = 'silence ' || s.id ORDER BY a.id) AS hides
FROM alerter.silences s WHERE :past OR ends_at > now() ORDER BY s.id DESC LIMIT :limit
"""
LOG = """
SELECT d.stated_at, d.channel, d.recipient, d.state, d.attempts, d.reason, d.reply, d.fallback_of,
    d.content ->> 'subject' AS subject, d.message
FROM alerter.deliveries d WHERE (:channel = '' OR channel = :channel) ORDER BY d.id DESC LIMIT :limit
"""
Match = Annotated[list[str] | None, typer.Argument(metavar="[MATCH]…", help="As source=demo, rule=~run_.*")]


def register(app: typer.Typer) -> None:
    alerts = typer.Typer(help="What a person has to know.", no_args_is_help=True)
    alerts.command("list")(list_alerts)
    alerts.command()(ack)
    alerts.command()(silence)
    alerts.command()(silences)
    alerts.command("end-silence")(end_silence)
    alerts.command("rules")(rules)
    alerts.command("test")(test)
    alerts.command()(check)
    alerts.command("log")(log)
    app.add_typer(alerts, name="alerts")


def list_alerts(
    state: Annotated[str, typer.Option(help=f"One of {', '.join(STATES)}.")] = "open",
    source: Annotated[str, typer.Option(help="Of this source.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Alerts, the worst first, each with what to do. Those that nobody is told of say why."""
    if state not in STATES:
        fail(f"{state!r} is no state; valid: {', '.join(STATES)}")
    found = _fetch(ALERTS, {"state": state, "source": source, "limit": limit}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1, default=_plain))
    elif not found:
        typer.echo("no alerts" if state == "all" else f"nothing is {state}")
    else:
        _print_alerts(found)


def ack(
    alert: Annotated[str, typer.Argument(metavar="[ALERT]", help="Its id, as the list and the message show it.")] = "",
    match: Annotated[list[str] | None, typer.Option(help="Or all that fire and match, as source=demo.")] = None,
    note: Annotated[str, typer.Option(help="What is done about it.")] = "",
    until: Annotated[str, typer.Option(help="Snooze: until 2h from now, or a time.")] = "",
    assignments: Assignments = None,
) -> None:
    """Say that you take care of it: nobody is told again until it is over."""
    answer = ask("ack", said(alert=alert, match=match, note=note, until=until), assignments, service=ALERTER)
    until_then = f", until {answer['until']}" if answer["until"] else ""
    typer.echo(f"acknowledged: {', '.join(answer['acknowledged'])}{until_then}")


def silence(
    match: Match = None,
    until: Annotated[str, typer.Option(help="When it ends: 2h, or a time.")] = "",
    begins: Annotated[str, typer.Option("--from", help="When it begins; without it now.")] = "",
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    assignments: Assignments = None,
) -> None:
    """Tell nobody of what matches, for a time. What fires is still shown, and says which silence hides it."""
    parameters = said(match=match, until=until, comment=comment) | ({"from": begins} if begins else {})
    answer = ask("silence", parameters, assignments, service=ALERTER)
    hides = ", ".join(answer["hides"]) or "nothing that fires now"
    typer.echo(f"silence {answer['silence']} until {answer['ends_at']} hides {hides}")
    typer.echo(copyable(f"end it with `tidemill alerts end-silence {answer['silence']}`"))


def silences(
    past: Annotated[bool, typer.Option("--past", help="Also those that are over.")] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Silences, and what each hides now."""
    found = _fetch(SILENCES, {"past": past, "limit": SHOWN}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1, default=_plain))
        return
    if not found:
        typer.echo("no silences")
        return
    columns = [Column("silence", right=True), Column("match", most=60), Column("until", whole=True), Column("by")]
    columns += [Column("comment", most=40), Column("hides", most=60)]
    rows = [
        [
            str(row["id"]),
            " ".join(row["matchers"]),
            f"{row['ends_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            row["author"],
            row["comment"],
            ", ".join(row["hides"]),
        ]
        for row in found
    ]
    print_table(columns, rows, ("silence", "match", "until", "hides"))


def end_silence(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As the list shows it.")],
    assignments: Assignments = None,
) -> None:
    """End a silence before its time."""
    ask("end_silence", said(silence=number), assignments, service=ALERTER)
    typer.echo(f"silence {number} is over")


def rules(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """All rules, those that ship and your own, as they are held against what happens."""
    known = _settings(assignments).all_rules()
    if output is Output.JSON:
        shown = {
            name: rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) for name, rule in known.items()
        }
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    columns = [Column("rule", whole=True), Column("severity"), Column("condition", most=70), Column("runbook", most=60)]
    rows = [
        [name, rule.severity if rule.enabled else "off", _condition(rule), rule.runbook] for name, rule in known.items()
    ]
    print_table(columns, rows, ("rule", "severity", "condition"))


def test(
    rule: Annotated[str, typer.Option(help="Hold this rule against the past.")] = "",
    since: Annotated[str, typer.Option(help="How far back: 7d, 12h.")] = "7d",
    channel: Annotated[str, typer.Option(help="Send a message through this channel.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Try a rule of tidemill.yaml on what is known of the past, and see when it would have fired; or try a channel.
    Nobody is told of what a rule would have said."""
    if bool(rule) == bool(channel):
        fail("say what to try: --rule NAME or --channel NAME")
    if channel:
        _try_channel(channel, assignments)
        return
    turns = _replayed(rule, _length(since), assignments)
    if output is Output.JSON:
        typer.echo(json.dumps([_turn(turn) for turn in turns], ensure_ascii=False, indent=1))
        return
    for turn in turns:
        typer.echo(f"{turn.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {turn.state:<8}  {turn.summary}")
    fired = sum(turn.state == "firing" for turn in turns)
    typer.echo(f"{rule} would have fired {fired} times in the last {since}")


def check(assignments: Assignments = None) -> None:
    """Check rules, routes and channels of tidemill.yaml. Exit status 1 when something is wrong."""
    from tidemill.alerter.policy import unreachable
    from tidemill.common.config.errors import dotted

    config = read_config(assignments, services=True)
    settings: AlerterSettings = config.service(ALERTER)
    wrong = unreachable(settings, config.common.channels)
    for path, sentence in wrong.items():
        where = config.origins.get("alerter.routes", "tidemill.yaml")
        typer.echo(f"{where}: {dotted((ALERTER, *path))}: {sentence}", err=True)
    if wrong:
        raise typer.Exit(1)
    active, off = settings.active_rules(), settings.all_rules().keys() - settings.active_rules().keys()
    typer.echo(f"{len(active)} rules, {len(settings.routes)} routes, {len(config.common.channels)} channels: all right")
    if off:
        typer.echo(f"switched off: {', '.join(sorted(off))}")
    if not settings.routes:
        typer.echo("nobody is told: write alerter.routes, and channels (docs/alerts.md)")


def log(
    channel: Annotated[str, typer.Option(help="Of this channel.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Messages to people, what became of each, and what the provider answered."""
    found = _fetch(LOG, {"channel": channel, "limit": limit}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1, default=_plain))
        return
    if not found:
        typer.echo("nobody was told anything yet")
        return
    columns = [Column("stated", whole=True), Column("channel"), Column("state"), Column("tries", right=True)]
    columns += [Column("message", most=70), Column("answer", most=70)]
    rows = [
        [
            f"{row['stated_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            row["channel"],
            row["state"],
            str(row["attempts"]),
            row["subject"],
            row["reply"] or "",
        ]
        for row in found
    ]
    alarming = {n for n, row in enumerate(found) if row["state"] == "given_up"}
    print_table(columns, rows, ("stated", "channel", "state", "message", "answer"), alarming=alarming)


def _try_channel(channel: str, assignments: list[str] | None) -> None:
    answer = ask("test_channel", said(channel=channel), assignments, service=ALERTER)
    query = {"message": answer["message"]}
    outcome = asyncio.run(_wait_for_delivery(database_url(assignments), query))
    for row in outcome:
        typer.echo(f"{row['channel']} {row['recipient']}: {row['state']}: {row['reply'] or 'not tried yet'}")
    if any(row["state"] != "delivered" for row in outcome):
        raise typer.Exit(1)


async def _wait_for_delivery(url: str, query: Mapping[str, Any], seconds: float = 15.0) -> list[dict[str, Any]]:
    """What became of it; what is still waiting by then is shown so."""
    from sqlalchemy import text

    statement = text("SELECT channel, recipient, state, reply FROM alerter.deliveries WHERE message = :message")
    deadline = asyncio.get_running_loop().time() + seconds
    async with open_store(url) as connection:
        while True:
            rows = [dict(row) for row in (await connection.execute(statement, query)).mappings()]
            await connection.rollback()
            over = all(row["state"] != "waiting" for row in rows)
            if over or asyncio.get_running_loop().time() > deadline:
                return rows
            await asyncio.sleep(0.2)


def _replayed(name: str, since: timedelta, assignments: list[str] | None) -> list[Turn]:
    from tidemill.common.config.validate import unknown_choice

    settings = _settings(assignments)
    known = settings.all_rules()
    if name not in known:
        fail(unknown_choice(name, known).replace("is not possible here", "is no rule"))
    return asyncio.run(_replay(database_url(assignments), settings, name, known[name], since))


async def _replay(url: str, settings: AlerterSettings, name: str, rule: Rule, since: timedelta) -> list[Turn]:
    from tidemill.alerter.facts import find_history, find_measured
    from tidemill.alerter.replay import replay

    now = datetime.now(UTC)
    begins = now - since
    async with open_store(url) as connection:
        if rule.measure is not None:
            signals, measured = [], await find_measured(connection, rule.measure, begins)
        else:
            events = [event for event in (rule.event, rule.clears and rule.clears.event) if event]
            # What came before the span counts in it, too.
            signals, measured = await find_history(connection, events, begins - rule.within), []
    timing = rule.timing(settings.flapping.times, settings.flapping.within)
    return list(replay(name, rule, timing, signals, measured, begins, now))


def _settings(assignments: list[str] | None) -> AlerterSettings:
    settings: AlerterSettings = read_config(assignments, services=True).service(ALERTER)
    return settings


def _length(text: str) -> timedelta:
    from tidemill.common.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as wrong:
        fail(str(wrong))


def _fetch(query: str, chosen: Mapping[str, Any], assignments: list[str] | None) -> list[dict[str, Any]]:
    from sqlalchemy import text

    async def fetched() -> list[dict[str, Any]]:
        async with open_store(database_url(assignments)) as connection:
            return [dict(row) for row in (await connection.execute(text(query), chosen)).mappings()]

    return asyncio.run(fetched())


def _print_alerts(found: Sequence[Mapping[str, Any]]) -> None:
    columns = [Column("severity"), Column("state"), Column("since", whole=True), Column("summary", most=90)]
    columns.append(Column("alert", most=60))
    rows = [
        [
            row["severity"],
            row["state"],
            f"{row['since'].astimezone(UTC):%Y-%m-%d %H:%M}" if row["since"] else "",
            row["summary"],
            row["id"],
        ]
        for row in found
    ]
    alarming = {
        n for n, row in enumerate(found) if row["severity"] in ("critical", "error") and row["state"] == "firing"
    }
    notes = [_note(row) for row in found]
    print_table(columns, rows, ("summary", "state", "alert", "severity"), alarming=alarming, notes=notes)


def _note(row: Mapping[str, Any]) -> str:
    taken = row["acknowledged"]
    parts = [
        row["description"],
        f"nobody is told: {row['hidden']}" if row["hidden"] else "",
        f"{taken['by']} takes care of it{': ' + taken['note'] if taken['note'] else ''}" if taken else "",
        f"what to do: {row['runbook']}" if row["runbook"] and row["state"] != "resolved" else "",
    ]
    return " · ".join(filter(None, parts))


def _condition(rule: Rule) -> str:
    where = " ".join(f"{name}={'|'.join(values)}" for name, values in rule.where.items())
    if rule.measure is not None:
        limit = f"> {rule.above:g}" if rule.above is not None else f"< {rule.below:g}"
        return " ".join(filter(None, (rule.measure, where, limit)))
    return " ".join(filter(None, (rule.event, where, f"x{rule.at_least}" if rule.at_least > 1 else "")))


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "at": turn.at.isoformat(),
        "state": turn.state.value,
        "alert": turn.alert.id,
        "labels": dict(turn.alert.labels),
        "summary": turn.summary,
    }


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
