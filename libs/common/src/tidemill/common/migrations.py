"""Each service's tables, brought to a revision: Alembic without an env.py, one version table per schema."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tidemill.common.database import target_of
from tidemill.common.revisions import VERSION_TABLE, Migrated, current, folder_of, revisions, schema_of

T = TypeVar("T")


class UnknownRevision(Exception):
    """The database, or the caller, names a revision that this version of the code does not have."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a migration did to one service's schema; None is the empty one."""

    service: str
    before: str | None
    after: str | None


async def migrate(url: str, specs: Iterable[Migrated], revision: str = "head") -> list[Change]:
    """Bring every service's schema up to `revision`, each in one transaction. Replicas may call it at once."""
    return [await _under_lock(url, spec, partial(_run, spec=spec, revision=revision)) for spec in specs]


async def downgrade(url: str, spec: Migrated, revision: str) -> Change:
    """Back to `revision`; `base` removes all of the service's tables and what is in them."""
    return await _under_lock(url, spec, partial(_run, spec=spec, revision=revision, down=True))


async def differences(url: str, spec: Migrated) -> list[Any]:
    """What Alembic would still change to make the database as the tables in the code are; empty when all is well."""
    return await _under_lock(url, spec, partial(_compare, spec=spec))


def scripts(spec: Migrated) -> ScriptDirectory:
    folder = folder_of(spec)
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


async def _under_lock(url: str, spec: Migrated, work: Callable[[Connection], T]) -> T:
    # No command timeout and no pool: a migration takes as long as it takes.
    target, tls = target_of(url)
    engine = create_async_engine(target, poolclass=NullPool, connect_args=tls)
    try:
        async with engine.begin() as connection:
            schema = schema_of(spec)
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"tidemill.migrate.{schema}"}
            )
            await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _run(connection: Connection, spec: Migrated, revision: str, *, down: bool = False) -> Change:
    directory = scripts(spec)
    before = current(connection, spec)
    if before is not None and before not in revisions(spec):
        raise UnknownRevision(
            f"schema {schema_of(spec)} is at revision {before}, which this version of {spec.name} does not know: "
            "it was migrated by a newer one; install that, or go down with it first"
        )

    def steps(at: Any, _context: Any) -> Any:
        try:
            if down:
                return directory._downgrade_revs(revision, at)
            return directory._upgrade_revs(revision, at)
        except CommandError as unknown:
            known = ", ".join(revisions(spec))
            raise UnknownRevision(f"{spec.name} has no revision {revision}; it has: {known}") from unknown

    with EnvironmentContext(Config(), directory, fn=steps, destination_rev=revision) as environment:
        environment.configure(connection=connection, **_options(spec))
        environment.run_migrations()
    return Change(spec.name, before, current(connection, spec))


def _options(spec: Migrated) -> dict[str, Any]:
    return {
        "target_metadata": spec.metadata,
        "version_table": VERSION_TABLE,
        "version_table_schema": schema_of(spec),
        "include_schemas": True,
    }


PARTITIONS = """
SELECT child.relname FROM pg_class child JOIN pg_namespace space ON space.oid = child.relnamespace
WHERE child.relispartition AND space.nspname = ANY(:schemas)
"""


def _compare(connection: Connection, spec: Migrated) -> list[Any]:
    schemas = {table.schema for table in spec.metadata.tables.values()} | {schema_of(spec)}
    partitions = set(connection.scalars(text(PARTITIONS), {"schemas": list(schemas)}))

    def include(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name in schemas
        return not (kind == "table" and name in partitions)

    with EnvironmentContext(Config(), scripts(spec)) as environment:
        environment.configure(connection=connection, include_name=include, **_options(spec))
        found: list[Any] = compare_metadata(environment.get_context(), spec.metadata)
    return found
