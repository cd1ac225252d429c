"""Kept versions of the configuration, as every service reads them: schema `config`, which the scheduler fills.

Acknowledgements are the one table that all services write: what each replica runs, and what it thinks of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.config.content import Content, digest
from tidemill.common.database import service_metadata

SCHEMA = "config"
metadata = service_metadata(SCHEMA)

MOMENT = DateTime(timezone=True)

versions = Table(
    "versions",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", MOMENT, nullable=False, server_default=func.now()),
    Column("author", Text, nullable=False),
    Column("via", Text, nullable=False, comment="cli, bus, file."),
    Column("comment", Text, nullable=False, server_default=""),
    Column("sha256", Text, nullable=False, comment="Of the content: the same for the same files."),
    Column("content", JSONB, nullable=False, comment="Texts by file name. Secrets are named in it, never written."),
    comment="Every configuration that was valid when it was applied; the last one is the active one.",
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("refused_at", MOMENT, nullable=False, server_default=func.now()),
    Column("author", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("version", BigInteger, nullable=False, comment="The one that stayed."),
    Column("sha256", Text, nullable=False),
    Column("problems", ARRAY(Text), nullable=False, comment="A sentence each, with file and line."),
    Column("settled_at", MOMENT, comment="When something valid was offered after it."),
    comment="Configurations that were offered and could not be applied.",
)

SHARED_TABLE = "config.acknowledgements"
"""The one table that every service writes."""

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("service", Text, primary_key=True),
    Column("instance", Text, primary_key=True, comment="Process of the service: host, number, and a mark."),
    Column("version", BigInteger, nullable=False, comment="The one this answers to."),
    Column("running", BigInteger, nullable=False, comment="The one it works by; 0: the files of its folder."),
    Column("problem", Text, nullable=False, server_default="", comment="What of it cannot be done here."),
    Column("restart", ARRAY(Text), nullable=False, comment="Settings that wait for a restart of the process."),
    Column("at", MOMENT, nullable=False, server_default=func.now()),
    Column("seen_at", MOMENT, nullable=False, server_default=func.now(), comment="Its last sign of life."),
    Column("began_at", MOMENT, nullable=False, server_default=func.now()),
    comment="What each replica says to the active version. Written by the services themselves.",
)

ABSENT = "to_regclass('config.versions') IS NULL"

SEEN_EVERY_SECONDS = 10.0
GONE_AFTER_SECONDS = 35
"""A replica that gave no sign of life for so long runs no more."""


@dataclass(frozen=True, slots=True)
class Version:
    version: int
    created_at: datetime
    author: str
    via: str
    comment: str
    content: Content

    @property
    def sha256(self) -> str:
        return digest(self.content)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one replica says to a version."""

    service: str
    instance: str
    version: int
    running: int
    problem: str = ""
    restart: Sequence[str] = ()


async def active_version(connection: AsyncConnection) -> int:
    """Its number; 0 while there is none, or nobody has made the tables yet."""
    if await connection.scalar(text(f"SELECT {ABSENT}")):
        return 0
    return int(await connection.scalar(text("SELECT coalesce(max(version), 0) FROM config.versions")) or 0)


async def find_version(connection: AsyncConnection, number: int | None = None) -> Version | None:
    """This version, or the active one."""
    if await connection.scalar(text(f"SELECT {ABSENT}")):
        return None
    query = versions.select().order_by(versions.c.version.desc()).limit(1)
    row = (await connection.execute(query if number is None else query.where(versions.c.version == number))).first()
    if row is None:
        return None
    return Version(row.version, row.created_at, row.author, row.via, row.comment, row.content)


ACKNOWLEDGE = text("""
INSERT INTO config.acknowledgements (service, instance, version, running, problem, restart)
VALUES (:service, :instance, :version, :running, :problem, :restart)
ON CONFLICT (service, instance) DO UPDATE SET version = excluded.version, running = excluded.running,
    problem = excluded.problem, restart = excluded.restart, at = now(), seen_at = now()
""")


async def acknowledge(connection: AsyncConnection, said: Acknowledgement) -> None:
    """Say what this replica makes of a version; the rows of replicas long gone are swept away."""
    await connection.execute(
        ACKNOWLEDGE,
        {
            "service": said.service,
            "instance": said.instance,
            "version": said.version,
            "running": said.running,
            "problem": said.problem,
            "restart": list(said.restart),
        },
    )
    await connection.execute(text("DELETE FROM config.acknowledgements WHERE seen_at < now() - interval '1 day'"))


async def give_sign_of_life(connection: AsyncConnection, service: str, *instances: str) -> None:
    await connection.execute(
        text(
            "UPDATE config.acknowledgements SET seen_at = now() WHERE service = :service AND instance = ANY(:instances)"
        ),
        {"service": service, "instances": list(instances)},
    )


async def take_leave(connection: AsyncConnection, service: str, instance: str) -> None:
    """This replica ends in order."""
    await connection.execute(
        text("DELETE FROM config.acknowledgements WHERE service = :service AND instance = :instance"),
        {"service": service, "instance": instance},
    )


async def living(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Acknowledgements of replicas that gave a sign of life lately."""
    if await connection.scalar(text(f"SELECT {ABSENT}")):
        return []
    rows = await connection.execute(
        text(
            "SELECT service, instance, version, running, problem, restart, at FROM config.acknowledgements "
            f"WHERE seen_at > now() - interval '{GONE_AFTER_SECONDS} seconds' ORDER BY service, instance"
        )
    )
    return [dict(row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class Sign:
    """The last sign of life of a replica that did not take leave."""

    service: str
    instance: str
    began_at: datetime
    seen_at: datetime


async def signs(connection: AsyncConnection) -> list[Sign]:
    """Of one day."""
    if await connection.scalar(text(f"SELECT {ABSENT}")):
        return []
    rows = await connection.execute(
        text(
            "SELECT service, instance, began_at, seen_at FROM config.acknowledgements "
            "WHERE seen_at > now() - interval '1 day' ORDER BY service, seen_at, instance"
        )
    )
    return [Sign(*row) for row in rows]
