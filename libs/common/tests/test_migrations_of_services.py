"""The migrations of every installed service, on tables that hold something."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB
from sqlalchemy.types import Boolean, Date, DateTime, Float, Integer, LargeBinary, Numeric, Text

from tidemill.common.database import open_engine
from tidemill.common.migrations import differences, downgrade, migrate
from tidemill.common.revisions import VERSION_TABLE, revisions
from tidemill.common.service import ServiceSpec, find_services, service_names

pytestmark = pytest.mark.servers

EXAMPLES: tuple[tuple[type[Any], Any], ...] = (
    (ARRAY, []),
    (JSONB, {}),
    (BYTEA, b"x"),
    (LargeBinary, b"x"),
    (Boolean, True),
    (Integer, 1),
    (Float, 1.0),
    (Numeric, 1),
    (DateTime, datetime(2026, 1, 1, tzinfo=UTC)),
    (Date, datetime(2026, 1, 1, tzinfo=UTC).date()),
    (Text, "x"),
)

PARTITIONED = """
SELECT parent.relname FROM pg_class parent JOIN pg_namespace space ON space.oid = parent.relnamespace
WHERE parent.relkind = 'p' AND space.nspname = :schema
AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = parent.oid)
"""


def fill(connection: Connection, schema: str) -> int:
    """One row into every table that has none, in the order of foreign keys; how many tables that is."""
    for table in connection.scalars(text(PARTITIONED), {"schema": schema}).all():
        connection.execute(text(f'CREATE TABLE "{schema}"."{table}_all" PARTITION OF "{schema}"."{table}" DEFAULT'))
    found = MetaData()
    found.reflect(connection, schema=schema)
    tables = [table for table in found.sorted_tables if table.name != VERSION_TABLE]
    for table in tables:
        if connection.execute(select(table).limit(1)).first() is None:
            connection.execute(insert(table).values(row_of(connection, table)))
    return len(tables)


def row_of(connection: Connection, table: Table) -> dict[str, Any]:
    needed = [
        column
        for column in table.columns
        if not column.nullable and column.server_default is None and column.identity is None and column.computed is None
    ]
    row = {column.name: example(column.type) for column in needed}
    for column in needed:
        for key in column.foreign_keys:
            row[column.name] = connection.scalar(select(key.column).limit(1))
    return row


def example(kind: Any) -> Any:
    for type_, value in EXAMPLES:
        if isinstance(kind, type_):
            return value
    raise AssertionError(f"no example of {kind!r}: add one")


@pytest.mark.parametrize("name", service_names())
async def test_migrations_go_up_and_down_step_by_step_on_filled_tables(name: str, database_url: str) -> None:
    (spec,) = find_services([name])
    assert spec.metadata.schema
    steps = revisions(spec)
    engine = open_engine(database_url)

    async def filled() -> int:
        async with engine.begin() as connection:
            return await connection.run_sync(fill, str(spec.metadata.schema))

    for revision in steps:
        await migrate(database_url, [spec], revision)
        assert await filled() > 0
    for below in reversed(["base", *steps[:-1]]):
        await downgrade(database_url, spec, below)
        assert (await filled() > 0) is (below != "base")
    await migrate(database_url, [spec])
    assert await filled() > 0
    await engine.dispose()


@pytest.mark.parametrize("name", service_names())
async def test_alembic_finds_nothing_to_change(name: str, database_url: str) -> None:
    specs: list[ServiceSpec] = find_services()
    await migrate(database_url, specs)
    (spec,) = (spec for spec in specs if spec.name == name)
    assert await differences(database_url, spec) == []
