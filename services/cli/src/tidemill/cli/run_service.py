"""`tidemill run-service`: one service in a process of its own; as many side by side as there is work for."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.running import Assignments, services_named


def register(app: typer.Typer) -> None:
    app.command("run-service")(run_service)


def run_service(
    name: Annotated[str, typer.Argument(help="For instance watcher.")], assignments: Assignments = None
) -> None:
    """Run one service until SIGTERM or Ctrl-C. It waits for NATS, Postgres and migrations, and says so."""
    from tidemill.common.service import run

    (spec,) = services_named([name])
    raise typer.Exit(run(spec, assignments or ()))
