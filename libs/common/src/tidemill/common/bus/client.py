"""What a program outside the services needs: ask a service for something, with errors a person understands."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from tidemill.common.bus.connection import address_of
from tidemill.common.bus.dial import WrongAddress, dialled
from tidemill.common.bus.headers import ID, new_id

CONNECT_SECONDS = 2
ANSWER_SECONDS = 10.0


class CommandFailed(Exception):
    """The sentence says what happened and what to do; `code` as in HTTP."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


async def _ignore(_: Exception) -> None:
    """Errors come to us as exceptions; nats-py would print them as well."""


@asynccontextmanager
async def open_client(url: str) -> AsyncIterator[Client]:
    """Connect once, at once; raises CommandFailed when nobody is there."""
    client = Client()
    try:
        await asyncio.wait_for(
            client.connect(
                **dialled(url),
                connect_timeout=CONNECT_SECONDS,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0.1,  # type: ignore[arg-type]
                error_cb=_ignore,
            ),
            2 * CONNECT_SECONDS,
        )
    except WrongAddress as wrong:
        raise CommandFailed(str(wrong), "400") from wrong
    except (nats.errors.Error, OSError, TimeoutError) as error:
        reason = str(client.last_error or error) or type(error).__name__
        raise CommandFailed(
            f"no NATS at {address_of(url)} ({reason}): is `tidemill up` running, is NATS_URL right?", "503"
        ) from error
    try:
        yield client
    finally:
        await client.close()


async def answers(nc: Client, subject: str, within: Callable[[], float]) -> AsyncGenerator[dict[str, Any]]:
    """What all who listen on a subject say, until `within()` seconds have passed since they were asked: it is called
    again after each."""
    inbox = nc.new_inbox()
    subscription = await nc.subscribe(inbox)
    try:
        await nc.publish(subject, b"", reply=inbox)
        clock = asyncio.get_running_loop().time
        begun = clock()
        while (left := begun + within() - clock()) > 0:
            try:
                message = await subscription.next_msg(left)
            except TimeoutError:
                return
            if not message.data:  # "No responders", from the server itself.
                return
            yield json.loads(message.data)
    finally:
        with suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()


async def request_command(
    nc: Client,
    service: str,
    verb: str,
    parameters: Mapping[str, Any] | None = None,
    id: str | None = None,
    timeout: float = ANSWER_SECONDS,
) -> dict[str, Any]:
    """Send a command and return its answer, given after commit. The same `id` again gives the same answer and does
    nothing. Raises CommandFailed."""
    return await request(nc, f"tidemill.ctl.{service}.{verb}", parameters or {}, id=id, timeout=timeout)


async def request(
    nc: Client, subject: str, payload: Mapping[str, Any], *, id: str | None = None, timeout: float = ANSWER_SECONDS
) -> dict[str, Any]:
    try:
        reply = await nc.request(
            subject, json.dumps(payload, default=str).encode(), timeout=timeout, headers={ID: id or new_id()}
        )
    except nats.errors.NoRespondersError as error:
        raise CommandFailed(
            f"nobody listens on {subject}: the service does not run, or has no such command (`nats service ls`)", "404"
        ) from error
    except nats.errors.TimeoutError as error:
        raise CommandFailed(
            f"no answer on {subject} within {timeout:g} s; it may still have been done", "504"
        ) from error
    except (nats.errors.Error, OSError) as error:
        raise CommandFailed(f"{subject}: {str(error) or type(error).__name__}", "503") from error
    headers = reply.headers or {}
    if ERROR_CODE_HEADER in headers:
        raise CommandFailed(headers.get(ERROR_HEADER, ""), headers[ERROR_CODE_HEADER])
    answer: dict[str, Any] = json.loads(reply.data)
    return answer
