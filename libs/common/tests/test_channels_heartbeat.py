"""The sign of life outwards, and the test message."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tidemill.common.channels import Heartbeat, Senders, send_test
from tidemill.common.channels.heartbeat import decide
from tidemill.common.config.heartbeat import HeartbeatSettings
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.common.testing.receivers import Postbox, http_answer, open_mailbox, open_postbox
from tidemill.common.testing.telling import START, Clock, channels

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


class Wellness:
    wrong: str | None = None

    async def __call__(self) -> str | None:
        if self.wrong == "raise":
            raise RuntimeError("postgres")
        return self.wrong


def settings(box: Postbox, **others: Any) -> HeartbeatSettings:
    given = {"url": box.url("/ping/${env:HEARTBEAT_ID}"), "every": "5m", "allow_private": [box.host], **others}
    return HeartbeatSettings.model_validate(given)


@hypothesis_settings(deadline=None)
@given(
    st.none() | st.timedeltas(timedelta(0), timedelta(days=1)),
    st.booleans(),
    st.timedeltas(timedelta(seconds=10), timedelta(hours=6)),
    st.none() | st.just("postgres"),
)
def test_no_sign_is_sent_early_or_while_something_is_wrong(
    ago: timedelta | None, failed: bool, every: timedelta, wrong: str | None
) -> None:
    last = None if ago is None else NOW - ago
    decision = decide(now=NOW, last=last, failed=failed, every=every, wrong=wrong)
    if ago is not None and not failed and ago < every:
        assert decision == "not_due"
    if ago is None or ago >= every:
        assert decision == ("withhold" if wrong else "send")
    assert not (wrong and decision == "send")


async def test_a_sign_is_sent_every_so_often_while_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTBEAT_ID", "canary-heartbeat")
    clock, well = Clock(), Wellness()
    async with open_postbox() as box:
        heart = Heartbeat(settings(box), Metrics("heart"), well, now=clock)
        for _ in range(600):
            await heart.round()
            clock.turn(seconds=1)
        assert [(post.method, post.path) for post in box.posts] == [("GET", "/ping/canary-heartbeat")] * 2
        for wrong in ("postgres", "raise"):
            well.wrong = wrong
            clock.turn(minutes=5)
            assert await heart.round() == "withhold"
            assert "postgres" in str(heart.complaint)
        assert len(box.posts) == 2
        well.wrong = None
        clock.turn(seconds=30)
        assert await heart.round() == "send" and heart.complaint is None
        box.always = http_answer(500, b"canary-heartbeat is unknown")
        clock.turn(minutes=5)
        await heart.round()
        assert str(heart.complaint).startswith("answered 500") and "canary" not in str(heart.complaint)
        box.always = None
        clock.turn(seconds=30)
        assert await heart.round() == "send" and heart.complaint is None
        assert value("tidemill_heartbeats_total", service="heart", outcome="withheld") == 2
        assert value("tidemill_heartbeats_total", service="heart", outcome="failed") == 1
        assert value("tidemill_heartbeats_total", service="heart", outcome="sent") == 4
        await heart.close()


async def test_the_task_sends_a_sign_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTBEAT_ID", "1")
    async with open_postbox() as box:
        heart = Heartbeat(settings(box), Metrics("heart"), Wellness())
        task = asyncio.create_task(heart.run())
        while not box.posts:
            await asyncio.sleep(0.01)
        task.cancel()
        await heart.close()


async def test_what_hangs_when_asked_whether_all_is_well_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> str | None:
        await asyncio.sleep(60)
        return None

    monkeypatch.setattr("tidemill.common.channels.heartbeat.CHECK_SECONDS", 0.05)
    monkeypatch.delenv("HEARTBEAT_ID", raising=False)
    async with open_postbox() as box:
        heart = Heartbeat(settings(box), Metrics("heart"), hang)
        assert await heart.round() == "withhold" and "is not known" in str(heart.complaint)
        unnamed = Heartbeat(settings(box), Metrics("heart"), Wellness())
        await unnamed.round()
        assert "HEARTBEAT_ID" in str(unnamed.complaint) and not box.posts
        await heart.close()
        await unnamed.close()


async def test_without_an_address_nothing_is_asked_for() -> None:
    heart = Heartbeat(HeartbeatSettings(), Metrics("heart"), Wellness())
    assert await heart.round() == "not_due"
    await heart.close()


async def test_a_private_address_is_refused_and_a_post_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTBEAT_ID", "1")
    async with open_postbox() as box:
        heart = Heartbeat(settings(box, allow_private=[]), Metrics("heart"), Wellness())
        await heart.round()
        assert "set allow_private of the heartbeat" in str(heart.complaint) and not box.posts
        posting = Heartbeat(settings(box, method="POST"), Metrics("heart"), Wellness())
        await posting.round()
        assert box.posts[0].method == "POST"
        await heart.close()
        await posting.close()


async def test_a_test_message_tells_what_each_recipient_s_provider_said() -> None:
    async with open_mailbox() as box:
        server = {"host": "localhost", "port": box.port, "security": "none", "from": "tidemill@example.org"}
        named = channels(operators={"mail": {**server, "to": ["anna@example.org", "bela@example.org"]}})
        box.answers = ["550 no such user"]
        async with Senders(named) as senders:
            tried = await send_test(senders, "operators", START)
            again = await send_test(senders, "operators", START)
            with pytest.raises(KeyError):
                await send_test(senders, "nobody", START)
    assert [(each.recipient, each.reply.verdict) for each in tried] == [
        ("anna@example.org", "never"),
        ("bela@example.org", "taken"),
    ]
    assert [each.reply.verdict for each in again] == ["taken", "taken"] and len(set(box.ids)) == 3
    assert box.mails[0]["Subject"] == "Tidemill: a test of the channel operators"
