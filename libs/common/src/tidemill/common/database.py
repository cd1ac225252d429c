"""One Postgres, one schema per service."""

from sqlalchemy import MetaData
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tidemill.common.config.references import resolved

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
    """An engine on asyncpg for `postgresql://…` (`?host=/folder` for a socket); dead connections are noticed on use.
    A statement may take `statement_seconds`, or as long as it takes."""
    target = make_url(resolved(url)).set(drivername="postgresql+asyncpg")
    return create_async_engine(
        target,
        pool_size=pool,
        max_overflow=pool,
        pool_pre_ping=False,
        pool_timeout=10,
        connect_args={
            "timeout": 5,
            "command_timeout": statement_seconds,
            "server_settings": {"application_name": application, "jit": "off"},
        },
    )
