from collections.abc import AsyncIterator

import pytest

from tidemill.common.testing.fixtures import NewDatabase

from .kit import SPECS, World, open_world


@pytest.fixture
async def world(new_database: NewDatabase) -> AsyncIterator[World]:
    """A database with the tables of scheduler, converter and reporter, and the installed datasets."""
    opened = await open_world(new_database(*SPECS))
    yield opened
    await opened.engine.dispose()
