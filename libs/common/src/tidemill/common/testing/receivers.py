"""Who takes messages: a mail server, and a web server that is posted to, on this machine; the test decides their
moods."""

import asyncio
import email
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

KEEP_WAITING = 3600.0


@dataclass
class Mailbox:
    """What a mail server took, and what it is to say instead."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """To recipients, before good ones: `450 not now`; `hang` says nothing."""
    answers_to_mails: list[str] = field(default_factory=list)
    """To the mail itself, which is not kept; `take and hang` keeps it and says nothing, `take and drop` hangs up."""
    users: dict[str, str] = field(default_factory=dict)
    logged_in: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    slow: float = 0.0
    """Up to so many seconds lie between taking a mail and saying so."""

    @property
    def ids(self) -> list[str]:
        return [str(mail["Message-ID"]) for mail in self.mails]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.answers:
            answer = self.answers.pop(0)
            if answer == "hang":
                await asyncio.sleep(KEEP_WAITING)
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        mood = self.answers_to_mails.pop(0) if self.answers_to_mails else ""
        if mood and not mood.startswith("take"):
            return mood
        mail = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients += envelope.rcpt_tos
        self.encrypted.append(session.ssl is not None)
        await asyncio.sleep(random.random() * self.slow)
        if mood.endswith("hang"):
            await asyncio.sleep(KEEP_WAITING)
        if mood.endswith("drop"):
            server.transport.abort()
        return f"250 2.0.0 Ok: queued as {len(self.mails)}"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> Any:
        from aiosmtpd.smtp import AuthResult

        name = login.login.decode()
        right = self.users.get(name) == login.password.decode()
        if right:
            self.logged_in.append(name)
        return AuthResult(success=right, handled=False)


@asynccontextmanager
async def open_mailbox(
    certificate: ssl.SSLContext | None = None, *, tls: bool = False, users: dict[str, str] | None = None
) -> AsyncIterator[Mailbox]:
    """With a certificate it offers STARTTLS and asks for a login after it; with `tls` it is encrypted at once."""
    from aiosmtpd.smtp import SMTP

    box = Mailbox(users=users or {})
    offered = None if tls else certificate
    protocols: set[Any] = set()

    def protocol() -> Any:
        made = SMTP(
            box,
            hostname="mail.example",
            authenticator=box.authenticate,
            auth_required=bool(users),
            auth_require_tls=not tls,
            enable_SMTPUTF8=False,
            tls_context=offered,
            require_starttls=offered is not None,
        )
        protocols.add(made)
        return made

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=certificate if tls else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        for each in protocols:
            if each.transport is not None:
                each.transport.abort()


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes
    method: str = "POST"


@dataclass
class Postbox:
    """What was posted to a web server, and what it is to say instead of 200 and `ok`."""

    port: int = 0
    posts: list[Posted] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    """Whole answers, to those who come first; `hang` says nothing, `drop` hangs up."""
    always: bytes | None = None
    """To all others."""
    slow: float = 0.0
    """Up to so many seconds lie between taking a post and answering it."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}{path}"

    @property
    def keys(self) -> list[str]:
        return [post.headers["idempotency-key"] for post in self.posts]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                # Decided at once: who sees the post may change our mood for the next.
                reply = self.answers.pop(0) if self.answers else self.always or http_answer(200, b"ok")
                self.posts.append(Posted(path, headers, body, method))
                await asyncio.sleep(random.random() * self.slow)
                if reply == b"hang":
                    await asyncio.sleep(KEEP_WAITING)
                if reply == b"drop":
                    break
                writer.write(reply)
                await writer.drain()
        writer.close()


def http_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def open_postbox(certificate: ssl.SSLContext | None = None) -> AsyncIterator[Postbox]:
    box = Postbox()
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):  # At the end of the test; asyncio would log it.
            await box.answer(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24, ssl=certificate)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
