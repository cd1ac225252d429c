"""Keeps the head of the audit chain outside of the database: whoever takes the newest rows away is found by it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Answer, Command, CommandRefused, Tx
from tidemill.common.bus.topology import AUDIT_BUCKET
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import AUDIT_BROKEN, Metrics
from tidemill.scheduler import audit
from tidemill.scheduler.audit import Head

log = get_logger(__name__)

KEY = "head"
LOOK_EVERY_SECONDS = 2.0
IDLE_SECONDS = 10.0
LOOKS_BEFORE_ASKING_ANEW = 30
ACCEPT = "audit.accept"

HASH_OF = text("SELECT hash FROM scheduler.audit WHERE seq = :seq")
ACCEPTED = text("SELECT 1 FROM scheduler.audit WHERE action = :action AND before->>'head' = :head")


async def find_kept(bucket: KeyValue) -> tuple[Head | None, int]:
    """The head as it was kept, and the revision of its key."""
    try:
        entry = await bucket.get(KEY)
    except KeyNotFoundError:
        return None, 0
    return Head.parse((entry.value or b"").decode()), entry.revision or 0


class HeadKeeper:
    """Moves the kept head forward, and never away from a chain that it does not belong to."""

    def __init__(self, bus: Bus, engine: AsyncEngine, metrics: Metrics) -> None:
        self._bus = bus
        self._engine = engine
        self._broken = metrics.of(AUDIT_BROKEN)
        self._kept: Head | None = None
        self._lost: Head | None = None
        """The kept head, while the chain does not lead to it."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for _ in range(LOOKS_BEFORE_ASKING_ANEW):
                await self._look()
                await self._bus.rest(LOOK_EVERY_SECONDS, IDLE_SECONDS)
            self._kept = None  # Who keeps it may have lost it.

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="audit_accept",
                handle=self._accept,
                description="Go on with a chain that does not lead to the kept head, for instance after a restore",
                parameters={"actor": "who accepts it", "via": "the way it came", "reason": "why it is so"},
            )
        ]

    async def _look(self) -> None:
        async with self._engine.connect() as connection:
            head = await audit.find_head(connection)
            if head == self._kept:
                return
            try:
                bucket = await self._bus.key_value(AUDIT_BUCKET)
            except BucketNotFoundError:
                return  # The topology is being made.
            kept, revision = await find_kept(bucket)
            if kept is not None and not await self._belongs(connection, kept):
                self._tell(kept)
                return
        with suppress(KeyWrongLastSequenceError):  # Another replica was faster.
            await bucket.update(KEY, str(head).encode(), last=revision)
            self._kept = head
        self._lost = None
        self._broken.set(0)

    async def _belongs(self, connection: AsyncConnection, kept: Head) -> bool:
        if kept.seq == 0 or await connection.scalar(HASH_OF, {"seq": kept.seq}) == kept.hash:
            return True
        accepted = await connection.scalar(ACCEPTED, {"action": ACCEPT, "head": str(kept)})
        return accepted is not None

    def _tell(self, kept: Head) -> None:
        if self._lost != kept:
            log.error("the audit chain does not lead to the kept head: run `tidemill audit verify`", row=kept.seq)
        self._lost = kept
        self._broken.set(1)

    async def _accept(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        reason = str(parameters.get("reason") or "")
        if not reason:
            raise CommandRefused("reason is missing: say why rows are missing, for instance after which restore")
        if self._lost is None:
            raise CommandRefused("the chain leads to the kept head: there is nothing to accept")
        head = await audit.record(
            tx,
            actor=str(parameters.get("actor") or "unknown"),
            via=str(parameters.get("via") or "bus"),
            action=ACCEPT,
            target="audit",
            before={"head": str(self._lost)},
            after={"reason": reason},
        )
        return Answer({"seq": head.seq})
