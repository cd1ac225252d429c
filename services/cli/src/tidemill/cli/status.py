"""`tidemill status`: what runs, whether it can work, and what waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from tidemill.common.servers import Addresses

GATHER_SECONDS = 0.5
"""Services answer an inquiry in a few milliseconds, on other continents in 200; nobody knows how many there are."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs a service."""

    service: str
    version: str
    id: str
    ready: bool | None
    """None: its health port is not known here."""
    wrong: dict[str, str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one consumer of a stream has before it."""

    stream: str
    consumer: str
    pending: int
    in_hand: int
    redelivered: int


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    messages: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """What one service's schema holds back."""

    schema: str
    outbox: int
    outbox_oldest_seconds: float
    retries: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Status:
    services: Sequence[Running]
    streams: Sequence[Stream]
    consumers: Sequence[Waiting]
    stores: Sequence[Store]
    control: Sequence[str]
    """Keys of the control bucket: what is stopped or paused."""


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Show services with their readiness, streams, what waits, dead letters. Exit status 1 if a service cannot work."""
    from tidemill.common.bus.client import CommandFailed

    at = addresses(read_config(assignments))
    try:
        found = asyncio.run(look(at))
    except (CommandFailed, OSError) as error:
        fail(str(error))
    if output is Output.JSON:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        show(found)
    if not found.services or any(service.ready is False for service in found.services):
        raise typer.Exit(1)


async def look(at: Addresses) -> Status:
    from tidemill.common.bus.client import open_client

    stores = await held_back(at.database_url)
    async with open_client(at.nats_url) as client:
        services = await running(client, at.health_url)
        streams, consumers = await waiting(client.jetstream())
        control = await controls(client)
    return Status(services, streams, consumers, stores, control)


async def running(client: Client, health_url: str) -> list[Running]:
    answers: list[dict[str, Any]] = []
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish("$SRV.INFO", b"", reply=inbox)
    readiness = await read_health(health_url) if health_url else {}
    deadline = asyncio.get_running_loop().time() + GATHER_SECONDS
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            message = await subscription.next_msg(left)
        except TimeoutError:
            break
        if not message.data:  # "No responders", from the server itself.
            break
        answers.append(json.loads(message.data))
    found = []
    for answer in sorted(answers, key=lambda answer: (answer["name"], answer["id"])):
        told = readiness.get(answer["name"], {})
        ready = None if not told else told["status"] == "ok"
        found.append(Running(answer["name"], answer["version"], answer["id"], ready, told.get("wrong", {})))
    return found


async def read_health(url: str) -> dict[str, Any]:
    """Service to what its readiness says."""
    from tidemill.common.http import HTTPError, open_client

    async with open_client() as client:
        try:
            answer: dict[str, Any] = (await client.get(f"{url}/readyz")).json()
        except (HTTPError, ValueError):
            return {}
    return dict(answer["services"])


async def waiting(js: JetStreamContext) -> tuple[list[Stream], list[Waiting]]:
    streams, consumers = [], []
    for stream in sorted(await js.streams_info(), key=lambda stream: str(stream.config.name)):
        name = str(stream.config.name)
        streams.append(Stream(name, stream.state.messages, stream.state.bytes))
        if stream.state.consumer_count:
            consumers += [
                Waiting(name, each.name, each.num_pending or 0, each.num_ack_pending or 0, each.num_redelivered or 0)
                for each in await js.consumers_info(name)
                if each.config.durable_name
            ]
    return streams, consumers


SCHEMAS = "SELECT schemaname FROM pg_tables WHERE tablename = 'dead_letters' ORDER BY 1"

HELD_BACK = """
SELECT (SELECT count(*) FROM "{0}".outbox WHERE sent_at IS NULL),
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
        FROM "{0}".outbox WHERE sent_at IS NULL),
       (SELECT count(*) FROM "{0}".retries),
       (SELECT count(*) FROM "{0}".dead_letters WHERE handled_at IS NULL)
"""


async def held_back(url: str) -> list[Store]:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        fail(f"Postgres does not answer: {error}; `tidemill doctor` says more")
    try:
        schemas = [row[0] for row in await connection.fetch(SCHEMAS)]
        return [Store(schema, *await connection.fetchrow(HELD_BACK.format(schema))) for schema in schemas]
    finally:
        await connection.close()


async def controls(client: Client) -> list[str]:
    from nats.js.errors import BucketNotFoundError, NoKeysError

    from tidemill.common.bus.topology import CONTROL_BUCKET

    try:
        bucket = await client.jetstream().key_value(CONTROL_BUCKET)
        return sorted(await bucket.keys())
    except (BucketNotFoundError, NoKeysError):
        return []


def show(found: Status) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    services = Table("service", "version", "process", "state", box=None, header_style="bold", padding=(0, 2))
    for service in found.services:
        wrong = "; ".join(f"{name}: {problem}" for name, problem in service.wrong.items())
        state = {None: "runs", True: "[green]ready[/]", False: f"[red]not ready[/] {wrong}"}[service.ready]
        services.add_row(service.service, service.version, service.id, state)
    console.print(services if found.services else "No service answers on NATS: start `tidemill up`.")
    streams = Table("stream", "messages", "size", box=None, header_style="bold", padding=(0, 2))
    for stream in found.streams:
        streams.add_row(stream.name, f"{stream.messages:,}", f"{stream.size_bytes / 1e6:,.1f} MB")
    consumers = Table("consumer", "of", "waiting", "in hand", "again", box=None, header_style="bold", padding=(0, 2))
    for each in found.consumers:
        consumers.add_row(each.consumer, each.stream, f"{each.pending:,}", f"{each.in_hand:,}", f"{each.redelivered:,}")
    stores = Table(
        "schema", "outbox", "oldest", "retries", "dead letters", box=None, header_style="bold", padding=(0, 2)
    )
    for store in found.stores:
        dead = f"[red]{store.dead_letters:,}[/]" if store.dead_letters else "0"
        stores.add_row(
            store.schema, f"{store.outbox:,}", f"{store.outbox_oldest_seconds:.0f} s", f"{store.retries:,}", dead
        )
    for table in (streams, consumers, stores):
        if table.row_count:
            console.print()
            console.print(table)
    if found.control:
        console.print(f"\n[yellow]held by control:[/] {', '.join(found.control)}")
