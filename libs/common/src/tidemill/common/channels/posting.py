"""Messages over HTTP: signed webhooks, and chats that take Slack's."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidemill.common.channels.letter import Letter
from tidemill.common.channels.masking import said
from tidemill.common.channels.outcome import Reply, Verdict
from tidemill.common.channels.signing import signed_headers
from tidemill.common.config.channels import SlackChannel, WebhookChannel
from tidemill.common.config.references import resolved
from tidemill.common.http import Called, Calls, FetchFailure
from tidemill.common.http.errors import PrivateAddress, UnfetchableUrl
from tidemill.common.http.guard import Resolve

WAIT_AND_ASK_AGAIN = (408, 425, 429)
MENDED_BY_AN_OPERATOR = (401, 403, 404, 407)
"""A login that is refused, or an address that the service does not know: a message outlives what somebody set wrong."""
LONGEST_HOLD = timedelta(hours=6)
"""Of a `Retry-After`: one slip of a receiver shall not silence a channel for a year."""
SLACK_LENGTH = 35_000
"""Slack takes 40,000 characters."""
COLOURS = {"info": "#36a64f", "warning": "#daa038", "critical": "#d00000"}


class Posting:
    """To be closed."""

    def __init__(self, resolve: Resolve) -> None:
        self._calls = Calls(resolve=resolve, setting="allow_private of the channel")

    async def close(self) -> None:
        await self._calls.close()

    async def webhook(self, channel: WebhookChannel, letter: Letter, time_limit: timedelta) -> Reply:
        body = webhook_body(letter)
        secrets = [channel.secret.fetch(), *([channel.former_secret.fetch()] if channel.former_secret else [])]
        headers = signed_headers(letter.key, datetime.now(UTC), body, secrets)
        return await self._post(
            resolved(channel.url), headers, body, time_limit, channel.allow_private, channel.ca_file
        )

    async def slack(self, channel: SlackChannel, letter: Letter, time_limit: timedelta) -> Reply:
        headers = {"Idempotency-Key": letter.key}
        url = channel.url.fetch()
        return await self._post(url, headers, slack_body(letter), time_limit, channel.allow_private, channel.ca_file)

    async def _post(
        self,
        url: str,
        headers: dict[str, str],
        body: bytes,
        time_limit: timedelta,
        allow_private: tuple[str, ...],
        ca_file: Path | None,
    ) -> Reply:
        try:
            called = await self._calls.call(
                url,
                headers={"Content-Type": "application/json; charset=utf-8", **headers},
                content=body,
                time_limit=time_limit,
                allow_private=allow_private,
                ca_file=ca_file,
            )
        except (PrivateAddress, UnfetchableUrl) as refused:
            return Reply(verdict="never", text=said(refused.detail))
        except FetchFailure as failure:
            return Reply(verdict="later", text=said(failure.detail))
        return reply_of(called)


def reply_of(called: Called) -> Reply:
    """What a status means to a sender. A redirect is refused: a signed message goes where the operator said."""
    text = said(called.content) or "(nothing was said)"
    if called.location:
        text = said(f"sends on to {called.location}, where nothing is posted")
    verdict = verdict_of(called.status)
    after = min(called.retry_after, LONGEST_HOLD) if called.retry_after and verdict == "later" else None
    return Reply(verdict=verdict, status=called.status, text=text, after=after)


def verdict_of(status: int) -> Verdict:
    if 200 <= status < 300:
        return "taken"
    passes = status >= 500 or status in WAIT_AND_ASK_AGAIN or status in MENDED_BY_AN_OPERATOR
    return "later" if passes else "never"


def webhook_body(letter: Letter) -> bytes:
    """As Standard Webhooks recommends: type, timestamp, data. The same bytes on every attempt."""
    told = {
        "type": letter.kind,
        "timestamp": letter.at.isoformat(),
        "data": {
            "id": letter.message,
            "severity": letter.severity,
            "subject": letter.subject,
            "text": letter.text,
            "thread": letter.thread,
            **({"facts": letter.data} if letter.data else {}),
        },
    }
    return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def slack_body(letter: Letter) -> bytes:
    text = escaped(letter.text)
    if len(text) > SLACK_LENGTH:
        text = f"{text[:SLACK_LENGTH]}…"
    footer = f"{letter.kind} · {letter.reference}"
    attachment = {
        "color": COLOURS[letter.severity],
        "text": text,
        "footer": footer,
        "ts": int(letter.at.timestamp()),
        "fallback": escaped(letter.subject),
    }
    told = {"text": f"*{escaped(letter.subject)}*", "attachments": [attachment]}
    return json.dumps(told, ensure_ascii=False, sort_keys=True).encode()


def escaped(text: str) -> str:
    """Of the three characters by which Slack's texts call people and make links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
