"""Backups that somebody tells of."""

from typing import Any

import pytest
from sqlalchemy import text

from tidemill.common.bus.step import CommandRefused
from tidemill.scheduler.backups import report

from .conftest import START, Station

pytestmark = pytest.mark.servers

TOLD = {
    "folder": "/backups",
    "name": "20260302T060000Z",
    "began_at": START.isoformat(),
    "finished_at": "2026-03-02T06:00:09",
    "bytes": 17,
}


async def tell(station: Station, **more: Any) -> Any:
    async with station.bus.transaction() as tx:
        return await report(tx, "id", {**TOLD, **more})


async def test_a_backup_is_noted_once_however_often_it_is_told(station: Station) -> None:
    answer = await tell(station)
    assert answer.body == {"good": True}
    assert (answer.change.action, answer.change.target) == ("backup.take", "/backups")
    await tell(station)
    await tell(station, name="20260303T060000Z", problem="the disk is full", scheduled=True)
    async with station.engine.connect() as connection:
        found = (
            await connection.execute(
                text("SELECT good, scheduled, bytes, problem FROM scheduler.backups ORDER BY name")
            )
        ).all()
    assert [tuple(row) for row in found] == [(True, False, 17, ""), (False, True, 17, "the disk is full")]


async def test_a_time_that_is_none_is_refused(station: Station) -> None:
    with pytest.raises(CommandRefused, match="finished_at is a time like"):
        await tell(station, finished_at="yesterday")
