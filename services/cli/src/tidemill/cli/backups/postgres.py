"""The database: dumped as it was at one moment, and put into an empty one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import zstandard
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
from tidemill.cli.backups.sealed import Kept, Seal, unseal
from tidemill.common.config.references import resolved
from tidemill.common.database import TLS, open_engine
from tidemill.common.servers import ServerFailed
from tidemill.common.servers.postgres import binary

TABLES = text("""
    SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2
""")
OUTBOXES = text("SELECT nspname FROM pg_namespace WHERE to_regclass(format('%I.outbox', nspname)) IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of the database that stays readable while its transaction is open."""

    connection: AsyncConnection
    id: str
    at: datetime
    version: str


@asynccontextmanager
async def open_snapshot(url: str) -> AsyncIterator[Snapshot]:
    """What is committed now, and nothing of what comes later."""
    engine = open_engine(url, pool=1, application="tidemill-backup", statement_seconds=None)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            row = (
                await connection.execute(
                    text("SELECT pg_export_snapshot(), clock_timestamp(), current_setting('server_version')")
                )
            ).one()
            yield Snapshot(connection, row[0], row[1], row[2])
    finally:
        await engine.dispose()


async def count_rows(connection: AsyncConnection) -> dict[str, int]:
    """Of every table that is not the system's."""
    found = {}
    for schema, name in (await connection.execute(TABLES)).all():
        quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
        found[f"{schema}.{name}"] = int(await connection.scalar(text(f"SELECT count(*) FROM {quoted}")) or 0)
    return found


def dump(url: str, snapshot: str, seal: Seal, target: Path) -> Kept:
    """The whole database at the snapshot. Raises BackupFailed."""
    command = [_program("pg_dump"), "--format=custom", "--compress=none", f"--snapshot={snapshot}", "--no-password"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment_of(url), stdout=subprocess.PIPE, stderr=said)
        assert process.stdout
        with process.stdout as output, zstandard.ZstdCompressor(level=3).stream_reader(output) as packed:
            kept = seal.write(packed, target)
        if process.wait():
            raise BackupFailed(f"pg_dump failed: {_last_line(said)}")
    return kept


def restore(url: str, path: Path, identities: Callable[[], Iterator[object]]) -> None:
    """All of a dump or nothing, owned by whoever restores. Raises BackupFailed."""
    environment = environment_of(url)
    whole = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password")
    _read([_program("pg_restore"), f"--dbname={environment['PGDATABASE']}", *whole], path, identities, environment)


def list_tables(path: Path, identities: Callable[[], Iterator[object]]) -> set[str]:
    """Whose rows a dump holds, read from its own table of contents. Raises BackupDamaged."""
    try:
        listing = _read([_program("pg_restore"), "--list"], path, identities, dict(os.environ))
    except BackupFailed as error:
        raise BackupDamaged(f"{path}: {error}") from None
    words = (line.split() for line in listing.splitlines() if not line.startswith(";"))
    return {f"{line[5]}.{line[6]}" for line in words if line[3:5] == ["TABLE", "DATA"]}


async def forget_confirmations(connection: AsyncConnection) -> int:
    """Streams that were put back are older than the database: what was on its way is published again, and consumers
    know what they have had."""
    count = 0
    for schema in (await connection.scalars(OUTBOXES)).all():
        found = await connection.execute(text(f'UPDATE "{schema}".outbox SET sent_at = NULL, server_id = NULL'))
        await connection.execute(
            text(f'UPDATE "{schema}".dead_letters SET in_stream = true WHERE handled_at IS NOT NULL AND NOT in_stream')
        )
        count += found.rowcount
    return count


def environment_of(url: str) -> dict[str, str]:
    """For libpq; not as words of a command, which everybody on the machine can read."""
    target = make_url(resolved(url))
    host = target.query.get("host") or target.host or ""
    named: Mapping[str, object] = {
        "PGHOST": host if isinstance(host, str) else host[0],
        "PGPORT": target.query.get("port") or target.port or "",
        "PGUSER": target.username or "",
        "PGPASSWORD": target.password or "",
        "PGDATABASE": target.database or "",
        "PGSSLMODE": target.query.get("ssl") or "",  # As SQLAlchemy calls it.
        **{f"PG{name.upper()}": target.query[name] for name in TLS if name in target.query},
        "PGAPPNAME": "tidemill-backup",
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return plain | {name: str(value) for name, value in named.items() if value}


def _read(
    command: list[str], path: Path, identities: Callable[[], Iterator[object]], environment: Mapping[str, str]
) -> str:
    """What a program prints that reads a dump."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=printed, stderr=said)
        assert process.stdin
        try:
            with process.stdin as input_, zstandard.ZstdDecompressor().stream_writer(input_, closefd=False) as plain:
                unseal(path, plain, identities())
        except BrokenPipeError:  # It has read enough, or says why not.
            pass
        except zstandard.ZstdError as error:
            process.kill()
            process.wait()
            raise BackupDamaged(f"{path} cannot be decompressed: {error}") from None
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.wait():
            raise BackupFailed(f"{Path(command[0]).name} failed: {_last_line(said)}")
        printed.seek(0)
        return printed.read().decode(errors="replace")


def _program(name: str) -> str:
    """The wheel's, which knows every server up to its own version; else the one on PATH."""
    try:
        return str(binary(name))
    except ServerFailed:
        found = shutil.which(name)
        if found is None:
            raise BackupFailed(f"{name} is missing: install Postgres's client programs") from None
        return found


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"


async def occupant(url: str) -> str | None:
    """None, or what is there."""
    engine = open_engine(url, pool=1, application="tidemill-backup")
    try:
        async with engine.connect() as connection:
            tables = (await connection.execute(TABLES)).all()
    finally:
        await engine.dispose()
    return f"{len(tables)} tables, for instance {tables[0].schema}.{tables[0].name}" if tables else None
