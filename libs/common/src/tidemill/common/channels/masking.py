"""Secrets out of what is kept and sent."""

import math
from typing import Any

from tidemill.common.channels.message import Message
from tidemill.common.config.secrets import masked
from tidemill.common.telemetry.logs import clean

LENGTH = 500


def masked_message(message: Message) -> Message:
    """Without the secrets that this process has fetched and passwords of URLs, since texts are often made of errors;
    and without what Postgres does not take: NUL, halves of characters, numbers that are none."""
    told = {
        "subject": _masked(message.subject),
        "text": _masked(message.text),
        "html": _masked(message.html),
        "data": _masked(dict(message.data)),
    }
    return message.model_copy(update=told)


def said(text: str | bytes) -> str:
    """What a provider said, for log and table: one bounded line, no secrets, nothing that Postgres does not take."""
    if isinstance(text, bytes):
        text = text[: 4 * LENGTH].decode("utf-8", errors="replace")
    printable = "".join(char if char.isprintable() else " " for char in text)
    return clean(" ".join(printable.split()))[:LENGTH]


def _masked(value: Any) -> Any:
    match value:
        case str():
            return masked(value).replace("\x00", "").encode("utf-8", "replace").decode()
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {str(key): _masked(item) for key, item in value.items()}
        case list() | tuple():
            return [_masked(item) for item in value]
    return value
