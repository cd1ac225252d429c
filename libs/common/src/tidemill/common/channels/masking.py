"""Secrets out of what is kept and sent."""

from typing import Any

from tidemill.common.channels.message import Message
from tidemill.common.config.secrets import masked
from tidemill.common.telemetry.logs import clean

LENGTH = 500


def masked_message(message: Message) -> Message:
    """Without the secrets that this process has fetched, passwords of URLs, and NUL, which Postgres does not take:
    texts are often made of errors."""
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
            return masked(value).replace("\x00", "")
        case dict():
            return {str(key): _masked(item) for key, item in value.items()}
        case list() | tuple():
            return [_masked(item) for item in value]
    return value
