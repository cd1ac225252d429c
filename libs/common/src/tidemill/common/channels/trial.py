"""A test message through one channel, at once and without a database."""

import secrets
import time
from dataclasses import dataclass
from datetime import datetime

from tidemill.common.channels.message import Message, delivery_key
from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.senders import Senders


@dataclass(frozen=True, slots=True)
class Tried:
    channel: str
    recipient: str
    reply: Reply
    seconds: float


async def send_test(senders: Senders, channel: str, now: datetime) -> list[Tried]:
    """To everybody the channel names, what each said. Raises KeyError for a channel that there is not; of one that
    names nobody the answer is empty."""
    # Another id each time: a receiver that knows repeats would rightly drop the second test.
    message = Message(
        id=f"test-{secrets.token_hex(8)}",
        kind="test",
        subject=f"Tidemill: a test of the channel {channel}",
        text=f"This is a test of the channel {channel}, sent at {now:%Y-%m-%d %H:%M:%S %Z}. All is well.",
        at=now,
        data={"channel": channel},
    )
    tried = []
    for recipient in senders.channels[channel].recipients:
        began = time.monotonic()
        key = delivery_key(message.id, channel, recipient)
        reply = await senders.send(channel, message, key=key, recipient=recipient)
        tried.append(Tried(channel, recipient, reply, time.monotonic() - began))
    return tried
