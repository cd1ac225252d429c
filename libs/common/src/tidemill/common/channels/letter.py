"""A message as one recipient gets it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tidemill.common.archive import CorruptArchive
from tidemill.common.channels.message import Attachment, Message, one_line
from tidemill.common.config.channels import Wording
from tidemill.common.telemetry.logs import get_logger

log = get_logger(__name__)

Load = Callable[[str], Awaitable[bytes]]
"""The bytes of an attachment by its key. Raises LookupError for one that is not there."""

TEMPLATE_LENGTH = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    key: str
    """The same on every attempt."""
    recipient: str
    kind: str
    severity: str
    at: datetime
    thread: str
    subject: str
    text: str
    html: str | None
    data: dict[str, Any]
    message: str
    """Its id."""
    files: tuple[tuple[Attachment, bytes], ...] = ()

    @property
    def reference(self) -> str:
        """By which a person sees a repeat, where a machine cannot."""
        return self.key[:8]


def write_letter(message: Message, *, key: str, recipient: str, wording: Wording) -> Letter:
    letter = Letter(
        key=key,
        recipient=recipient,
        kind=message.kind,
        severity=message.severity,
        at=message.at,
        thread=message.thread,
        subject=message.subject,
        text=message.text,
        html=message.html,
        data=dict(message.data),
        message=message.id,
    )
    given = {**message.data, "message": message, "severity": message.severity, "at": message.at}
    return replace(
        letter,
        subject=one_line(_worded(wording.subject, given, letter.subject)) or letter.subject,
        text=_worded(wording.text, given, letter.text),
        html=_worded(wording.html, given, letter.html, escape=True),
    )


async def with_files(letter: Letter, message: Message, load: Load) -> Letter:
    """With the bytes of its attachments; one that is not to be had keeps the rest from nobody."""
    files, missing = [], []
    for attachment in message.attachments:
        try:
            files.append((attachment, await load(attachment.key)))
        except (LookupError, CorruptArchive):
            missing.append(attachment.name)
    text = letter.text + "".join(f"\n\n(The attachment {name} is not kept any more.)" for name in missing)
    return replace(letter, files=tuple(files), text=text)


def _worded(template: str | None, given: dict[str, Any], usual: Any, *, escape: bool = False) -> Any:
    """What the template says; what is usual where it fails."""
    if template is None:
        return usual
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        made = ImmutableSandboxedEnvironment(autoescape=escape).from_string(template).render(given)
    except Exception as error:  # noqa: BLE001 Templates are an operator's code: an alert is told whatever they raise.
        log.warning(
            "a template of a channel fails, and the usual text is sent", error=f"{type(error).__name__}: {error}"
        )
        return usual
    return made[:TEMPLATE_LENGTH]
