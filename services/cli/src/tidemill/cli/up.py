"""`tidemill up`: everything on one machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer

from tidemill.cli.running import Assignments, fail, read_config, services_named


def register(app: typer.Typer) -> None:
    app.command("up")(up)


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Convert the bundled sample, fetch more of them.")] = False,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for everything that is kept.")] = None,
    service: Annotated[
        list[str] | None, typer.Option(help="Only this service, the others elsewhere; may be given more than once.")
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Start everything on this machine: NATS, Postgres (unless NATS_URL, DATABASE_URL name others) and all services."""
    begun = time.monotonic()
    import asyncio

    from tidemill.cli import demo_site, sample
    from tidemill.cli.live import Screen
    from tidemill.cli.machine import Machine
    from tidemill.cli.together import LogFile, Together
    from tidemill.common.config import ConfigError, load_sources
    from tidemill.common.servers import FolderInUse, FolderNotOurs, ServerFailed
    from tidemill.common.telemetry.logs import configure_logs

    chosen = [] if data is None else [f"data_dir={json.dumps(str(data))}"]
    config = read_config([*(assignments or ()), *chosen], services=True, only=service or ())
    screen = Screen()
    machine = Machine(config.common, screen.say)
    try:
        machine.take()
        if demo:
            sample.provide_source(config)
            demo_site.provide_sources(config)
        sources = load_sources(config.common.sources_dir, config.common.data_dir)
        for site in demo_site.find_sites(config, sources):
            machine.add(site)
        configure_logs(config.common.log, cast(TextIO, LogFile(machine.log)))
        asyncio.run(
            Together(config, sources, services_named(service or ()), machine, screen).run(demo=demo, begun=begun)
        )
    except FolderInUse as taken:
        fail(
            f"another `tidemill up` ({taken.holder}) runs with the data of {config.common.data_dir}: "
            "use that one, end it, or choose another folder with --data"
        )
    except (ConfigError, FolderNotOurs, ServerFailed, sample.NoSample) as wrong:
        fail(str(wrong))
    except OSError as refused:  # A folder that cannot be written, a health port that is taken.
        where = f"{refused.filename}: " if refused.filename else ""
        fail(f"{where}{refused.strerror or refused}; `tidemill doctor` looks further")
