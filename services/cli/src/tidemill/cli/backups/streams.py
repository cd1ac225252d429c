"""Streams with their consumers, copied and put back by the server's own snapshots, as `nats stream backup` does it."""

import json
from collections.abc import Iterable, Sequence
from typing import IO, Any

import nats.errors
from nats.aio.client import Client

from tidemill.cli.backups.errors import BackupFailed
from tidemill.cli.backups.layout import Stream
from tidemill.common.bus.topology import AUDIT_BUCKET, CONTROL_BUCKET, STREAMS

CHUNK = 128 << 10
SILENT_SECONDS = 30.0
FINISH_SECONDS = 600.0
"""The server unpacks a stream after its last chunk."""
NOT_FOUND = 10059
CONTENT = "204"
"""Status of the message that ends a snapshot."""


def stream_names() -> list[str]:
    """Of all that is Tidemill's, buckets included."""
    return [*(stream.name for stream in STREAMS), f"KV_{CONTROL_BUCKET}", f"KV_{AUDIT_BUCKET}"]


async def present(nc: Client, names: Iterable[str]) -> dict[str, Stream]:
    """Those that the server has."""
    found = {}
    for name in names:
        answer = await _ask(nc, f"$JS.API.STREAM.INFO.{name}", {})
        if _code(answer) == NOT_FOUND:
            continue
        found[name] = _described(name, answer)
    return found


async def take_snapshot(nc: Client, name: str, file: IO[bytes]) -> Stream:
    """The stream as it is now, with its consumers and how far each is. Raises BackupFailed."""
    inbox = nc.new_inbox()
    subscription = await nc.subscribe(inbox)
    try:
        asked = {"deliver_subject": inbox, "no_consumers": False, "chunk_size": CHUNK, "jsck": True}
        described = _described(name, await _ask(nc, f"$JS.API.STREAM.SNAPSHOT.{name}", asked))
        while True:
            message = await subscription.next_msg(timeout=SILENT_SECONDS)
            if not message.data:
                headers = message.headers or {}
                if headers.get("Status", CONTENT) != CONTENT:
                    raise BackupFailed(f"stream {name} cannot be copied: {headers}")
                return described
            file.write(message.data)
            if message.reply:  # The server sends on as we answer.
                await nc.publish(message.reply, b"")
    except nats.errors.TimeoutError:
        raise BackupFailed(f"the copy of stream {name} broke off: the server fell silent") from None
    finally:
        await subscription.unsubscribe()


async def put_back(nc: Client, stream: Stream, file: IO[bytes]) -> None:
    """As it was, on one server; who starts afterwards makes the replicas that are declared. Raises BackupFailed."""
    name = stream.config["name"]
    config = {**stream.config, "num_replicas": 1}
    answer = await _ask(nc, f"$JS.API.STREAM.RESTORE.{name}", {"config": config, "state": stream.state})
    _described_or_failed(name, answer)
    target = answer["deliver_subject"]
    try:
        while chunk := file.read(CHUNK):
            await _send(nc, target, chunk, name, SILENT_SECONDS)
        await _send(nc, target, b"", name, FINISH_SECONDS)
    except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
        raise BackupFailed(f"stream {name} cannot be put back: the server fell silent") from None


async def _send(nc: Client, target: str, chunk: bytes, name: str, seconds: float) -> None:
    reply = await nc.request(target, chunk, timeout=seconds)
    if reply.data:
        _described_or_failed(name, json.loads(reply.data))


async def _ask(nc: Client, subject: str, request: dict[str, Any]) -> dict[str, Any]:
    try:
        reply = await nc.request(subject, json.dumps(request).encode(), timeout=SILENT_SECONDS)
    except nats.errors.NoRespondersError:
        raise BackupFailed("this NATS has no JetStream") from None
    except nats.errors.TimeoutError:
        raise BackupFailed(f"NATS does not answer to {subject}; may this user ask it?") from None
    answer: dict[str, Any] = json.loads(reply.data)
    return answer


def _code(answer: dict[str, Any]) -> int:
    return int(answer.get("error", {}).get("err_code", 0))


def _described_or_failed(name: str, answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise BackupFailed(f"stream {name}: {answer['error'].get('description')} ({_code(answer)})")


def _described(name: str, answer: dict[str, Any]) -> Stream:
    _described_or_failed(name, answer)
    return Stream(config=answer["config"], state=answer["state"])


def in_words(streams: Sequence[Stream]) -> str:
    return f"{len(streams)} streams with {sum(one.messages for one in streams):,} messages"
