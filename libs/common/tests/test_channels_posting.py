"""Webhooks and chats, posted to real receivers that check the signature, hang, talk rubbish and send on."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.channels import Message, Senders
from tidemill.common.channels.message import delivery_key
from tidemill.common.channels.outcome import Reply
from tidemill.common.config.channels import Channel
from tidemill.common.config.secrets import MASK
from tidemill.common.testing.receivers import Postbox, Posted, http_answer, open_postbox

SECRET = "whsec_" + base64.b64encode(b"canary-0123456789-0123456789").decode()
FORMER = "former-canary-0123456789-0123456789"
KEY = delivery_key("alert-1", "hook", "")
AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HOOK_FORMER", FORMER)
    monkeypatch.setenv("HOOK_TOKEN", "canary-in-the-path")


def message(**others: Any) -> Message:
    told = {"id": "alert-1", "kind": "alert.firing", "subject": "Disk <95 %>", "text": "Free & easy.", "at": AT}
    return Message.model_validate({**told, **others})


def webhook(box: Postbox, **settings: Any) -> Channel:
    time_limit = settings.pop("time_limit", "10s")
    hook = {"url": box.url("/hook/${env:HOOK_TOKEN}"), "secret": "${env:HOOK_SECRET}", "allow_private": [box.host]}
    return Channel.model_validate({"webhook": {**hook, **settings}, "time_limit": time_limit})


async def send(through: Channel, told: Message | None = None) -> Reply:
    async with Senders({"hook": through}) as senders:
        return await senders.send("hook", told or message(), key=KEY, recipient="")


def is_signed(post: Posted, secret: bytes) -> bool:
    """As a receiver would check it, by the text of the standard."""
    content = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    wanted = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(post.headers["webhook-timestamp"])) < 60
    return fresh and f"v1,{wanted}" in post.headers["webhook-signature"].split(" ")


async def test_a_webhook_is_signed_and_names_itself() -> None:
    async with open_postbox() as box:
        reply = await send(webhook(box, former_secret="${env:HOOK_FORMER}"), message(data={"host": "db1"}))
    assert (reply.verdict, reply.status, reply.text) == ("taken", 200, "ok")
    (post,) = box.posts
    assert post.path == "/hook/canary-in-the-path"
    assert is_signed(post, b"canary-0123456789-0123456789") and is_signed(post, FORMER.encode())
    assert not is_signed(post, b"another-0123456789-0123456789")
    assert post.headers["webhook-id"] == post.headers["idempotency-key"] == KEY
    told = json.loads(post.body)
    assert (told["type"], told["timestamp"]) == ("alert.firing", "2026-03-04T05:06:00+00:00")
    assert told["data"]["subject"] == "Disk <95 %>" and told["data"]["facts"] == {"host": "db1"}


async def test_the_example_of_the_standard_is_signed_as_it_says() -> None:
    """The test vector of https://github.com/standard-webhooks/standard-webhooks."""
    from tidemill.common.channels.signing import signature

    signed = signature(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert signed == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((200, "taken"), (204, "taken"), (400, "never"), (405, "never"), (410, "never"), (413, "never")),
        *((401, "later"), (403, "later"), (404, "later"), (407, "later")),
        *((408, "later"), (425, "later"), (429, "later"), (500, "later"), (503, "later")),
    ],
)
async def test_what_may_pass_is_told_from_what_stays(status: int, verdict: str) -> None:
    async with open_postbox() as box:
        box.always = http_answer(status, b"so it is")
        reply = await send(webhook(box))
    assert (reply.verdict, reply.status) == (verdict, status)
    assert reply.text == ("so it is" if status != 204 else "(nothing was said)")


async def test_retry_after_is_read_in_both_forms() -> None:
    async with open_postbox() as box:
        box.answers = [
            http_answer(429, Retry_After="120"),
            http_answer(503, Retry_After="Wed, 04 Mar 2026 05:10:00 GMT", Date="Wed, 04 Mar 2026 05:06:00 GMT"),
        ]
        assert (await send(webhook(box))).after == timedelta(seconds=120)
        assert (await send(webhook(box))).after == timedelta(minutes=4)
        box.answers = [http_answer(429, Retry_After="99999999"), http_answer(400, Retry_After="60")]
        assert (await send(webhook(box))).after == timedelta(hours=6)
        assert (await send(webhook(box))).after is None


async def test_a_redirect_is_not_followed() -> None:
    async with open_postbox() as box, open_postbox() as elsewhere:
        box.always = http_answer(307, Location=elsewhere.url())
        reply = await send(webhook(box, allow_private=[box.host, elsewhere.host]))
    assert (reply.verdict, reply.status) == ("never", 307) and elsewhere.host in reply.text
    assert not elsewhere.posts


async def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    async with open_postbox() as box:
        reply = await send(webhook(box, allow_private=[]))
        assert reply.verdict == "never" and "not on the public internet" in reply.text
        assert f"set allow_private of the channel: [{box.host}]" in reply.text
        assert not box.posts


@pytest.mark.parametrize(
    ("rubbish", "verdict"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "later"),
        (b"\x00\xff" * 600, "later"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nshort", "taken"),
        (b"HTTP/1.1 999 \xff\r\n\r\n", "later"),
        (b"drop", "later"),
    ],
)
async def test_rubbish_is_an_answer_like_others(rubbish: bytes, verdict: str) -> None:
    async with open_postbox() as box:
        box.answers = [rubbish]
        reply = await send(webhook(box, time_limit="1s"))
    assert reply.verdict == verdict
    assert reply.text.isprintable() and len(reply.text) <= 500


async def test_a_long_answer_is_kept_in_part_and_without_secrets() -> None:
    async with open_postbox() as box:
        body = f"you sent {SECRET}\x00\n".encode() + b"\xff" + b"x" * 5_000_000
        box.answers = [http_answer(400, body)]
        reply = await send(webhook(box))
    assert reply.status == 400 and len(reply.text) <= 500
    assert SECRET not in reply.text and MASK in reply.text and reply.text.isprintable()


async def test_a_receiver_that_hangs_has_a_time_limit() -> None:
    async with open_postbox() as box:
        box.always = b"hang"
        began = time.monotonic()
        reply = await send(webhook(box, time_limit="1s"))
    assert reply.verdict == "later" and "within 1 s" in reply.text
    assert time.monotonic() - began < 3


async def test_the_token_in_a_url_is_in_no_error() -> None:
    async with open_postbox() as box:
        pass
    reply = await send(webhook(box))
    assert reply.verdict == "later" and "canary" not in reply.text


async def test_a_short_secret_is_told() -> None:
    async with open_postbox() as box:
        box_channel = webhook(box, secret="${env:SHORT}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SHORT", "sesame")
            reply = await send(box_channel)
    assert "24 are the least" in reply.text and "sesame" not in reply.text


async def test_a_chat_gets_what_slack_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postbox() as box:
        monkeypatch.setenv("SLACK_URL", box.url("/services/T0/B0/canary"))
        slack = {"url": "${env:SLACK_URL}", "allow_private": [box.host]}
        through = Channel.model_validate({"slack": slack})
        assert (await send(through, message(text="x" * 50_000 + "<!everyone>", severity="critical"))).verdict == "taken"
    (post,) = box.posts
    told = json.loads(post.body)
    assert told["text"] == "*Disk &lt;95 %&gt;*"
    assert len(told["attachments"][0]["text"]) < 40_000 and told["attachments"][0]["color"] == "#d00000"
    assert post.headers["idempotency-key"] == KEY and post.headers["content-type"].startswith("application/json")


@pytest.mark.slow
async def test_apprise_reaches_the_rest_and_carries_the_key_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postbox() as box:
        monkeypatch.setenv("APPRISE_URL", f"json://tidemill:canary-pw@{box.host}/hook")
        through = Channel.model_validate({"apprise": {"url": "${env:APPRISE_URL}"}})
        reply = await send(through)
        assert reply.verdict == "taken", reply
        box.always = http_answer(500)
        refused = await send(through)
    assert refused.verdict == "later" and "canary-pw" not in refused.text
    assert box.keys == [KEY, KEY]
    told = json.loads(box.posts[0].body)
    assert told["title"] == "Disk <95 %>" and "Free & easy." in told["message"] and KEY[:8] in told["message"]


@pytest.mark.slow
async def test_an_address_that_apprise_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRISE_URL", "nonsense://canary-token")
    reply = await send(Channel.model_validate({"apprise": {"url": "${env:APPRISE_URL}"}}))
    assert reply.verdict == "never" and "canary-token" not in reply.text


@pytest.mark.slow
async def test_apprise_that_hangs_takes_a_few_threads_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postbox() as box:
        box.always = b"hang"
        monkeypatch.setenv("APPRISE_URL", f"json://{box.host}/?rto=20")
        through = Channel.model_validate({"apprise": {"url": "${env:APPRISE_URL}"}, "time_limit": "1s"})
        async with Senders({"phone": through}) as senders:
            sends = (senders.send("phone", message(), key=KEY, recipient="") for _ in range(4))
            replies = await asyncio.gather(*sends)
            further = await senders.send("phone", message(), key=KEY, recipient="")
    assert {reply.text for reply in replies} == {"no answer within 1 s; it may have arrived all the same"}
    assert further.verdict == "later" and further.text == "4 attempts through phone have not come back"


async def test_a_receiver_with_a_certificate_of_its_own_and_a_login(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], certificate_file: Path
) -> None:
    async with open_postbox(tls[0]) as box:
        url = f"https://tide:${{env:HOOK_TOKEN}}@localhost:{box.port}/hook"
        own = {"url": url, "allow_private": [f"localhost:{box.port}"]}
        assert (await send(webhook(box, **own, ca_file=str(certificate_file)))).verdict == "taken"
        untrusted = await send(webhook(box, **own))
        no_file = await send(webhook(box, **own, ca_file="/nowhere.pem"))
    login = base64.b64decode(box.posts[0].headers["authorization"].removeprefix("Basic "))
    assert login == b"tide:canary-in-the-path"
    assert untrusted.verdict == "later" and "CERTIFICATE_VERIFY_FAILED" in untrusted.text
    assert no_file.verdict == "never" and "/nowhere.pem" in no_file.text


async def test_a_secret_that_is_not_written_as_it_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "whsec_not base64!")
    async with open_postbox() as box:
        reply = await send(webhook(box))
    assert "goes on in base64" in reply.text and not box.posts
