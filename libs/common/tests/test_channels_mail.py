"""Mail to real servers: encrypted, logged in, refused, slow, and never with a header that nobody wrote."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill.common.archive import Archive
from tidemill.common.channels import Attachment, Message, Senders, To, Unsendable, from_archive, one_line
from tidemill.common.channels.letter import write_letter
from tidemill.common.channels.mail import compose
from tidemill.common.channels.message import delivery_key
from tidemill.common.channels.outcome import Reply
from tidemill.common.config.channels import Channel, Wording
from tidemill.common.testing.receivers import Mailbox, open_mailbox

PASSWORD = "canary-Zk3vQ9"
AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
KEY = delivery_key("alert-1", "operators", "anna@example.org")


def message(**others: Any) -> Message:
    told = {"id": "alert-1", "kind": "alert.firing", "subject": "Disk: 95 %", "text": "Free some space.\n.\nSoon."}
    return Message.model_validate({**told, "at": AT, **others})


def channel(box: Mailbox, **settings: Any) -> Channel:
    mail = {"host": "localhost", "port": box.port, "security": "none", "from": "tidemill@example.org"}
    time_limit = settings.pop("time_limit", "10s")
    return Channel.model_validate({"mail": {**mail, **settings}, "time_limit": time_limit})


async def send(told: Message, through: Channel, recipient: str = "anna@example.org", **others: Any) -> Reply:
    async with Senders({"operators": through}, **others) as senders:
        return await senders.send("operators", told, key=KEY, recipient=recipient)


async def test_a_mail_arrives_as_it_was_written() -> None:
    async with open_mailbox() as box:
        told = message(html="<p>Free some <b>space</b>.</p>", severity="critical", thread="disk")
        reply = await send(told, channel(box))
    assert (reply.verdict, reply.status, reply.text) == ("taken", 250, "2.0.0 Ok: queued as 1")
    mail = box.mails[0]
    assert (mail["From"], mail["To"]) == ("Tidemill <tidemill@example.org>", "anna@example.org")
    assert (mail["Subject"], mail["Date"]) == ("Disk: 95 %", "Wed, 04 Mar 2026 05:06:00 +0000")
    assert mail["Message-ID"] == f"<{KEY}@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["References"] == mail["In-Reply-To"]
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and plain.get_content().splitlines() == ["Free some space.", ".", "Soon."]
    assert html is not None and "<b>space</b>" in html.get_content()


async def test_a_repeat_is_the_same_to_the_byte() -> None:
    letter = write_letter(message(html="<p>x</p>"), key=KEY, recipient="anna@example.org", wording=Wording())
    assert compose(letter, "tidemill@example.org") == compose(letter, "tidemill@example.org")


async def test_attachments_come_from_where_they_are_kept_and_a_missing_one_is_told() -> None:
    async def load(key: str) -> bytes:
        return {"a": b"%PDF-1.7"}[key]

    files = [
        Attachment(name="report.pdf", media_type="application/pdf", key="a"),
        Attachment(name="gone.csv", media_type="text/csv", key="b"),
    ]
    async with open_mailbox() as box:
        assert (await send(message(attachments=files), channel(box), load=load)).verdict == "taken"
    (attached,) = box.mails[0].iter_attachments()
    assert isinstance(attached, EmailMessage)
    assert (attached.get_filename(), attached.get_content()) == ("report.pdf", b"%PDF-1.7")
    body = box.mails[0].get_body(("plain",))
    assert body is not None and "The attachment gone.csv is not kept any more." in body.get_content()


async def test_a_picture_is_within_the_page_and_another_file_behind_it() -> None:
    async def load(key: str) -> bytes:
        return {"a": b"%PDF-1.7", "b": b"PNG"}[key]

    files = [
        Attachment(name="report.pdf", media_type="application/pdf", key="a"),
        Attachment(name="chart.png", media_type="image/png", key="b", content_id="chart-0@example.org"),
    ]
    told = message(html='<img src="cid:chart-0@example.org">', attachments=files)
    async with open_mailbox() as box:
        assert (await send(told, channel(box), load=load)).verdict == "taken"
        assert (await send(message(attachments=files), channel(box), load=load)).verdict == "taken"
    mail, plain = box.mails
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds[:4] == ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related"]
    (picture,) = [part for part in mail.walk() if part["Content-ID"] == "<chart-0@example.org>"]
    assert picture.get_payload(decode=True) == b"PNG" and picture.get_content_disposition() == "inline"
    assert [part.get_filename() for part in mail.iter_attachments()] == ["report.pdf"]
    assert [part.get_filename() for part in plain.iter_attachments()] == ["report.pdf"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_it_logs_in_over_tls_alone(
    security: str,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    certificate_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHANNEL_PASSWORD", PASSWORD)
    login = {"user": "tidemill", "password": "${env:CHANNEL_PASSWORD}"}
    async with open_mailbox(tls[0], tls=security == "tls", users={"tidemill": PASSWORD}) as box:
        through = channel(box, security=security, ca_file=str(certificate_file), **login)
        reply = await send(message(), through)
        assert reply.verdict == "taken", reply
        assert box.logged_in == ["tidemill"]
        untrusted = await send(message(), channel(box, security=security, **login))
        assert untrusted.verdict == "later" and "certificate is not trusted" in untrusted.text


async def test_a_wrong_password_is_a_matter_for_an_operator_and_is_in_no_answer(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], certificate_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANNEL_PASSWORD", PASSWORD)
    login = {"user": "tidemill", "password": "${env:CHANNEL_PASSWORD}", "ca_file": str(certificate_file)}
    async with open_mailbox(tls[0], users={"tidemill": "another"}) as box:
        reply = await send(message(), channel(box, security="starttls", **login))
    assert (reply.verdict, reply.status) == ("later", 535)
    assert PASSWORD not in reply.text


async def test_nothing_is_said_in_the_clear_to_a_server_without_starttls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNEL_PASSWORD", PASSWORD)
    async with open_mailbox() as box:
        through = channel(box, security="starttls", user="tidemill", password="${env:CHANNEL_PASSWORD}")
        reply = await send(message(), through)
    assert reply.verdict == "never" and "STARTTLS" in reply.text
    assert not box.mails


async def test_a_password_that_is_not_there_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANNEL_PASSWORD", raising=False)
    async with open_mailbox() as box:
        through = channel(box, security="starttls", user="tidemill", password="${env:CHANNEL_PASSWORD}")
        reply = await send(message(), through)
    assert reply.verdict == "later" and reply.text == "${env:CHANNEL_PASSWORD}: this environment variable is not set"


@pytest.mark.parametrize(
    ("answer", "verdict", "status"),
    [
        ("450 4.2.1 mailbox busy", "later", 450),
        ("550 5.1.1 no such user", "never", 550),
        ("452 4.3.1 disk full", "later", 452),
    ],
)
async def test_what_may_pass_is_told_from_what_stays(answer: str, verdict: str, status: int) -> None:
    async with open_mailbox() as box:
        box.answers.append(answer)
        to_recipient = await send(message(), channel(box))
        box.answers_to_mails.append(answer)
        to_mail = await send(message(), channel(box))
    assert (to_recipient.verdict, to_recipient.status) == (to_mail.verdict, to_mail.status) == (verdict, status)
    assert answer[4:] in to_recipient.text and to_recipient.text.startswith("refuses the recipient")


@pytest.mark.parametrize("mood", ["take and hang", "take and drop"])
async def test_a_server_that_takes_it_and_does_not_say_so_leaves_it_open(mood: str) -> None:
    async with open_mailbox() as box:
        box.answers_to_mails.append(mood)
        reply = await send(message(), channel(box, time_limit="1s"))
        assert reply.verdict == "later" and "may have arrived" in reply.text
        assert (await send(message(), channel(box))).verdict == "taken"
    assert box.ids == [f"<{KEY}@example.org>"] * 2


async def test_a_server_that_hangs_has_a_time_limit() -> None:
    async with open_mailbox() as box:
        box.answers.append("hang")
        began = time.monotonic()
        reply = await send(message(), channel(box, time_limit="1s"))
    assert reply.verdict == "later" and "no answer within 1 s" in reply.text
    assert time.monotonic() - began < 3


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    async with open_mailbox() as box:
        pass
    reply = await send(message(), channel(box))
    assert reply.verdict == "later" and "ConnectionRefusedError before the mail was sent" in reply.text


LINE_ENDS = ("\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\x00")


@pytest.mark.parametrize("end", LINE_ENDS)
def test_a_subject_that_would_begin_another_header_is_refused(end: str) -> None:
    with pytest.raises(ValidationError, match="line end"):
        message(subject=f"Disk{end}Bcc: everybody@example.org")
    assert one_line(f"Disk{end}Bcc: x") in ("Disk Bcc: x", "DiskBcc: x")


@pytest.mark.parametrize(
    "recipient",
    [
        "a@b.org\r\nBcc: c@d.org",
        "a@b.org\n",
        "a@b.org, c@d.org",
        "A <a@b.org>",
        "a@b.org>",
        "a b@c.org",
        "a",
        "@b",
        "ä@b.org",
    ],
)
def test_a_recipient_that_is_more_than_an_address_is_refused(recipient: str) -> None:
    with pytest.raises(Unsendable):
        To("operators", recipient)


@settings(deadline=None)
@example("00000000 00¡¡¡¡¡¡𐀀𐀀𐀀𐀀𐀀 ¡")
@given(st.text(min_size=1, max_size=400))
def test_a_subject_made_of_any_text_is_one_header(text: str) -> None:
    told = message(
        subject=one_line(text.encode("utf-8", "replace").decode()) or "x", text=text.encode("utf-8", "replace").decode()
    )
    letter = write_letter(told, key=KEY, recipient="anna@example.org", wording=Wording())
    mail = message_from_bytes(compose(letter, "tidemill@example.org"), policy=default)
    assert {name.lower() for name in mail} <= {
        *("from", "to", "subject", "date", "message-id", "auto-submitted", "x-auto-response-suppress"),
        *("x-tidemill-kind", "content-type", "content-transfer-encoding", "mime-version"),
    }
    assert " ".join(str(mail["Subject"]).split()) == " ".join(told.subject.split())


async def test_a_template_takes_the_place_of_the_usual_words_and_one_that_fails_does_not() -> None:
    wording = Wording(
        subject="[{{ severity }}] {{ host }}\n", text="{{ message.text }} See {{ runbook }}", html="<i>{{ host }}</i>"
    )
    told = message(data={"host": "<db1>", "runbook": "disk.md"})
    letter = write_letter(told, key=KEY, recipient="", wording=wording)
    assert letter.subject == "[info] <db1>"
    assert letter.text.endswith("See disk.md") and letter.html == "<i>&lt;db1&gt;</i>"
    for escape in ("{{ message.__class__.__mro__ }}", "{{ 1 / 0 }}", "{{ missing.thing }}"):
        assert write_letter(told, key=KEY, recipient="", wording=Wording(text=escape)).text == told.text


def test_a_mail_is_sent_to_ascii_addresses_with_its_time_in_its_zone() -> None:
    told = message(at=AT + timedelta(days=1), subject="Árvíztűrő", text="tükörfúrógép")
    letter = write_letter(told, key=KEY, recipient="anna@example.org", wording=Wording())
    content = compose(letter, "tidemill@example.org")
    assert content.isascii()
    assert message_from_bytes(content, policy=default)["Subject"] == "Árvíztűrő"


@pytest.mark.parametrize(
    "rubbish", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\r\n", b"220 " + b"x" * 20_000, b""]
)
async def test_what_does_not_speak_smtp_is_tried_again(rubbish: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(rubbish)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        reply = await send(message(), channel(Mailbox(port=server.sockets[0].getsockname()[1])))
    assert reply.verdict == "later" and reply.text.isprintable()


async def test_attachments_come_from_the_archive(tmp_path: Path) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"a;b"

    async with Archive.open(f"file://{tmp_path}") as archive, open_mailbox() as box:
        stored = await archive.put(content())
        told = message(attachments=[{"name": "x.csv", "media_type": "text/csv", "key": stored.sha256}])
        assert (await send(told, channel(box), load=from_archive(archive))).verdict == "taken"
    (attached,) = box.mails[0].iter_attachments()
    assert isinstance(attached, EmailMessage) and attached.get_content().strip() in ("a;b", b"a;b")


async def test_a_server_that_drips_has_a_time_limit_and_its_thread_ends() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"2")
                await writer.drain()
                await asyncio.sleep(0.05)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        reply = await send(message(), channel(Mailbox(port=server.sockets[0].getsockname()[1]), time_limit="1s"))
        assert reply.verdict == "later" and "within 1 s" in reply.text
        for _ in range(100):
            if not any(thread.name == "channel operators" for thread in threading.enumerate()):
                break
            await asyncio.sleep(0.02)
        assert not any(thread.name == "channel operators" for thread in threading.enumerate())
