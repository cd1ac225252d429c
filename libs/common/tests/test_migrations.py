"""Migrations of one service: up, down, at once, and held against the tables in the code."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, text

from tidemill.common.database import open_engine, service_metadata
from tidemill.common.migrations import UnknownRevision, differences, downgrade, migrate
from tidemill.common.revisions import pending, revisions

pytestmark = pytest.mark.servers

FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("grain", sa.Column("id", sa.Integer, primary_key=True), schema="mill")


def downgrade() -> None:
    op.drop_table("grain", schema="mill")
"""

SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("grain", sa.Column("kind", sa.Text), schema="mill")


def downgrade() -> None:
    op.drop_column("grain", "kind", schema="mill")
"""


@dataclass(frozen=True)
class Mill:
    name: str
    metadata: MetaData
    migrations: str


@pytest.fixture
def mill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mill:
    package = tmp_path / f"migrations_of_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "m0001.py").write_text(FIRST)
    (package / "m0002.py").write_text(SECOND)
    monkeypatch.syspath_prepend(tmp_path)
    metadata = service_metadata("mill")
    Table("grain", metadata, Column("id", Integer, primary_key=True), Column("kind", Text))
    return Mill("mill", metadata, package.name)


async def missing(url: str, mill: Mill) -> str | None:
    engine = open_engine(url)
    async with engine.connect() as connection:
        found = await pending(connection, mill)
    await engine.dispose()
    return found


async def test_tables_go_up_and_down_and_say_where_they_are(database_url: str, mill: Mill) -> None:
    assert revisions(mill) == ["0001", "0002"]
    assert "is at nothing, not at 0002" in str(await missing(database_url, mill))
    (change,) = await migrate(database_url, [mill])
    assert (change.before, change.after) == (None, "0002")
    assert await missing(database_url, mill) is None
    back = await downgrade(database_url, mill, "0001")
    assert (back.before, back.after) == ("0002", "0001")
    assert "is at 0001, not at 0002" in str(await missing(database_url, mill))
    assert (await downgrade(database_url, mill, "base")).after is None


async def test_replicas_may_migrate_at_once(database_url: str, mill: Mill) -> None:
    changes = await asyncio.gather(*(migrate(database_url, [mill]) for _ in range(5)))
    assert sorted(change.before or "" for (change,) in changes) == ["", "0002", "0002", "0002", "0002"]


async def test_a_table_that_no_migration_makes_is_a_difference(database_url: str, mill: Mill) -> None:
    await migrate(database_url, [mill])
    assert await differences(database_url, mill) == []
    Table("flour", mill.metadata, Column("id", Integer, primary_key=True))
    assert [difference[0] for difference in await differences(database_url, mill)] == ["add_table"]


async def test_partitions_and_other_schemas_are_no_difference(database_url: str, mill: Mill) -> None:
    await migrate(database_url, [mill])
    ledger = Table("ledger", mill.metadata, Column("id", Integer), postgresql_partition_by="RANGE (id)")
    engine = open_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(ledger.create)
        await connection.execute(text("CREATE TABLE mill.ledger_rest PARTITION OF mill.ledger DEFAULT"))
        await connection.execute(text("CREATE TABLE public.stranger (id int)"))
    await engine.dispose()
    assert await differences(database_url, mill) == []


async def test_a_database_of_a_newer_version_is_left_alone_and_can_be_worked_on(database_url: str, mill: Mill) -> None:
    await migrate(database_url, [mill])
    engine = open_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE mill.alembic_version SET version_num = '0003'"))
    await engine.dispose()
    with pytest.raises(UnknownRevision, match="newer"):
        await migrate(database_url, [mill])
    assert await missing(database_url, mill) is None


async def test_an_unknown_revision_is_answered_with_the_known_ones(database_url: str, mill: Mill) -> None:
    with pytest.raises(UnknownRevision, match="0001, 0002"):
        await migrate(database_url, [mill], "0009")
