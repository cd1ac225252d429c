"""`tidemill streams`: the streams and buckets of NATS, as this release declares them."""

from __future__ import annotations

import asyncio

import typer

from tidemill.cli.running import Assignments, addresses, fail, read_config


def register(app: typer.Typer) -> None:
    app.command("streams")(streams)


def streams(assignments: Assignments = None) -> None:
    """Make streams and buckets as this release declares them, or widen them, as the NATS user `operator`. Services
    with users of their own may make what is missing, and change nothing."""
    from tidemill.common.bus.client import CommandFailed
    from tidemill.common.bus.topology import STREAMS, TopologyError

    config = read_config(assignments)
    replicas = config.common.stream_replicas
    try:
        asyncio.run(_make(addresses(config).nats_url, replicas))
    except (CommandFailed, TopologyError, TimeoutError) as failed:
        fail(str(failed) or "NATS does not answer: this user may not change streams, or its cluster has no leader")
    typer.echo(f"{len(STREAMS)} streams are as declared, each on {replicas} server{'s' if replicas > 1 else ''}")


async def _make(url: str, replicas: int) -> None:
    from tidemill.common.bus.client import open_client
    from tidemill.common.bus.topology import ensure_topology

    async with open_client(url) as client:
        await ensure_topology(client.jetstream(), replicas)
