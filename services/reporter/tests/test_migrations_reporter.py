"""The reporter's migrations go up and down, on tables that are filled."""

import pytest

from tidemill.common.migrations import differences, downgrade, migrate, revisions
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.reporter.main import SPEC

from .kit import MONDAY, SPECS, listing, open_world

pytestmark = pytest.mark.servers


async def test_each_revision_goes_down_and_up_on_filled_tables(new_database: NewDatabase) -> None:
    url = new_database(*SPECS)
    assert await differences(url, SPEC) == []
    world = await open_world(url)
    await world.run("demo", MONDAY, [listing(1)], new=1)
    for revision in reversed(["base", *revisions(SPEC)][:-1]):
        await downgrade(url, SPEC, revision)
        await migrate(url, [SPEC])
        await world.run("demo", MONDAY, [listing(1)], new=1)
        assert await world.scalar("SELECT count(*) FROM reporter.due") == 2
    await world.engine.dispose()
