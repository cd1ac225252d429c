"""Streams that refuse when full keep what was handled, too: the older half of that goes before they are full."""

from collections.abc import Iterable

from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from tidemill.common.bus.topology import DEAD_STREAM, Stream

FULL = 0.8
"""Of the stream's size."""


async def make_room(js: JetStreamContext, streams: Iterable[Stream]) -> None:
    """Remove what every consumer has handled from those that are nearly full. What nobody consumes stays."""
    for stream in streams:
        if stream.refuses and stream.name != DEAD_STREAM:
            try:
                await make_room_in(js, stream.name)
            except NotFoundError:
                continue


async def make_room_in(js: JetStreamContext, name: str) -> None:
    info = await js.stream_info(name)
    limit, state = info.config.max_bytes or -1, info.state
    if limit < 0 or state.bytes < FULL * limit:
        return
    consumers = await js.consumers_info(name)
    half = (state.first_seq + state.last_seq) // 2
    up_to = min([half, *(handled_up_to(consumer, state.last_seq) for consumer in consumers)])
    if consumers and up_to >= state.first_seq:
        await js.purge_stream(name, seq=up_to + 1)


def handled_up_to(consumer: api.ConsumerInfo, last: int) -> int:
    """The number of the last message before which all that concerns this consumer is acknowledged. Its own count stands
    still while others get all the messages."""
    if not consumer.num_pending and not consumer.num_ack_pending:
        return last
    return consumer.ack_floor.stream_seq if consumer.ack_floor else 0
