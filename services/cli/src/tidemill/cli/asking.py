"""Asking a service for something, by the command that `nats req` uses too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from getpass import getuser
from typing import Any

from tidemill.cli.running import addresses, fail, read_config

SCHEDULER = "scheduler"
ANSWER_SECONDS = 10.0


def actor() -> str:
    """Who sits here."""
    try:
        return getuser()
    except (KeyError, OSError):  # A container's user without a name.
        return "unknown"


def said(**parameters: Any) -> dict[str, Any]:
    """The parameters that were given, and who gives them."""
    return {**{name: value for name, value in parameters.items() if value}, "actor": actor(), "via": "cli"}


def ask(
    verb: str,
    parameters: Mapping[str, Any],
    assignments: list[str] | None,
    *,
    service: str = SCHEDULER,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, Any]:
    """The service's answer; a refusal ends the command with its sentence."""
    from tidemill.common.bus.client import CommandFailed, open_client, request_command

    url = addresses(read_config(assignments)).nats_url

    async def asked() -> dict[str, Any]:
        async with open_client(url) as client:
            return await request_command(client, service, verb, parameters, timeout=seconds)

    try:
        return asyncio.run(asked())
    except CommandFailed as failed:
        fail(str(failed))
