"""Messages on their way: stated in a transaction, retried, given up to another channel, never in each other's way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, inspect, text
from structlog.testing import capture_logs

from tidemill.common.bus.step import Tx
from tidemill.common.bus.supervise import cancel
from tidemill.common.channels import Deliveries, Outcome, To, Unsendable, deliveries_layer
from tidemill.common.channels.migration import create_delivery_tables, drop_delivery_tables
from tidemill.common.config.references import resolved
from tidemill.common.config.secrets import MASK
from tidemill.common.database import open_engine
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.common.testing.receivers import Mailbox, Postbox, http_answer, open_mailbox, open_postbox
from tidemill.common.testing.telling import METADATA, START, TABLES, Clock, channels, message, open_telling


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "canary-0123456789-0123456789")


def hook(box: Postbox, **others: Any) -> dict[str, Any]:
    webhook = {"url": box.url(), "secret": "${env:HOOK_SECRET}", "allow_private": [box.host]}
    return {"webhook": webhook, "time_limit": "2s", **others}


def mail(box: Mailbox, *to: str, **others: Any) -> dict[str, Any]:
    server = {"host": "localhost", "port": box.port, "security": "none", "from": "tidemill@example.org"}
    return {"mail": {**server, "to": list(to)}, "time_limit": "2s", **others}


async def test_what_a_transaction_states_is_sent_once_when_it_is_committed(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        with suppress(RuntimeError):
            async with telling.engine.begin() as tx:
                await telling.deliveries.enqueue(tx, message("rolled-back"), [To("chat")])
                raise RuntimeError
        async with telling.engine.begin() as tx:
            assert await telling.deliveries.enqueue(tx, message(), [To("chat")]) == 1
            assert await telling.deliveries.enqueue(tx, message(), [To("chat")]) == 0
        assert await telling.deliveries.round() == 1
        assert await telling.deliveries.round() == 0
        assert [json.loads(post.body)["data"]["id"] for post in box.posts] == ["alert-1"]
        assert await telling.rows("state", "reason", "attempts", "reply", "ended_at") == [
            ("delivered", "delivered", 1, "ok", START)
        ]
        assert await telling.log("attempt", "verdict", "status", "reply") == [(1, "taken", 200, "ok")]
        (outcome,) = telling.outcomes
        assert (outcome.message, outcome.channel, outcome.state) == ("alert-1", "chat", "delivered")


async def test_a_mail_to_several_is_a_delivery_for_each(database_url: str) -> None:
    async with open_mailbox() as box:
        named = channels(operators=mail(box, "anna@example.org", "bela@example.org"))
        async with open_telling(database_url, named) as telling:
            box.answers = ["550 5.1.1 no such user"]
            await telling.state("one", to="operators")
            async with telling.engine.begin() as tx:
                await telling.deliveries.enqueue(tx, message("two"), [To("operators", "cili@example.org")])
            assert await telling.deliveries.round() == 3
            states = dict(await telling.rows("recipient", "state"))
    assert states.keys() == {"anna@example.org", "bela@example.org", "cili@example.org"}
    assert sorted(states.values()) == ["delivered", "delivered", "given_up"]  # Who was first to be refused.
    assert len(set(box.ids)) == 2


async def test_what_cannot_be_sent_is_told_to_who_states_it(database_url: str) -> None:
    async with open_postbox() as box, open_mailbox() as mails:
        named = channels(chat=hook(box), operators=mail(mails))
        async with open_telling(database_url, named) as telling, telling.engine.begin() as tx:
            for to, why in (
                (To("nobody"), "there is no channel nobody; known: chat, operators"),
                (To("operators"), "names nobody; set channels.operators.mail.to"),
                (To("chat", "anna@example.org"), "it is webhook, not mail"),
            ):
                with pytest.raises(Unsendable, match=why):
                    await telling.deliveries.enqueue(tx, message(), [to])


async def test_a_channel_that_is_down_for_ten_minutes_falls_back_and_says_so(database_url: str) -> None:
    async with open_postbox() as chat, open_mailbox() as mails:
        chat.always = http_answer(503, b"down")
        named = channels(
            chat=hook(chat, fallback="operators"), operators=mail(mails, "anna@example.org", "bela@example.org")
        )
        async with open_telling(database_url, named) as telling:
            await telling.state("alert-1")
            while telling.clock.now < START + timedelta(minutes=9, seconds=59):
                await telling.deliveries.round()
                assert not mails.mails
                telling.clock.turn(seconds=1)
            attempts = len(chat.posts)
            assert 6 <= attempts <= 9
            telling.clock.turn(seconds=1)
            await telling.deliveries.round()
            assert len(chat.posts) == attempts + 1 and len(set(chat.keys)) == 1
            await telling.deliveries.round()
            assert sorted(mails.recipients) == ["anna@example.org", "bela@example.org"]
            given_up, *delivered = telling.outcomes
            assert (given_up.state, given_up.reason, given_up.fallback) == ("given_up", "exhausted", "operators")
            assert (given_up.attempts, given_up.text) == (attempts + 1, "down")
            assert [each.state for each in delivered] == ["delivered", "delivered"]
            chat.always = None
            telling.clock.turn(hours=1)
            assert await telling.deliveries.round() == 0
            assert await telling.rows("channel", "fallback_of") == [
                ("chat", None),
                ("operators", "chat"),
                ("operators", "chat"),
            ]


async def test_what_is_refused_for_good_falls_back_at_once(database_url: str) -> None:
    async with open_postbox() as first, open_postbox() as second:
        first.always = http_answer(410, b"gone")
        named = channels(chat=hook(first, fallback="other"), other=hook(second))
        async with open_telling(database_url, named) as telling:
            await telling.state("alert-1")
            await telling.deliveries.round()
            await telling.deliveries.round()
            assert (len(first.posts), len(second.posts)) == (1, 1)
            assert telling.outcomes[0].reason == "refused"


async def test_a_channel_that_wants_to_be_left_alone_is(database_url: str) -> None:
    async with open_postbox() as first, open_postbox() as second:
        first.answers = [http_answer(429, b"slow down", Retry_After="90")]
        named = channels(chat=hook(first, fallback="other", give_up_after="10m"), other=hook(second))
        async with open_telling(database_url, named) as telling:
            await telling.state("alert-1")
            await telling.deliveries.round()
            await telling.state("alert-2")
            for _ in range(89):
                telling.clock.turn(seconds=1)
                await telling.deliveries.round()
            assert len(first.posts) == 1
            telling.clock.turn(seconds=2)
            await telling.deliveries.round()
            assert len(first.posts) == 3 and not second.posts
            first.answers = [http_answer(429, b"slow down", Retry_After="3600")]
            await telling.state("alert-3", "alert-4")
            await telling.deliveries.round()
            await telling.deliveries.round()
            await telling.deliveries.round()
            reasons = [(each.message, each.reason) for each in telling.outcomes if each.channel == "chat"]
            assert ("alert-3", "held") in reasons or ("alert-4", "held") in reasons
            assert {json.loads(post.body)["data"]["id"] for post in [*first.posts, *second.posts]} == {
                "alert-1",
                "alert-2",
                "alert-3",
                "alert-4",
            }
            await telling.state("alert-5")
            await telling.deliveries.round()
            await telling.deliveries.round()
            assert telling.outcomes[-1].channel == "other" and telling.outcomes[-1].message == "alert-5"


async def test_a_channel_that_hangs_is_in_nobodys_way(database_url: str) -> None:
    async with open_postbox() as hanging, open_postbox() as quick:
        hanging.always = b"hang"
        named = channels(slow={**hook(hanging), "time_limit": "60s"}, chat=hook(quick))
        async with open_telling(database_url, named) as telling:
            await telling.state(*(f"slow-{number}" for number in range(20)), to="slow")
            await telling.state(*(f"quick-{number}" for number in range(20)))
            loop = asyncio.create_task(telling.deliveries.run())
            began = time.monotonic()
            while len(quick.posts) < 20:
                await asyncio.sleep(0.02)
                assert time.monotonic() - began < 10
            assert len(hanging.posts) <= 4
            hanging.always = None
            for task in list(telling.deliveries._under_way):
                task.cancel()
            await cancel([loop])


async def test_a_word_after_the_commit_has_it_sent_at_once(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        deliveries = Deliveries(telling.engine, TABLES, telling.senders, Metrics("telling"))
        loop = asyncio.create_task(deliveries.run())
        await asyncio.sleep(0.3)
        async with telling.engine.begin() as tx:
            await deliveries.enqueue(tx, message(), [To("chat")])
        deliveries.wake()
        began = time.monotonic()
        while not box.posts:
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 5
        await cancel([loop])
        assert await telling.rows("state") == [("delivered",)]


async def test_attempts_keep_to_the_rate_of_all_replicas(database_url: str) -> None:
    async with open_postbox() as box:
        named = channels(chat=hook(box, rate="3/m"))
        clock = Clock()
        async with open_telling(database_url, named, clock) as one, open_telling(database_url, named, clock) as two:
            await one.state(*(f"alert-{number}" for number in range(8)))
            for minute in range(1, 4):
                for _ in range(6):
                    await asyncio.gather(one.deliveries.round(), two.deliveries.round())
                    clock.turn(seconds=9.9)
                assert len(box.posts) <= 3 * minute + 1
                clock.turn(seconds=2)
            assert len(set(box.keys)) == len(box.keys) == 8


async def test_of_a_thread_the_later_waits_for_the_earlier(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        box.answers = [http_answer(500)]
        await telling.state("firing", thread="disk")
        await telling.deliveries.round()
        await telling.state("resolved", thread="disk")
        await telling.state("other", thread="memory")
        await telling.deliveries.round()
        assert [json.loads(post.body)["data"]["id"] for post in box.posts] == ["firing", "other"]
        telling.clock.turn(seconds=10)
        await telling.deliveries.round()
        await telling.deliveries.round()
        assert [json.loads(post.body)["data"]["id"] for post in box.posts][2:] == ["firing", "resolved"]


async def test_a_lease_that_ran_out_is_taken_over_and_the_log_says_so(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        await telling.state("alert-1")
        box.always = b"hang"
        loop = asyncio.create_task(telling.deliveries.round())
        while not box.posts:
            await asyncio.sleep(0.01)
        loop.cancel()  # As a kill would leave it: sent, and not recorded.
        for task in list(telling.deliveries._under_way):
            task.cancel()
        box.always = None
        async with open_telling(database_url, telling.senders.channels, telling.clock) as other:
            assert await other.deliveries.round() == 0
            telling.clock.turn(seconds=63)
            assert await other.deliveries.round() == 1
            assert await other.log("attempt", "verdict") == [(1, "cut_off"), (2, "taken")]
        assert len(box.keys) == 2 and len(set(box.keys)) == 1


async def test_what_was_taken_has_ended_though_another_holds_the_lease_by_now(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        await telling.state("alert-1")
        box.always = b"hang"
        first = asyncio.create_task(telling.deliveries.round())
        while not box.posts:
            await asyncio.sleep(0.01)
        telling.clock.turn(seconds=63)
        box.always = None
        await telling.deliveries.round()
        await first
        assert [each.state for each in telling.outcomes] == ["delivered"]
        assert await telling.rows("state", "attempts") == [("delivered", 2)]


async def test_what_waits_for_a_channel_that_is_gone_is_given_up(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        await telling.state("alert-1")
        async with open_telling(database_url, {}, telling.clock) as other:
            assert await other.deliveries.round() == 0 and not other.outcomes
            telling.clock.turn(minutes=11)
            await other.deliveries.round()
            assert [(each.state, each.reason) for each in other.outcomes] == [("given_up", "unknown_channel")]


async def test_a_database_that_goes_away_while_it_is_sent_brings_no_repeat(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        lost = 0

        @asynccontextmanager
        async def transaction() -> AsyncIterator[Tx]:
            nonlocal lost
            async with telling.engine.begin() as tx:
                if box.posts and lost < 2:
                    lost += 1
                    await tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
                yield tx

        deliveries = Deliveries(
            telling.engine, TABLES, telling.senders, Metrics("telling"), transaction=transaction, now=telling.clock
        )
        await telling.state("alert-1")
        await deliveries.round()
        assert lost == 2 and len(box.posts) == 1
        assert await telling.rows("state", "attempts") == [("delivered", 1)]


async def test_what_this_version_cannot_read_is_given_up_and_stops_nothing(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        await telling.state("alert-1", "alert-2")
        async with telling.engine.begin() as tx:
            await tx.execute(text("UPDATE telling.deliveries SET content = '{}' WHERE message = 'alert-1'"))
        assert await telling.deliveries.round() == 1
        assert await telling.rows("state", "reason") == [("given_up", "unreadable"), ("delivered", "delivered")]


async def test_a_mistake_of_who_is_told_sends_nothing_again(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:

        async def told(tx: Tx, outcome: Outcome) -> None:
            await tx.execute(text("SELECT 1 / 0"))

        deliveries = Deliveries(
            telling.engine, TABLES, telling.senders, Metrics("telling"), told=told, now=telling.clock
        )
        await telling.state("alert-1")
        await deliveries.round()
        telling.clock.turn(hours=1)
        assert await deliveries.round() == 0 and len(box.posts) == 1
        assert await telling.rows("state") == [("delivered",)]


async def test_whatever_a_message_holds_is_kept_and_sent(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        strange = {"ratio": float("nan"), "name": "half \ud800 nul \x00", "at": START, "list": [float("inf")]}
        await telling.state("alert-1", text="\udcff\x00", data=strange)
        await telling.deliveries.round()
        assert await telling.rows("state") == [("delivered",)]
        facts = json.loads(box.posts[0].body)["data"]["facts"]
        assert facts["ratio"] == "nan" and facts["list"] == ["inf"] and facts["name"] == "half ? nul "


async def test_what_ended_long_ago_goes_with_its_log(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        await telling.state("alert-1")
        await telling.deliveries.round()
        await telling.state("alert-2")
        layer = deliveries_layer("telling")
        async with telling.engine.begin() as tx:
            going = await layer.find(tx, START + timedelta(days=1))
            assert (going.items, list(going.examples)) == (1, ["chat alert-1"])
            assert await layer.remove(tx, START + timedelta(days=1), 100) == 1
        assert await telling.rows("message") == [("alert-2",)] and await telling.log("attempt") == []


async def test_secrets_are_in_no_table_metric_or_log(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_TOKEN", "canary-chat-token")
    async with open_postbox() as box:
        box.always = http_answer(400, b"no: canary-chat-token, canary-0123456789-0123456789")
        chat = {"slack": {"url": box.url("/${env:CHAT_TOKEN}"), "allow_private": [box.host]}}
        named = channels(chat=chat, other=hook(box))
        async with open_telling(database_url, named) as telling:
            assert resolved("${env:CHAT_TOKEN}")
            await telling.state(
                "alert-1", text="cannot post to canary-chat-token\x00", data={"url": "http://a:canary-pw@b/"}
            )
            await telling.state("alert-2", to="other")
            with capture_logs() as logged:
                await telling.deliveries.round()
            kept = json.dumps([*await telling.rows("content", "reply"), *await telling.log("reply")], default=str)
    assert "canary" not in kept and MASK in kept
    assert all("canary" not in (each.text + repr(each)) for each in telling.outcomes)
    assert logged and "canary" not in str(logged)
    assert "canary" not in repr(named)


async def test_metrics_tell_what_waits_and_what_became_of_it(database_url: str) -> None:
    async with open_postbox() as box:
        box.answers = [http_answer(500)]
        async with open_telling(database_url, channels(chat=hook(box)), service="metrics-of-channels") as telling:
            labels = {"service": "metrics-of-channels", "channel": "chat"}
            await telling.state("alert-1")
            telling.clock.turn(seconds=7)
            await telling.deliveries.round()
            assert value("tidemill_deliveries_waiting", **labels) == 1
            assert value("tidemill_deliveries_oldest_seconds", **labels) == 7
            assert value("tidemill_delivery_attempts_total", **labels, verdict="later") == 1
            telling.clock.turn(seconds=10)
            await telling.deliveries.round()
            await telling.deliveries.round()
            assert value("tidemill_deliveries_waiting", **labels) == 0
            assert value("tidemill_deliveries_total", **labels, outcome="delivered") == 1


async def test_a_stop_lets_what_is_sent_end(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        await telling.state("alert-1")
        box.always = b"hang"
        loop = asyncio.create_task(telling.deliveries.run())
        while not box.posts:
            await asyncio.sleep(0.01)
        await cancel([loop])
        assert not telling.deliveries._under_way
        assert await telling.log("verdict") == [("later",)]


async def test_the_migration_makes_the_tables_that_are_declared(database_url: str) -> None:
    engine = open_engine(database_url)

    def made(connection: Connection) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            name: (
                [
                    (c["name"], str(c["type"]), c["nullable"], c["default"], c["comment"])
                    for c in inspector.get_columns(name, "telling")
                ],
                sorted(inspector.get_indexes(name, "telling"), key=lambda index: str(index["name"])),
                inspector.get_pk_constraint(name, "telling"),
                inspector.get_foreign_keys(name, "telling"),
                inspector.get_unique_constraints(name, "telling"),
                inspector.get_table_comment(name, "telling"),
            )
            for name in ("deliveries", "delivery_attempts")
        }

    async with engine.begin() as tx:
        await tx.execute(text("CREATE SCHEMA telling"))
        await tx.run_sync(lambda c: create_delivery_tables(Operations(MigrationContext.configure(c)), "telling"))
        by_migration = await tx.run_sync(made)
        await tx.run_sync(lambda c: drop_delivery_tables(Operations(MigrationContext.configure(c)), "telling"))
        await tx.run_sync(METADATA.create_all)
        assert await tx.run_sync(made) == by_migration
    await engine.dispose()


async def test_what_was_given_up_is_tried_again_under_the_same_key_when_somebody_wants_it(database_url: str) -> None:
    async with open_postbox() as box, open_telling(database_url, channels(chat=hook(box))) as telling:
        box.answers = [http_answer(410)]
        await telling.state("alert-1")
        await telling.deliveries.round()
        telling.clock.turn(days=3)
        async with telling.engine.begin() as tx:
            assert await telling.deliveries.again(tx, "alert-1", "chat", "")
            assert not await telling.deliveries.again(tx, "alert-1", "chat", "")
        await telling.deliveries.round()
        assert await telling.rows("state", "reason", "attempts") == [("delivered", "delivered", 2)]
        assert len(box.keys) == 2 and len(set(box.keys)) == 1
        assert [outcome.state for outcome in telling.outcomes] == ["given_up", "delivered"]
