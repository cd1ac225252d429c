"""Which database errors are the moment's and which are the data's."""

import asyncio

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_CANCELLED = "57014"
"""By the statement timeout."""
_TRANSIENT_CLASSES = (
    "08",  # connection
    "40",  # deadlock, serialisation
    "53",  # disk full, out of memory, too many connections
    "57P",  # shutdown, crash recovery, not accepting connections yet
    "58",  # the system below: I/O error
)
_TRANSIENT_STATES = {
    "25006",  # read-only: a standby during failover
    "55P03",  # lock not available
    _CANCELLED,
}


def is_timeout(error: BaseException) -> bool:
    """Whether a statement took too long."""
    if isinstance(error, DBAPIError):
        return getattr(error.orig, "sqlstate", None) == _CANCELLED
    return isinstance(error, asyncio.TimeoutError)


def is_transient(error: BaseException) -> bool:
    """Whether the same statements may well succeed in a moment: they are repeated, and nothing is counted."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return (
            error.connection_invalidated
            or isinstance(error, InterfaceError)
            or state in _TRANSIENT_STATES
            or state.startswith(_TRANSIENT_CLASSES)
        )
    return isinstance(error, (PoolTimeout, OSError, asyncio.TimeoutError))
