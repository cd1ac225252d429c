"""Commands as a NATS service: answered after commit, once per id, with errors that say what would work."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.errors
import structlog
from nats.micro import add_service
from nats.micro.request import Request, ServiceError
from nats.micro.service import Service
from opentelemetry.trace import SpanKind
from sqlalchemy import text

from tidemill.common.bus.connection import Connection, NatsClient
from tidemill.common.bus.headers import ID, MSG_ID, TRACEPARENT, new_id
from tidemill.common.bus.outbox import Outbox
from tidemill.common.bus.step import Answer, Change, Command, CommandRefused, Outgoing, Tx
from tidemill.common.bus.supervise import describe
from tidemill.common.bus.tables import BusTables
from tidemill.common.bus.transient import is_transient
from tidemill.common.events import CommandDone
from tidemill.common.telemetry.metrics import COMMANDS
from tidemill.common.telemetry.tracing import Telemetry

log = structlog.get_logger(__name__)


class Commands:
    def __init__(
        self,
        service: str,
        version: str,
        commands: Sequence[Command],
        *,
        connection: Connection,
        outbox: Outbox,
        tables: BusTables,
        telemetry: Telemetry,
        metadata: dict[str, str],
    ) -> None:
        self._service = service
        self._version = version
        self._commands = commands
        self._connection = connection
        self._outbox = outbox
        self._telemetry = telemetry
        self._metadata = metadata
        self._nc: NatsClient | None = None
        self._micro: Service | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        inbox = tables.inbox.fullname
        self._claim = text(
            f"INSERT INTO {inbox} (consumer, event_id) VALUES (:consumer, :id) ON CONFLICT DO NOTHING RETURNING 1"
        )
        self._remember = text(
            f"UPDATE {inbox} SET answer = CAST(:answer AS jsonb) WHERE consumer = :consumer AND event_id = :id"
        )
        self._recall = text(f"SELECT answer::text FROM {inbox} WHERE consumer = :consumer AND event_id = :id")

    async def register(self) -> None:
        """Once per client: nats-py subscribes again by itself after a reconnect, a new client knows nothing."""
        nc = self._connection.nc
        if nc is self._nc or not self._connection.connected:
            return
        self._micro = await add_service(
            nc,
            name=self._service,
            version=self._version,
            description=f"Tidemill {self._service}",
            metadata=self._metadata,
        )
        for command in self._commands:
            await self._micro.add_endpoint(
                name=command.verb,
                subject=f"tidemill.ctl.{self._service}.{command.verb}",
                handler=self._handler(command),
                metadata={"description": command.description, **command.parameters},
            )
        self._nc = nc

    async def stop(self, within: timedelta) -> None:
        """Take no more, and answer what is in hand, as far as that is done in time."""
        if self._micro is not None and self._connection.connected:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                await self._micro.stop()
        if self._in_hand:
            _, late = await asyncio.wait(self._in_hand, timeout=within.total_seconds())
            for task in late:
                task.cancel()

    def _handler(self, command: Command) -> Any:
        handle = self._handled(command)

        async def keep(request: Request) -> None:
            # In a task of its own: the end of a subscription cancels whatever its callback is at.
            task = asyncio.create_task(handle(request))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)
            await asyncio.shield(task)

        return keep

    def _handled(self, command: Command) -> Any:
        async def handle(request: Request) -> None:
            headers = request.headers or {}
            with self._telemetry.span(
                f"{self._service} {command.verb}", parent=headers.get(TRACEPARENT, ""), kind=SpanKind.SERVER
            ):
                try:
                    answer = await self._answer(command, request)
                except ServiceError as error:
                    self._count(command, "refused" if error.code.startswith("4") else "failed")
                    body = json.dumps({"error": {"code": error.code, "reason": error.description}})
                    await request.respond_error(error.code, error.description, body.encode())
                    raise
                self._count(command, "done")
                await request.respond(json.dumps(answer, default=str, ensure_ascii=False).encode())

        return handle

    async def _answer(self, command: Command, request: Request) -> Mapping[str, Any]:
        parameters = _parse_parameters(command, request.data)
        headers = request.headers or {}
        id = str(parameters.pop("id", None) or headers.get(ID) or headers.get(MSG_ID) or new_id())
        try:
            async with self._outbox.transaction() as tx:
                answer = await self._once(tx, command, id, parameters)
            self._outbox.activity.stir()
            return answer
        except CommandRefused as refused:
            raise ServiceError(refused.code, str(refused)) from refused
        except Exception as error:
            if is_transient(error):
                raise ServiceError("503", f"{self._service} cannot reach its database; try again") from error
            log.exception("a command failed", verb=command.verb, id=id)
            raise ServiceError("500", f"{self._service} failed: {describe(error)}") from error

    async def _once(self, tx: Tx, command: Command, id: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        key = {"consumer": f"command:{command.verb}", "id": id}
        if (await tx.execute(self._claim, key)).scalar() is None:
            recalled = (await tx.execute(self._recall, key)).scalar()
            known: Mapping[str, Any] = json.loads(recalled or "{}")
            return known
        answer: Answer = await command.handle(tx, id, parameters)
        await self._outbox.emit(tx, [*answer.events, *self._noted(command, id, parameters, answer.change)])
        await tx.execute(self._remember, {**key, "answer": json.dumps(answer.body, default=str)})
        return answer.body

    def _noted(self, command: Command, id: str, parameters: Mapping[str, Any], change: Change | None) -> list[Outgoing]:
        """For the audit chain, which the scheduler keeps."""
        if change is None:
            return []
        done = CommandDone(
            service=self._service,
            action=change.action,
            target=change.target,
            before=_json(change.before),
            after=_json(change.after),
            actor=str(parameters.get("actor") or parameters.get("author") or "unknown"),
            via=str(parameters.get("via") or "bus"),
            done_at=datetime.now(UTC),
        )
        return [Outgoing(f"command/{self._service}/{command.verb}/{id}", done)]

    def _count(self, command: Command, outcome: str) -> None:
        self._telemetry.metrics.of(COMMANDS, verb=command.verb, outcome=outcome).inc()


def _parse_parameters(command: Command, payload: bytes) -> dict[str, Any]:
    try:
        parameters = json.loads(payload or b"{}")
    except ValueError as error:
        raise ServiceError("400", f"the payload is not JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise ServiceError("400", "the payload is a JSON object: " + _known(command))
    unknown = sorted(set(parameters) - set(command.parameters) - {"id"})
    if unknown:
        raise ServiceError("400", f"unknown parameter {', '.join(unknown)}; {command.verb} takes {_known(command)}")
    return parameters


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _known(command: Command) -> str:
    return ", ".join((*command.parameters, "id"))
