"""Which revisions of its tables a service has, and at which a database is: without Alembic, which is large."""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection

VERSION_TABLE = "alembic_version"

_REVISION = re.compile(r'^revision = "(\w+)"\s^down_revision = (?:"(\w+)"|None)$', re.MULTILINE)


class Migrated(Protocol):
    """What a service tells about its tables; a ServiceSpec does."""

    @property
    def name(self) -> str: ...

    @property
    def metadata(self) -> MetaData: ...

    @property
    def migrations(self) -> str:
        """Package whose modules are the revisions."""


async def pending(connection: AsyncConnection, spec: Migrated) -> str | None:
    """What is missing before this code can work on the database. One that is newer than the code is fine: migrations
    work with the version that is running."""
    known = revisions(spec)
    now = await connection.run_sync(current, spec)
    if now == known[-1] or (now is not None and now not in known):
        return None
    return f"schema {schema_of(spec)} is at {now or 'nothing'}, not at {known[-1]}"


def revisions(spec: Migrated) -> Sequence[str]:
    """From the first to the head."""
    texts = [module.read_text() for module in folder_of(spec).glob("*.py")]
    after = {said[2]: said[1] for text in texts if (said := _REVISION.search(text))}
    ordered: list[str] = []
    while following := after.get(ordered[-1] if ordered else None):
        ordered.append(following)
    return ordered


def folder_of(spec: Migrated) -> Path:
    return Path(next(iter(importlib.import_module(spec.migrations).__path__)))


def schema_of(spec: Migrated) -> str:
    assert spec.metadata.schema, f"{spec.name}: its metadata has no schema"
    return spec.metadata.schema


def current(connection: Connection, spec: Migrated) -> str | None:
    table = f"{schema_of(spec)}.{VERSION_TABLE}"
    if connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}) is None:
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {table}"))
    return version
