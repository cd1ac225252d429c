from collections.abc import AsyncIterator

import pytest

from .store_kit import Store, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The converter's tables in a fresh database, with the datasets of `store_kit`."""
    opened = await open_store(database_url)
    yield opened
    await opened.engine.dispose()
