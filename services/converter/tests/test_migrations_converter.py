"""The converter's migrations go up and down, on tables that are filled."""

import pytest

from tidemill.common.migrations import differences, downgrade, migrate
from tidemill.common.revisions import revisions
from tidemill.converter.datasets import register_datasets

from .store_kit import ALL, CONVERTER, Store, day, price

pytestmark = pytest.mark.servers


async def test_nothing_is_left_for_autogenerate_even_with_partitions(store: Store, database_url: str) -> None:
    assert await differences(database_url, CONVERTER) == []


async def test_each_revision_goes_down_and_up_on_filled_tables(store: Store, database_url: str) -> None:
    await store.put([price("a", 1)], day(1))
    for revision in reversed(["base", *revisions(CONVERTER)][:-1]):
        await downgrade(database_url, CONVERTER, revision)
        await migrate(database_url, [CONVERTER])
        store.datasets = await register_datasets(store.engine, ALL)
        await store.put([price("a", 1), price("b", 2)], day(2), name="again")
        assert await store.current("b") == 2
    await downgrade(database_url, CONVERTER, "base")
    left = await store.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'converter'")
    assert [row["tablename"] for row in left] == ["alembic_version"]
