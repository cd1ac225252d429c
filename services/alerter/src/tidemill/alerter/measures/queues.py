"""What waits before the consumers of streams, as NATS knows it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from nats.js import api

from tidemill.alerter.measures.declared import Sample


@dataclass(frozen=True, slots=True)
class Before:
    """What is before a consumer."""

    waiting: int
    in_hand: int
    oldest: float
    """Seconds; 0 for none."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a stream has."""

    messages: int
    bytes: int
    limit_bytes: int
    sequence: int
    consumers: int


def held(stream: api.StreamInfo) -> Held:
    state, limit = stream.state, stream.config.max_bytes or 0
    return Held(state.messages, state.bytes, max(0, limit), state.last_seq, state.consumer_count)


class Progress:
    """How far each consumer was, and since when: NATS does not say how long something waits."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[int, datetime]] = {}

    def samples(self, consumers: Iterable[api.ConsumerInfo], now: datetime) -> Iterator[Sample]:
        for consumer in consumers:
            pending, in_hand = consumer.num_pending or 0, consumer.num_ack_pending or 0
            name = {"consumer": consumer.name}
            done = consumer.ack_floor.consumer_seq if consumer.ack_floor else 0
            waits = pending + in_hand
            if not waits:
                self._at.pop(consumer.name, None)
                continue
            before = self._at.get(consumer.name)
            if before is None or before[0] != done:
                before = self._at[consumer.name] = (done, now)
            yield Sample(measure="queue_length", labels=name, value=float(waits))
            yield Sample(measure="queue_age", labels=name, value=(now - before[1]).total_seconds())
            # A consumer that is at work asks for more, or has some in hand.
            if pending and not consumer.num_waiting and not in_hand:
                yield Sample(
                    measure="consumer_absent",
                    labels=name,
                    value=1.0,
                    says=f"{pending} in stream {consumer.stream_name}",
                )
