"""One attempt through a channel: whatever happens is an answer."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tidemill.common.archive import Archive
from tidemill.common.bus.step import Unavailable
from tidemill.common.channels.apprise_urls import send_by_apprise
from tidemill.common.channels.letter import Letter, Load, with_files, write_letter
from tidemill.common.channels.masking import said
from tidemill.common.channels.message import Message
from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.posting import Posting
from tidemill.common.channels.smtp import send_mail
from tidemill.common.channels.threads import AllHang, Threads
from tidemill.common.config.channels import Channel
from tidemill.common.config.references import UnresolvedReference
from tidemill.common.http.guard import Resolve, resolve


async def _no_files(key: str) -> bytes:
    raise LookupError(key)


def from_archive(archive: Archive) -> Load:
    """Attachments by their SHA-256."""

    async def load(key: str) -> bytes:
        return b"".join([chunk async for chunk in archive.read(key)])

    return load


class Senders:
    """To be closed. The channels of a configuration, and how each is sent through."""

    def __init__(self, channels: Mapping[str, Channel], *, load: Load = _no_files, resolve: Resolve = resolve) -> None:
        self.channels = dict(channels)
        self._load = load
        self._posting = Posting(resolve)
        self._threads = Threads()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._posting.close()

    async def send(self, name: str, message: Message, *, key: str, recipient: str) -> Reply:
        """One attempt, within the channel's time limit; raises nothing but CancelledError."""
        channel = self.channels[name]
        try:
            async with asyncio.timeout(channel.time_limit.total_seconds()):
                letter = write_letter(message, key=key, recipient=recipient, wording=channel.wording)
                return await self._send(name, channel, message, letter)
        except TimeoutError:
            limit = channel.time_limit.total_seconds()
            return Reply(verdict="later", text=f"no answer within {limit:g} s; it may have arrived all the same")
        except (UnresolvedReference, AllHang) as missing:
            return Reply(verdict="later", text=said(str(missing)))
        except Unavailable as missing:
            return Reply(verdict="later", text=said(f"an attachment is not to be had now: {missing}"))
        except Exception as error:  # noqa: BLE001 A sender's mistake must not stop the others, nor lose the message.
            return Reply(verdict="later", text=said(f"{type(error).__name__}: {error}"))

    async def _send(self, name: str, channel: Channel, message: Message, letter: Letter) -> Reply:
        if channel.mail is not None:
            letter = await with_files(letter, message, self._load)
            return await send_mail(channel.mail, letter, self._threads.of(name), channel.time_limit)
        if channel.webhook is not None:
            return await self._posting.webhook(channel.webhook, letter, channel.time_limit)
        if channel.slack is not None:
            return await self._posting.slack(channel.slack, letter, channel.time_limit)
        assert channel.apprise is not None
        return await send_by_apprise(channel.apprise, letter, self._threads.of(name))
