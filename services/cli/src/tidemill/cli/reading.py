"""Opening the datasets of the store for commands that only read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.running import addresses, fail, read_config

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.converter.datasets import Datasets

DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="For instance football.match.")]

UNDEFINED_TABLE = "42P01"


def moment(text: str) -> datetime:
    """A time as people write it: 2025-06-17, 2025-06-17T19:00, with a zone or in UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: write 2025-06-17, 2025-06-17T19:00 or …T19:00+02:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def database_url(assignments: Sequence[str] | None) -> str:
    """The configured database; without one, that of `tidemill up` in this folder."""
    config = read_config(assignments)
    return config.common.database_url or addresses(config).database_url


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection for reading; what is wrong with the database is told, and ends the command."""
    from sqlalchemy.exc import DBAPIError

    from tidemill.common.database import open_engine

    engine = open_engine(url, pool=1, application="tidemill-cli", statement_seconds=None)
    try:
        try:
            connection = await engine.connect()
        except OSError as error:
            fail(f"no database: {error}; is `tidemill up` running, DATABASE_URL right?")
        async with aclosing(connection):
            yield connection
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") == UNDEFINED_TABLE:
            fail("the database has no tables of the converter yet: run `tidemill migrate`, or start `tidemill up`")
        fail(f"the database says: {error.orig}")
    finally:
        await engine.dispose()


async def find_dataset(connection: AsyncConnection, name: str) -> Datasets:
    """All registered datasets, this one surely among them."""
    from tidemill.converter.datasets import fetch_registered, find_datasets

    known = await fetch_registered(connection, find_datasets())
    if name not in known:
        fail(f"there is no dataset {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    return known
