"""`tidemill upgrade`: service after service by the command that restarts it here, and back where one does not come."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.running import Assignments, addresses, fail, read_config, services_named

if TYPE_CHECKING:
    from tidemill.cli.status import Running
    from tidemill.common.servers import Addresses

PLACE = "{service}"
ORDER = ("alerter", "reporter", "converter", "watcher", "downloader", "scraper", "scheduler")
"""Whoever is told comes before whoever tells: nobody hears of an event that only the next release knows."""
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Gate:
    """What must be so after a service was restarted, and how long it is waited for."""

    replicas: int
    """As many as answered before."""
    old: frozenset[str]
    """None of these is left."""
    dead_letters: int
    within: float
    calm: float
    """So long nothing may be wrong."""

    def problem(self, found: Sequence[Running], dead_letters: int) -> str | None:
        if left := [each.id for each in found if each.id in self.old]:
            return f"{len(left)} replicas are not replaced yet"
        if len(found) < self.replicas:
            return f"{len(found)} of {self.replicas} replicas answer"
        for each in found:
            if each.ready is False:
                wrong = "; ".join(f"{name}: {why}" for name, why in each.wrong.items())
                return f"{each.instance or each.id} is not ready: {wrong}"
        if dead_letters > self.dead_letters:
            return f"{dead_letters - self.dead_letters} new dead letters"
        return None


def register(app: typer.Typer) -> None:
    app.command("upgrade")(upgrade)


def upgrade(
    restart: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="Brings the new release of one service; {service} stands for its name, for instance "
            "'systemctl restart tidemill-{service}'.",
        ),
    ],
    back: Annotated[str, typer.Option(metavar="COMMAND", help="Brings the release before.")],
    service: Annotated[list[str] | None, typer.Option(help="Only this service; may be given more than once.")] = None,
    within: Annotated[float, typer.Option(min=1, help="Seconds in which a service must be well again.")] = 120,
    calm: Annotated[float, typer.Option(min=0, help="Seconds for which it must stay so.")] = 10,
    assignments: Assignments = None,
) -> None:
    """Upgrade service after service, each behind a gate: all of its replicas are new, ready, and put no dead letters
    aside. Where one does not come through, it and those before it go back, and the exit status is 1.

    Run `tidemill migrate` of the new release before: its tables serve the running one, too.
    """
    for name, command in (("--restart", restart), ("--back", back)):
        if PLACE not in command:
            fail(f"{name} has no {PLACE}, which stands for the service's name")
    names = {spec.name for spec in services_named(service or ())}
    order = [name for name in ORDER if name in names] + sorted(names - set(ORDER))
    at = addresses(read_config(assignments))
    done: dict[str, int] = {}
    """Service to how many replicas it had."""
    for name in order:
        try:
            gate = asyncio.run(_gate(at, name, within, calm))
        except OSError as error:
            fail(str(error))
        if not gate.replicas:
            typer.echo(f"{name}: does not run, and is left alone")
            continue
        done[name] = gate.replicas
        if problem := _roll(at, name, restart, gate):
            typer.echo(f"{name}: {problem}", err=True)
            _go_back(at, done, back, within, calm)
    typer.echo(f"upgraded: {', '.join(done) or 'nothing'}")


def _go_back(at: Addresses, done: dict[str, int], back: str, within: float, calm: float) -> None:
    """The last one first: it alone may be broken."""
    stuck = []
    for name in reversed(done):
        typer.echo(f"{name}: going back", err=True)
        gate = replace(asyncio.run(_gate(at, name, within, calm)), replicas=done[name])
        if problem := _roll(at, name, back, gate):
            typer.echo(f"{name}: {problem}", err=True)
            stuck.append(name)
    if stuck:
        fail(f"not upgraded, and {', '.join(stuck)} did not come back: look at `tidemill status`")
    fail(f"not upgraded: {', '.join(reversed(done))} went back to the release before")


def _roll(at: Addresses, name: str, command: str, gate: Gate) -> str | None:
    """What kept the service from coming through the gate."""
    begun = time.monotonic()
    ended = subprocess.run(command.replace(PLACE, name), shell=True, check=False)  # noqa: S602 - theirs
    if ended.returncode:
        return f"the command ended with status {ended.returncode}"
    problem = asyncio.run(_wait(at, name, gate))
    if problem is None:
        typer.echo(f"{name}: {gate.replicas} replicas are new and ready after {time.monotonic() - begun:.1f} s")
    return problem


async def _gate(at: Addresses, name: str, within: float, calm: float) -> Gate:
    found, dead = await _look(at, name)
    return Gate(len(found), frozenset(each.id for each in found), dead, within, calm)


async def _wait(at: Addresses, name: str, gate: Gate) -> str | None:
    """Why it is not well when the time is over; None once it was well for long enough."""
    deadline = time.monotonic() + gate.within
    well_since: float | None = None
    while True:
        try:
            problem = gate.problem(*await _look(at, name))
        except OSError as away:
            problem = str(away)
        now = time.monotonic()
        well_since = None if problem else well_since or now
        if well_since is not None and now - well_since >= gate.calm:
            return None
        if problem and now > deadline:
            return problem
        await asyncio.sleep(LOOK_SECONDS)


async def _look(at: Addresses, name: str) -> tuple[list[Running], int]:
    """Its replicas, and how many dead letters of it wait."""
    from tidemill.cli.status import look_into, running
    from tidemill.common.bus.client import CommandFailed, open_client

    try:
        async with open_client(at.nats_url) as client:
            found = [each for each in await running(client, "") if each.service == name]
    except CommandFailed as failed:
        raise OSError(str(failed)) from failed
    stores = (await look_into(at.database_url)).stores
    return found, sum(store.dead_letters for store in stores if store.schema == name)
