"""`tidemill database-roles`: a role in Postgres for each service, with its own schema and the reads it needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli.password_files import passwords
from tidemill.cli.running import Assignments, addresses, fail, read_config, services_named


def register(app: typer.Typer) -> None:
    app.command("database-roles")(database_roles)


def database_roles(
    folder: Annotated[
        Path,
        typer.Option("--passwords", metavar="DIR", help="Folder with each role's password in a file database-SERVICE."),
    ],
    make: Annotated[bool, typer.Option("--make", help="Make the passwords that are missing there.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the roles, as the owner of the tables; without it print the SQL.")
    ] = False,
    assignments: Assignments = None,
) -> None:
    """Give each service a role of its own (tidemill_SERVICE), and everybody who only looks tidemill_reader. Run it
    after each migration."""
    from sqlalchemy.engine import make_url

    from tidemill.cli.roles_sql import READER, role_of, roles_sql
    from tidemill.common.config.references import resolved
    from tidemill.converter.datasets import find_datasets

    specs = services_named()
    known = passwords(folder, "database", [*(spec.name for spec in specs), READER], make=make)
    url = addresses(read_config(assignments)).database_url
    views = {dataset.name.partition(".")[0] for dataset in find_datasets()}
    sql = roles_sql(specs, views, known, make_url(resolved(url)).database or "postgres")
    if not apply:
        typer.echo(sql, nl=False)
        return
    try:
        asyncio.run(run_sql(url, sql))
    except OSError as error:
        fail(str(error))
    typer.echo("made " + ", ".join(role_of(name) for name in known))


async def run_sql(url: str, sql: str) -> None:
    import asyncpg

    from tidemill.common.database import open_engine

    engine = open_engine(url, pool=1, application="tidemill-database-roles", statement_seconds=None)
    try:
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            try:
                await raw.driver_connection.execute(sql)  # type: ignore[union-attr] # asyncpg's own: many statements.
            except asyncpg.PostgresError as refused:
                fail(f"Postgres refuses: {refused}; the roles are made by who owns the tables and may make roles")
    finally:
        await engine.dispose()
