"""`tidemill demo`: what the demo's web sites on this machine do when a person says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from tidemill.cli.asking import SCHEDULER, said
from tidemill.cli.report import built, write_all
from tidemill.cli.run import Following, ending
from tidemill.cli.running import Assignments, addresses, copyable, fail, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.client import Client

    from tidemill.cli.demo_site import DemoSite

UNDER_WAY = "409"
TRIES = 5


def register(app: typer.Typer) -> None:
    demo = typer.Typer(help="The demo's web sites on this machine.", no_args_is_help=True)
    demo.callback()(lambda: None)  # Else a group of one command is that command.
    demo.command()(advance)
    app.add_typer(demo, name="demo")


def advance(assignments: Assignments = None) -> None:
    """The demo's next day: its sites go on by one, what is new there is collected, and the report on today is made
    without waiting for midnight."""
    from tidemill.common.bus.client import CommandFailed

    config = read_config(assignments)
    url = addresses(config).nats_url
    sites = _find_sites(assignments)
    sources = [source for _, several in sites for source in several]
    try:
        typer.echo("What the sites have had so far is collected first.", err=True)
        for source in sources:
            asyncio.run(_settle(url, source))
        for site, _ in sites:
            typer.echo(f"{site.name}: {_advanced(site)}")
        ended = []
        for source in sources:
            ended.append(asyncio.run(_collect(url, source)))
            typer.echo(ending(ended[-1]))
    except CommandFailed as failed:
        fail(str(failed))
    made = built("today", assignments)
    about = made["about"]
    typer.echo(f"\nThe report on today, {about}, is made, edition {made['edition']}: as things are now, for today is")
    typer.echo("not over. When it is, the report is made again by itself. This one is in these files:\n")
    for file in write_all(about, assignments):
        typer.echo(f"  {file}")
    typer.echo(copyable(f"\nRead it here: `tidemill report show {about}`"))
    if any(answer["state"] != "complete" for answer in ended):
        raise typer.Exit(1)


def _find_sites(assignments: list[str] | None) -> list[tuple[DemoSite, Sequence[str]]]:
    """Each with its sources that are there."""
    from tidemill.cli import demo_site
    from tidemill.common.config import load_sources

    config = read_config(assignments)
    sources = load_sources(config.common.sources_dir, config.common.data_dir)
    found: list[tuple[DemoSite, Sequence[str]]] = [
        (site, [name for name in site.sources if name in sources]) for site in demo_site.find_sites(config, sources)
    ]
    if not found:
        fail("there is no demo here; `tidemill up --demo` brings it along")
    return found


def _advanced(site: DemoSite) -> str:
    try:
        return site.advance()
    except OSError as away:
        fail(f"the {site.name} does not answer at {site.url}: {away}; is `tidemill up` running?")


async def _settle(url: str, source: str) -> None:
    """What is under way of it has ended, and it ran at least once: else the day before had no end."""
    from tidemill.common.bus.client import open_client

    async with open_client(url) as client:
        following = await Following.open(client, source)
        standing = await _end_of_runs(following, source)
        if not standing["runs"] and not any(one["last"] for one in standing["sources"]):
            await _run(client, following, source, "the demo's first day")


async def _collect(url: str, source: str) -> dict[str, Any]:
    """How the run ended that began after the day did."""
    from tidemill.common.bus.client import open_client

    async with open_client(url) as client:
        return await _run(client, await Following.open(client, source), source, "the demo went on by a day")


async def _run(client: Client, following: Following, source: str, why: str) -> dict[str, Any]:
    """One that a schedule began in the meantime is let end first."""
    from tidemill.common.bus.client import CommandFailed, request_command

    for tries in range(TRIES):
        try:
            begun = await request_command(client, SCHEDULER, "run", said(source=source, reason=why))
        except CommandFailed as refused:
            if refused.code != UNDER_WAY or tries == TRIES - 1:
                raise
            await _end_of_runs(following, source)
        else:
            return await following.until_ended(begun)
    raise AssertionError


async def _end_of_runs(following: Following, source: str) -> Mapping[str, Any]:
    """How the source stood before."""
    standing = await following.status(source=source)
    for run in standing["runs"]:
        await following.until_ended(run)
    return standing
