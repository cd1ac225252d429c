"""Mail to a server that passes it on. The library blocks, so it works in a thread, and its socket is shut when its time
is over."""

import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from tidemill.common.channels.letter import Letter
from tidemill.common.channels.mail import compose
from tidemill.common.channels.masking import said
from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.threads import Lane
from tidemill.common.config.channels import MailChannel

SILENCE = timedelta(seconds=20)
MENDED_BY_AN_OPERATOR = (530, 534, 535, 538)
"""RFC 4954: a login is wanted, refused, or wanted in another way: a message outlives what somebody set wrong."""


class _Said(Exception):
    """The server said no."""

    def __init__(self, code: int, text: bytes, when: str) -> None:
        super().__init__(when)
        self.code = code
        self.text = text


async def send_mail(channel: MailChannel, letter: Letter, lane: Lane, time_limit: timedelta) -> Reply:
    """Raises UnresolvedReference."""
    password = channel.password.fetch() if channel.password else None
    mail = compose(letter, channel.sender)
    talk = _Talk(channel, password, min(SILENCE, time_limit).total_seconds())
    try:
        return await lane.run(lambda: talk.send(letter.recipient, mail))
    finally:
        talk.hang_up()


class _Talk:
    """One connection, for one mail."""

    def __init__(self, channel: MailChannel, password: str | None, silence: float) -> None:
        self._channel = channel
        self._password = password
        self._silence = silence
        self._socket: socket.socket | None = None
        self._over = False

    def hang_up(self) -> None:
        """From another thread, too: what waits for the server then ends."""
        self._over = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, recipient: str, mail: bytes) -> Reply:
        when = "before the mail was sent"
        try:
            with self._connected() as server:
                self._log_in(server)
                _expect(server.mail(self._channel.sender), (250,), "the sender")
                _expect(server.rcpt(recipient), (250, 251), "the recipient")
                when = "after the mail was sent, so that it may have arrived all the same"
                answer = server.data(mail)
                _expect(answer, (250,), "the mail")
                self._over = True
                return Reply(verdict="taken", status=answer[0], text=said(answer[1]))
        except (smtplib.SMTPException, OSError, ValueError, _Said) as failure:
            return _reply_to(failure, when)

    def _connected(self) -> "_Server":
        channel = self._channel
        context = None if channel.security == "none" else ssl.create_default_context(cafile=channel.ca_file)
        server = _Server(channel.host, self._silence, context if channel.security == "tls" else None, self._keep)
        code, text = server.connect(channel.host, channel.port)
        if code != 220:
            server.close()
            raise _Said(code, text, "to talk")
        try:
            server.ehlo_or_helo_if_needed()
            if channel.security == "starttls":
                assert context is not None
                _expect(server.starttls(context=context), (220,), "STARTTLS")
                self._keep(server.sock)
                server.ehlo_or_helo_if_needed()
        except BaseException:
            server.close()
            raise
        return server

    def _keep(self, connection: socket.socket | None) -> None:
        self._socket = connection
        if self._over and connection is not None:
            connection.close()
            raise TimeoutError("its time was over before it was connected")

    def _log_in(self, server: smtplib.SMTP) -> None:
        if self._password is not None:
            server.login(self._channel.user, self._password)


class _Server(smtplib.SMTP):
    """Over TLS from the start where there is a context; says which socket it has, and how it is called."""

    def __init__(
        self, host: str, silence: float, context: ssl.SSLContext | None, keep: Callable[[socket.socket | None], None]
    ) -> None:
        self._context = context
        self._keep_socket = keep
        # Its own name would tell where we are, and take a look-up that may hang.
        super().__init__(local_hostname="tidemill.localdomain", timeout=silence)
        self._host = host  # The name that STARTTLS checks; the library sets it only when it connects at once.

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        self._keep_socket(connection)
        if self._context is None:
            return connection
        wrapped = self._context.wrap_socket(connection, server_hostname=host)
        self._keep_socket(wrapped)
        return wrapped

    def __exit__(self, *_: object) -> None:
        """A server that took the mail and breaks off then has taken it."""
        with suppress(smtplib.SMTPException, OSError):
            self.docmd("QUIT")
        self.close()


def _expect(answer: tuple[int, bytes], wanted: tuple[int, ...], what: str) -> None:
    if answer[0] not in wanted:
        raise _Said(answer[0], answer[1], what)


def _reply_to(failure: Exception, when: str) -> Reply:
    match failure:
        case _Said():
            return _refusal(failure.code, failure.text, f"refuses {failure}")
        case smtplib.SMTPResponseException(smtp_error=bytes(text), smtp_code=code):
            return _refusal(code, text, "refuses")
        case smtplib.SMTPNotSupportedError():
            return Reply(verdict="never", text=said(f"the server cannot do what is asked for: {failure}"))
        case ssl.SSLCertVerificationError():
            return Reply(verdict="later", text=said(f"its certificate is not trusted: {failure.verify_message}"))
    return Reply(verdict="later", text=said(f"{type(failure).__name__} {when}: {failure}"))


def _refusal(code: int, text: bytes, what: str) -> Reply:
    """4xx may pass, 5xx stays, but for logins. What is no SMTP at all has no such number."""
    never = 500 <= code < 600 and code not in MENDED_BY_AN_OPERATOR
    return Reply(
        verdict="never" if never else "later", status=code if code > 0 else None, text=said(f"{what}: {said(text)}")
    )
