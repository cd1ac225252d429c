"""Sends reports: wishes are stated with the edition, in its transaction; a task prepares what they want and hands it to
the channels. No replica leads, and whatever is killed, nothing is handed over twice: a delivery has one key."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.activity import woken
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Tx, Unavailable
from tidemill.common.bus.transient import is_transient
from tidemill.common.channels import Deliveries, Message, Outcome, To, Unsendable
from tidemill.common.config.channels import Channel
from tidemill.common.telemetry.logs import get_logger
from tidemill.reporter.days import utc_now
from tidemill.reporter.deciding import Wish, decide
from tidemill.reporter.letters import CARRIED_BYTES, message_id, write_message
from tidemill.reporter.outcomes import Outcomes
from tidemill.reporter.preparing import Prepared, keep, prepare
from tidemill.reporter.send_rules import SendSettings
from tidemill.reporter.sendings import (
    Edition,
    Kept,
    Taken,
    end_sending,
    fetch_messages,
    get_report,
    keep_rendering,
    put_off,
    state_wishes,
    take,
    unskip,
)

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.

log = get_logger(__name__)

LOOK_SECONDS = 5.0
TRIES = 3
"""To render something; then the report goes without it, and says so."""
TRY_AGAIN = timedelta(seconds=30)
UNSENDABLE = "unsendable"


@dataclass(slots=True)
class Sending:
    """`announce` in the transaction that stores an edition; `run` as a task of the service."""

    bus: Bus
    engine: AsyncEngine
    archive: Archive
    deliveries: Deliveries
    channels: Mapping[str, Channel]
    rules: Sequence[SendSettings]
    deadline: timedelta
    now: Callable[[], datetime] = utc_now
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def announce(self, tx: Tx, report: "Report", *, new: bool = True) -> None:
        """State who gets it, and who does not, and why. One that is not `new` goes only where it was too early."""
        now = self.now()
        wishes = decide(self.rules, report, now, self.deadline)
        edition = Edition(report.kind, report.subject, report.edition)
        message = message_id(report.kind, report.subject, report.edition)
        if not new:
            await unskip(tx, message, wishes, now)
            return
        await state_wishes(tx, edition, message, wishes, now)
        for wish in wishes:
            if wish.reason:
                log.info("a report is not sent", report=str(edition), channel=wish.channel, reason=wish.reason)

    async def ask(self, tx: Tx, edition: Edition, wishes: Sequence[Wish], command: str) -> None:
        """Somebody wants it sent, whether it was sent before or not."""
        message = message_id(edition.kind, edition.subject, edition.edition, command)
        await state_wishes(tx, edition, message, wishes, self.now())

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            try:
                while await self.send_next():
                    pass
            except Unavailable as away:
                log.warning("reports wait: their files cannot be kept now", error=str(away))
            await woken(self._woken, LOOK_SECONDS)
            self._woken.clear()

    async def send_next(self) -> bool:
        """Hand one report over to its channels, or put it off; False where there is none."""
        async with self.engine.connect() as connection:
            messages = await fetch_messages(connection, self.now())
        for message in messages:
            try:
                if await self._send(message):
                    return True
            except Exception as error:
                if isinstance(error, Unavailable) or is_transient(error):
                    raise
                # One that cannot be told keeps nobody else waiting.
                log.exception("a report cannot be sent yet", message=message)
                await self._put_off(message, f"{type(error).__name__}: {error}".partition("\n")[0])
                return True
        return False

    async def _send(self, message: str) -> bool:
        """False where another replica is at it, or has done it."""
        from tidemill.reporter.report import Report

        async with self.bus.transaction() as tx:
            several = await take(tx, message, self.now())
            if not several:
                return False
            edition = several[0].edition
            kept = await get_report(tx, edition)
            report = await asyncio.to_thread(Report.from_json, kept.content)
            prepared = await prepare(report, kept.content.encode(), self._forms(several), self.archive)
            if prepared.failed and several[0].attempts < TRIES - 1:
                why = "; ".join(prepared.failed.values())
                log.warning("a report cannot be rendered yet", report=str(edition), error=why)
                await put_off(tx, message, self.now() + TRY_AGAIN, why)
                return True
            await self._keep(tx, edition, kept, prepared, several)
            for one in several:
                told = _message(message, kept, report, prepared, one, self._way(one.channel))
                await self._hand_over(tx, one, told)
        self.deliveries.wake()
        return True

    def _way(self, channel: str) -> str:
        known = self.channels.get(channel)
        return known.way if known else ""

    def _forms(self, several: Sequence[Taken]) -> list[str]:
        wanted = (form for one in several if self._way(one.channel) == "mail" for form in one.attach)
        return list(dict.fromkeys(wanted))

    async def _keep(self, tx: Tx, edition: Edition, kept: Kept, prepared: Prepared, several: Sequence[Taken]) -> None:
        """Note what is in the archive, so that it goes when its time is over."""
        for attachment in (*prepared.pictures, *prepared.files.values()):
            size = prepared.sizes[attachment.name]
            await keep_rendering(tx, edition, attachment.name, attachment.key, size, self.now())
        if kept.size_bytes > CARRIED_BYTES and any(self._way(one.channel) == "webhook" for one in several):
            key = await keep(self.archive, kept.content.encode())
            await keep_rendering(tx, edition, "report.json", key, kept.size_bytes, self.now())

    async def _hand_over(self, tx: Tx, one: Taken, told: Message) -> None:
        try:
            await self.deliveries.enqueue(tx, told, [To(one.channel, one.recipient)])
        except Unsendable as wrong:
            await self._give_up(tx, one, told.id, str(wrong))
        else:
            await end_sending(tx, one, "handed_over", "", self.now())

    async def _put_off(self, message: str, why: str) -> None:
        async with self.bus.transaction() as tx:
            several = await take(tx, message, self.now())
            if several and several[0].attempts < TRIES - 1:
                await put_off(tx, message, self.now() + TRY_AGAIN, why)
                return
            for one in several:
                await self._give_up(tx, one, message, why)

    async def _give_up(self, tx: Tx, one: Taken, message: str, why: str) -> None:
        """Before any channel had it."""
        await end_sending(tx, one, "skipped", why, self.now())
        log.error("a report cannot be sent", report=str(one.edition), channel=one.channel, reason=why)
        outcome = Outcome(
            message=message,
            kind=f"report.{one.edition.kind}",
            channel=one.channel,
            recipient=one.recipient,
            state="given_up",
            reason=UNSENDABLE,
            text=why,
            attempts=0,
            at=self.now(),
        )
        await Outcomes(self.bus).tell(tx, outcome)


def _message(id: str, kept: Kept, report: "Report", prepared: Prepared, one: Taken, way: str) -> Message:
    return write_message(
        report,
        prepared.words,
        id=id,
        at=kept.made_at,
        sha256=kept.sha256,
        size_bytes=kept.size_bytes,
        way=way,
        files=prepared.attached(one.attach),
        lacks=prepared.lacks(one.attach),
    )
