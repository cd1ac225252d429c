"""One Postgres, one schema per service."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import MetaData, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tidemill.common.config.references import UnresolvedReference, refers, resolved
from tidemill.common.telemetry.metrics import SLOW_STATEMENTS, Metrics

log = structlog.get_logger(__name__)

SLOW_SECONDS = 1.0
SHOWN = 500
"""Letters of a slow statement."""
TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")
"""What libpq, and hosted servers, call it in an address."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def service_metadata(schema: str) -> MetaData:
    """The tables that one service owns, in its schema, with constraint names that migrations can rely on."""
    return MetaData(schema=schema, naming_convention=NAMING)


def open_engine(
    url: str, *, pool: int = 5, application: str = "tidemill", statement_seconds: int | None = 60
) -> AsyncEngine:
    """An engine on asyncpg for `postgresql://…` (`?host=/folder` for a socket, `?sslmode=verify-full&sslrootcert=/file`
    for TLS); dead connections are noticed on use.
    A statement may take `statement_seconds`, or as long as it takes. A password that is replaced in its file counts for
    the next connection."""
    target, tls = target_of(url)
    engine = create_async_engine(
        target,
        pool_size=pool,
        max_overflow=pool,
        pool_pre_ping=False,
        pool_timeout=10,
        connect_args=tls
        | {
            "timeout": 5,
            "command_timeout": statement_seconds,
            "server_settings": {"application_name": application, "jit": "off"},
        },
    )
    if refers(url):
        _fetch_password_again(engine, url)
    _watch_statements(engine, Metrics(application.removeprefix("tidemill-")))
    return engine


def target_of(url: str) -> tuple[URL, dict[str, Any]]:
    """An address as SQLAlchemy takes it, and words for asyncpg: it knows TLS by libpq's names, but in a DSN alone."""
    target = make_url(resolved(url)).set(drivername="postgresql+asyncpg")
    tls = {name: target.query[name] for name in TLS if name in target.query}
    dsn = URL.create("postgresql", query=tls).render_as_string()
    return target.difference_update_query(TLS), {"dsn": dsn} if tls else {}


def _fetch_password_again(engine: AsyncEngine, url: str) -> None:
    """Before each connection: who changes a password need not restart us."""

    def connect(dialect: object, record: object, words: object, options: dict[str, Any]) -> None:
        with suppress(UnresolvedReference):  # While the file is written, the one before it.
            options["password"] = make_url(resolved(url)).password

    event.listen(engine.sync_engine, "do_connect", connect)


def _watch_statements(engine: AsyncEngine, metrics: Metrics) -> None:
    """Tell of those that take long, with the SQL but without what was asked about."""

    def watched(execute: Callable[..., None]) -> Callable[..., bool]:
        def watch(cursor: object, statement: str, *rest: object) -> bool:
            began = time.monotonic()
            try:
                execute(cursor, statement, *rest)
            finally:  # Those that are given up are the slowest of all.
                seconds = time.monotonic() - began
                if seconds >= SLOW_SECONDS:
                    metrics.of(SLOW_STATEMENTS).inc()
                    log.warning("slow statement", seconds=round(seconds, 3), sql=" ".join(statement.split())[:SHOWN])
            return True  # It is executed.

        return watch

    # Events of the dialect: with a single one of the engine's, every statement and connection goes a longer way.
    for way in ("do_execute", "do_execute_no_params", "do_executemany"):
        event.listen(engine.sync_engine, way, watched(getattr(engine.dialect, way)))
