import pytest

from tidemill.common.testing.fixtures import NewDatabase
from tidemill.watcher.main import SPEC


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """A fresh database with the watcher's tables."""
    return new_database(SPEC)
