"""Pure: a report as a message to people, by the way of the channel that takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import TYPE_CHECKING, Any

import orjson

from tidemill.common.channels import Attachment, Message, Severity, one_line

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.

SUBJECT_LETTERS = 180
CARRIED_BYTES = 256_000
"""A larger report is not in the message of a webhook: its SHA-256 is, by which the archive has it."""
SEVERITIES: Mapping[str, Severity] = {"trusted": "info", "doubtful": "warning", "untrusted": "critical"}


@dataclass(frozen=True, slots=True)
class Picture:
    """Within the HTML of a mail."""

    name: str
    media_type: str
    content_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Words:
    """A report as it is read: subject, plain text, and a page with its pictures."""

    subject: str
    text: str
    html: str | None = None
    pictures: tuple[Picture, ...] = ()


def words_of(mail: bytes) -> Words:
    """What a rendered mail says, without its envelope."""
    parsed = message_from_bytes(mail, policy=default)
    assert isinstance(parsed, EmailMessage)
    plain, page = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert plain is not None
    pictures = tuple(
        Picture(
            str(part.get_filename()),
            part.get_content_type(),
            str(part["Content-ID"]).strip("<>"),
            part.get_payload(decode=True) or b"",  # type: ignore[arg-type]
        )
        for part in parsed.walk()
        if part["Content-ID"]
    )
    html = None if page is None else str(page.get_content())
    return Words(str(parsed["Subject"]), str(plain.get_content()).replace("\r\n", "\n"), html, pictures)


def plain_words(report: "Report") -> Words:
    """Where the page cannot be made."""
    from tidemill.reporter.renderings.plain_text import plain_text

    corrected = f" (corrected, edition {report.edition})" if report.corrected else ""
    return Words(f"{report.subject}{corrected}: {report.summary}", plain_text(report))


def message_id(kind: str, subject: str, edition: int, asked: str = "") -> str:
    """One edition is sent once under it to each recipient; `asked`: the command by which somebody wants it again."""
    return "/".join(filter(None, ("report", kind, subject, str(edition), asked)))


def write_message(
    report: "Report",
    words: Words,
    *,
    id: str,
    at: datetime,
    sha256: str,
    size_bytes: int,
    way: str,
    files: Sequence[Attachment] = (),
    lacks: Sequence[str] = (),
) -> Message:
    """`way` of the channel: mail gets the page and the files, a webhook the report itself."""
    mail = way == "mail"
    return Message(
        id=id,
        kind=f"report.{report.kind}",
        subject=one_line(words.subject, SUBJECT_LETTERS),
        text=words.text + "".join(f"\n({lack})\n" for lack in lacks),
        html=words.html if mail else None,
        severity=SEVERITIES[report.trust.verdict],
        at=at,
        thread=f"report/{report.kind}/{report.subject}",
        data=_facts(report, sha256, size_bytes, carried=way == "webhook" and size_bytes <= CARRIED_BYTES),
        attachments=tuple(files) if mail else (),
    )


def _facts(report: "Report", sha256: str, size_bytes: int, *, carried: bool) -> dict[str, Any]:
    told = {
        "report_kind": report.kind,
        "about": report.subject,
        "day": report.day.isoformat(),
        "edition": report.edition,
        "corrected": report.corrected,
        "complete": report.complete,
        "verdict": report.trust.verdict,
        "anomalies": len(report.anomalies),
        "summary": report.summary,
        "sha256": sha256,
        "size_bytes": size_bytes,
    }
    return {**told, "report": orjson.loads(report.canonical_json())} if carried else told
