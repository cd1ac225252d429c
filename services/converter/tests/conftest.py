from collections.abc import AsyncIterator

import pytest

from tidemill.common.testing.fixtures import NewDatabase

from .store_kit import CONVERTER, Store, open_store


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """A fresh database with the converter's tables."""
    return new_database(CONVERTER)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The converter's tables, with the datasets of `store_kit`."""
    opened = await open_store(database_url)
    yield opened
    await opened.engine.dispose()
