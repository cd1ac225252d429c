"""Real servers as child processes: nats-server and Postgres, for one machine and for tests."""

from tidemill.common.servers.addresses import Addresses, NothingRuns
from tidemill.common.servers.child import (
    ChildServer,
    FolderInUse,
    FolderLock,
    FolderNotOurs,
    ServerFailed,
    free_port,
)
from tidemill.common.servers.nats import NatsServer
from tidemill.common.servers.postgres import PostgresServer

__all__ = [
    "Addresses",
    "ChildServer",
    "FolderInUse",
    "FolderLock",
    "FolderNotOurs",
    "NatsServer",
    "NothingRuns",
    "PostgresServer",
    "ServerFailed",
    "free_port",
]
