"""A letter as mail: pure, and the same bytes on every attempt."""

from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from tidemill.common.channels.letter import Letter
from tidemill.common.channels.message import delivery_key

PRIORITY = {"critical": "1 (Highest)"}


def compose(letter: Letter, sender: str) -> bytes:
    """Plain text, HTML beside it where there is some, with its pictures, attachments behind."""
    domain = sender.rpartition("@")[2]
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Tidemill", addr_spec=sender)
    mail["To"] = Address(addr_spec=letter.recipient)
    if letter.subject.isascii():
        mail["Subject"] = letter.subject
    else:  # What EmailMessage folds can lose a space between two encoded words (CPython 3.11, astral letters).
        mail.set_raw("Subject", Header(letter.subject, "utf-8", header_name="Subject").encode())
    mail["Date"] = format_datetime(letter.at)
    mail["Message-ID"] = message_id(letter.key, domain)
    if letter.thread:
        # The first of a thread is not known here; all of them answer to one that was never sent.
        root = message_id(delivery_key(letter.thread, "thread", letter.recipient), domain)
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["X-Tidemill-Kind"] = letter.kind
    if letter.severity in PRIORITY:
        mail["X-Priority"] = PRIORITY[letter.severity]
    mail.set_content(letter.text, cte="quoted-printable")
    if letter.html is not None:
        mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    pictures = [file for file in letter.files if file[0].content_id and letter.html is not None]
    for attachment, content in pictures:
        page: EmailMessage = mail.get_payload()[1]  # type: ignore[index, assignment]
        main, _, sub = attachment.media_type.partition("/")
        identity = f"<{attachment.content_id}>"
        page.add_related(content, main, sub, cid=identity, filename=attachment.name, disposition="inline")
    for attachment, content in letter.files:
        if not attachment.content_id:
            main, _, sub = attachment.media_type.partition("/")
            mail.add_attachment(content, main, sub, filename=attachment.name)
    for number, part in enumerate(mail.walk()):
        if part.is_multipart():
            part.set_boundary(f"=={letter.key}=={number}")
    return mail.as_bytes()


def message_id(key: str, domain: str) -> str:
    return f"<{key}@{domain}>"
