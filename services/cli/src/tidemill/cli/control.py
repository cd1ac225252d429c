"""`tidemill stop`, `pause` and `resume`: of a source, a service, or everything."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from tidemill.cli.asking import SCHEDULER, said
from tidemill.cli.running import Assignments, Output, OutputOption, addresses_in_need, copyable, fail

Source = Annotated[str, typer.Argument(metavar="[SOURCE]", help="A source.")]
Service = Annotated[str, typer.Option(help="A service, on all replicas.")]
All = Annotated[bool, typer.Option("--all", help="Everything.")]
Reason = Annotated[str, typer.Option(help="Why, for those who wonder.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="When it ends by itself: 2h, 2026-12-24, …T18:00+01:00.")]
NOBODY = ("404", "503", "504")
"""Codes of requests that no scheduler has answered."""


def register(app: typer.Typer) -> None:
    app.command("stop")(stop)
    app.command("pause")(pause)
    app.command("resume")(resume)


def stop(
    source: Source = "",
    service: Service = "",
    all_: All = False,
    reason: Reason = "",
    until: Until = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Emergency stop, within a second and until resumed: work in flight is given back, nothing new begins."""
    _hold("stop", said(source=source, service=service, all=all_, reason=reason, until=until), output, assignments)


def pause(
    source: Source = "",
    service: Service = "",
    all_: All = False,
    reason: Reason = "",
    until: Until = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Nothing new begins until resumed; what is in flight is finished."""
    _hold("pause", said(source=source, service=service, all=all_, reason=reason, until=until), output, assignments)


def resume(
    source: Source = "",
    service: Service = "",
    all_: All = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Take back stop and pause of a source, a service, or everything."""
    answer = _ask("resume", said(source=source, service=service, all=all_), assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    freed = ", ".join(answer["resumed"])
    typer.echo(f"taken back: {freed}" if freed else "nothing was stopped or paused there")
    if answer["still_held_by"]:
        typer.echo(f"still held by {answer['still_held_by']}")


def _hold(verb: str, parameters: dict[str, Any], output: Output, assignments: list[str] | None) -> None:
    answer = _ask(verb, parameters, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    until = f" until {answer['until']}" if answer.get("until") else ""
    done = {"stop": "stopped", "pause": "paused"}[verb]
    target = answer["key"].removeprefix(f"{verb}.")
    argument = {"all": "--all"}.get(target, target.replace("service.", "--service ").removeprefix("source."))
    typer.echo(copyable(f"{target.replace('.', ' ')} is {done}{until}; `tidemill resume {argument}` takes it back"))


def _ask(verb: str, parameters: dict[str, Any], assignments: list[str] | None) -> dict[str, Any]:
    """By the scheduler; where none answers, by the bucket itself: an emergency stop must not need anybody."""
    from tidemill.common.bus.client import CommandFailed, open_client, request_command

    url = addresses_in_need(assignments).nats_url

    async def asked() -> dict[str, Any]:
        async with open_client(url) as client:
            try:
                return await request_command(client, SCHEDULER, verb, parameters, timeout=5.0)
            except CommandFailed as failed:
                if failed.code not in NOBODY or "there is no" in str(failed):
                    raise
                typer.echo("no scheduler answers: written to the control bucket directly", err=True)
                return await _write(client, verb, parameters)

    try:
        return asyncio.run(asked())
    except CommandFailed as failed:
        fail(str(failed))


async def _write(client: Any, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
    from tidemill.common.bus.control import read_bucket
    from tidemill.common.bus.topology import CONTROL_SUBJECT, ensure_control

    named = [name for name in ("source", "service", "all") if parameters.get(name)]
    if len(named) != 1:
        fail(f"say what: `tidemill {verb} SOURCE`, `tidemill {verb} --service NAME` or `tidemill {verb} --all`")
    (kind,) = named
    target = "all" if kind == "all" else f"{kind}.{parameters[kind]}"
    js = client.jetstream()
    await ensure_control(js)
    if verb == "resume":
        bucket = await read_bucket(js)
        held = [key for key in (f"stop.{target}", f"pause.{target}") if bucket and key in bucket.entries]
        for key in held:
            await js.publish(f"{CONTROL_SUBJECT}.{key}", b"", headers={"KV-Operation": "DEL"})
        return {"resumed": held, "still_held_by": ""}
    told = {name: parameters[name] for name in ("reason", "actor") if parameters.get(name)}
    if until := _moment(parameters.get("until", "")):
        told["until"] = until
    await js.publish(f"{CONTROL_SUBJECT}.{verb}.{target}", json.dumps(told, ensure_ascii=False).encode())
    return {"key": f"{verb}.{target}", **told}


def _moment(until: str) -> str:
    from datetime import UTC, datetime

    from tidemill.common.bus.step import CommandRefused
    from tidemill.scheduler.commands import until as moment

    try:
        return moment({"until": until}, datetime.now(UTC))
    except CommandRefused as refused:
        fail(str(refused))
