"""Telling people without a database and without a bus: that these are down.

The same retries and fallbacks as `Deliveries`, from a file of the data folder in the place of tables.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tidemill.common.bus.activity import to_the_second
from tidemill.common.channels.cached import CachedChannels
from tidemill.common.channels.deliveries import LEASE_BEYOND, UNKNOWN_AFTER
from tidemill.common.channels.masking import masked_message
from tidemill.common.channels.message import Message, To, delivery_key
from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.retry import Again, after_reply
from tidemill.common.channels.senders import Senders
from tidemill.common.channels.slips import Slip, Slips
from tidemill.common.config.channels import Channel
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import DELIVERIES, DELIVERY_ATTEMPTS, Metrics

log = get_logger(__name__)

LOOK_EVERY = 2.0
OpenSenders = Callable[[Mapping[str, Channel]], Senders]


class Emergency:
    """Of all processes that use this folder one sends each message. `keep` the channels while all is well; `tell` and
    `run` when it is not."""

    def __init__(
        self,
        folder: Path,
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        open_senders: OpenSenders = Senders,
    ) -> None:
        self._cached = CachedChannels(folder)
        self._slips = Slips(folder / "emergency.json")
        self._metrics = metrics
        self._now = now
        self._open_senders = open_senders

    def keep(self, channels: Mapping[str, Channel]) -> None:
        """Remember these for an emergency. Raises OSError."""
        self._cached.keep(channels)

    def tell(self, message: Message, to: Iterable[To]) -> int:
        """State it, once for each recipient whatever is restarted meanwhile; how many are new. Channels that are not
        kept are left out, and said so in the log: this is no moment to fail."""
        channels, now, added = self._cached.read(), self._now(), 0
        with self._slips.changed(now) as slips:
            for each in to:
                if each.channel not in channels:
                    log.warning("an emergency cannot be told", channel=each.channel, why="no such channel is kept")
                    continue
                recipients = (each.recipient,) if each.recipient else channels[each.channel].recipients
                added += _state(slips, message, each.channel, recipients, now)
        return added

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(to_the_second(LOOK_EVERY))

    async def round(self) -> int:
        """Send all that is due now, and wait for it; how many attempts that were."""
        if not self._slips.due(self._now()):
            return 0
        channels = self._cached.read()
        taken = self._take(channels)
        async with self._open_senders(channels) as senders:
            await asyncio.gather(*(self._attempt(senders, slip) for slip in taken))
        return len(taken)

    def _take(self, channels: Mapping[str, Channel]) -> list[Slip]:
        now, taken, threads = self._now(), [], set()
        with self._slips.changed(now) as slips:
            for key, slip in slips.items():  # In the order in which they were stated.
                thread = (slip.message.thread, slip.channel, slip.recipient)
                if slip.state != "waiting" or thread in threads:
                    continue
                if slip.message.thread:
                    threads.add(thread)
                channel = channels.get(slip.channel)
                if channel is None and slip.stated_at < now - UNKNOWN_AFTER:
                    slips[key] = slip.model_copy(update={"state": "given_up", "ended_at": now})
                elif channel is not None and slip.due_at <= now:
                    until = now + channel.time_limit + LEASE_BEYOND
                    slips[key] = slip.model_copy(update={"due_at": until, "attempts": slip.attempts + 1})
                    taken.append(slips[key])
        return taken

    async def _attempt(self, senders: Senders, slip: Slip) -> None:
        reply = await senders.send(slip.channel, slip.message, key=slip.key, recipient=slip.recipient)
        self._metrics.of(DELIVERY_ATTEMPTS, channel=slip.channel, verdict=reply.verdict).inc()
        self._record(senders.channels, slip, reply)

    def _record(self, channels: Mapping[str, Channel], slip: Slip, reply: Reply) -> None:
        now, channel = self._now(), channels[slip.channel]
        step = after_reply(
            reply,
            attempt=slip.attempts,
            stated_at=slip.stated_at,
            patience=channel.patience,
            now=now,
            luck=random.random(),
        )
        with self._slips.changed(now) as slips:
            if slips.get(slip.key, slip).state != "waiting":
                return
            if isinstance(step, Again):
                slips[slip.key] = slip.model_copy(update={"due_at": step.at, "reply": reply.text})
                return
            ended = {"state": step.state, "reply": reply.text, "ended_at": now}
            slips[slip.key] = slip.model_copy(update=ended)
            if step.state == "given_up" and channel.fallback in channels:
                assert channel.fallback is not None
                _state(slips, slip.message, channel.fallback, channels[channel.fallback].recipients, now)
        self._metrics.of(DELIVERIES, channel=slip.channel, outcome=step.reason).inc()
        log.warning(
            "an emergency is told" if step.state == "delivered" else "an emergency could not be told",
            channel=slip.channel,
            message=slip.message.id,
            reason=step.reason,
            reply=reply.text,
        )


def _state(slips: dict[str, Slip], message: Message, channel: str, recipients: Iterable[str], now: datetime) -> int:
    added = 0
    for recipient in recipients:
        key = delivery_key(message.id, channel, recipient)
        if key not in slips:
            slips[key] = Slip(
                key=key,
                message=masked_message(message),
                channel=channel,
                recipient=recipient,
                stated_at=now,
                due_at=now,
            )
            added += 1
    return added
