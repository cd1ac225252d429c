"""What is told to people, whatever the channel."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tidemill.common.config.channels import mail_address

Severity = Literal["info", "warning", "critical"]

SUBJECT_LENGTH = 300
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Unsendable(ValueError):
    """This cannot be sent to anybody: a recipient that is none, a line end where a header would end."""


def one_line(text: str, length: int = SUBJECT_LENGTH) -> str:
    """Any text as a subject: without line ends and other control characters, and no longer than this."""
    line = " ".join(_BREAKS.sub(" ", text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _is_one_line(subject: str) -> str:
    if _BREAKS.search(subject):
        raise ValueError("holds a line end or another control character; take `one_line` of it")
    return subject


Line = Annotated[str, AfterValidator(_is_one_line)]


class Attachment(BaseModel):
    """A file that goes with a mail; its bytes are in the archive."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[Line, StringConstraints(pattern=r"^[^/\\]{1,200}$")]
    media_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$")]
    key: str
    """Of the archive."""
    content_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.@_-]{0,200}$")] = ""
    """For a picture within the HTML, which refers to it as `cid:…`."""


class Message(BaseModel):
    """What is told. Raises pydantic's ValidationError (a ValueError) for a subject that is more than a line."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """Of what it states, for instance of one state of one alert: it is sent once under this id to each recipient."""
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,80}$")]
    """`alert.firing`, `report.day`: the `type` of a webhook."""
    subject: Annotated[Line, StringConstraints(min_length=1, max_length=SUBJECT_LENGTH)]
    text: str
    """Plain text, readable in a terminal."""
    html: str | None = None
    """For mail."""
    severity: Severity = "info"
    at: datetime
    """When it became true, with its zone."""
    thread: str = ""
    """What belongs together: one after the other to each recipient, and one thread in a mail program."""
    data: Mapping[str, Any] = Field(default_factory=dict)
    """JSON values for webhooks and templates."""
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class To:
    """Whom a message is for. Without `recipient` it goes to those that the channel names. Raises Unsendable."""

    channel: str
    recipient: str = ""
    """A mail address."""

    def __post_init__(self) -> None:
        if self.recipient:
            try:
                mail_address(self.recipient)
            except ValueError as wrong:
                raise Unsendable(str(wrong)) from None


def delivery_key(message: str, channel: str, recipient: str) -> str:
    """What a receiver knows a repeat by: the same on every attempt, whoever sends."""
    told = "\x1f".join((message, channel, recipient))
    return hashlib.sha256(told.encode()).hexdigest()[:40]
