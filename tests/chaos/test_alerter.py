"""The alerter is killed at random while alerts fire and end: who knows a repeat by its key hears each state once."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.alerter.shipped import shipped_rules
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing
from tidemill.common.database import open_engine
from tidemill.common.events import RunFinished
from tidemill.common.service import find_services
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.common.testing.receivers import Mailbox, Postbox, Posted, open_mailbox, open_postbox
from tidemill.scheduler.main import SPEC as SCHEDULER

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(1200)]

SOURCES = ("paper", "prices", "homes")
SECRET = "canary-0123456789-0123456789"
SLOW_SECONDS = 0.4
"""Up to so long lies between what a receiver takes and its saying so: kills meet sends."""
CONFIG = """
channels:
  mail:
    mail: {{host: localhost, port: {mail}, security: none, from: tidemill@example.org, to: [anna@example.org]}}
    time_limit: 5s
    give_up_after: 1h
    rate: 1000/m
  hook:
    webhook: {{url: "{hook}", secret: "${{env:HOOK_SECRET}}", allow_private: ["{hook_host}"]}}
    time_limit: 5s
    give_up_after: 1h
    rate: 1000/m
  chat:
    slack: {{url: "${{env:CHAT_URL}}", allow_private: ["{chat_host}"]}}
    time_limit: 5s
    give_up_after: 1h
    rate: 1000/m
alerter:
  look_every: 300ms
  flapping: {{times: 10000}}
  rules: {{{others}}}
  routes: [{{match: [rule=run_failed], to: [mail, hook, chat], group_wait: 0s, group_interval: 0s}}]
"""
OTHERS = ", ".join(f"{name}: {{enabled: false}}" for name in shipped_rules() if name != "run_failed")
"""What they are about takes its time to be measured."""
UNDER_WAY = """
SELECT d.key, a.delivery, a.attempt FROM alerter.delivery_attempts a JOIN alerter.deliveries d ON d.id = a.delivery
WHERE a.verdict IS NULL
"""
ALERTS = "SELECT labels ->> 'source' AS source, state, run FROM alerter.alerts WHERE rule = 'run_failed'"
OUT_OF_DEAD_HANDS = "UPDATE alerter.deliveries SET due_at = now() WHERE state = 'waiting' AND lease IS NOT NULL"
State = tuple[str, str]
"""Of an alert: the run that made it fire, and FIRING or RESOLVED."""


@dataclass
class Outside:
    """Those who are told, and what each of them heard: (key of the message, state), in the order of arrival."""

    mails: Mailbox
    hook: Postbox
    chat: Postbox

    def heard(self) -> dict[str, list[tuple[str, State]]]:
        mails = [
            (str(mail["Message-ID"])[1:].partition("@")[0], state_in(mail.get_body(("plain",)).get_content()))  # type: ignore[union-attr]
            for mail in self.mails.mails
        ]
        hook = [
            (post.headers["webhook-id"], state_in(json.loads(post.body)["data"]["text"])) for post in self.hook.posts
        ]
        chat = [
            (post.headers["idempotency-key"], state_in(json.loads(post.body)["attachments"][0]["text"]))
            for post in self.chat.posts
        ]
        return {"mail": mails, "hook": hook, "chat": chat}


def state_in(told: str) -> State:
    ((state, run),) = re.findall(r"^(FIRING|RESOLVED)\b.*\brun (\S+) is failed", told, re.MULTILINE)
    return run, state


def is_signed(post: Posted) -> bool:
    """As a receiver would check it, by the text of Standard Webhooks."""
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    wanted = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(post.headers["webhook-timestamp"])) < 600
    return fresh and post.headers["webhook-signature"] == f"v1,{wanted}"


@dataclass
class Alerter:
    """The service in a process of its own, and what it was in the middle of when it was killed."""

    folder: Path
    engine: AsyncEngine
    cut_off: dict[tuple[int, int], str] = field(default_factory=dict)
    """By delivery and attempt: the key of the message."""
    kills: int = 0

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = (sys.executable, "-m", "tidemill.alerter")
            self.process = await asyncio.create_subprocess_exec(*command, cwd=self.folder, stdout=log, stderr=log)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()
        self.kills += 1
        self.cut_off |= {(delivery, attempt): key for key, delivery, attempt in await self.rows(UNDER_WAY)}

    async def rows(self, statement: str) -> list[Any]:
        async with self.engine.begin() as tx:
            found = await tx.execute(text(statement))
            return list(found.all()) if found.returns_rows else []

    async def until(self, true: Callable[[], Awaitable[Any]], within: float = 120.0) -> None:
        deadline = time.monotonic() + within
        while not await true():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-3000:]
            await asyncio.sleep(0.05)


@asynccontextmanager
async def open_alerter(folder: Path, url: str) -> AsyncIterator[Alerter]:
    alerter = Alerter(folder, open_engine(url))
    await alerter.start()
    try:
        yield alerter
    finally:
        if alerter.process.returncode is None:
            await alerter.kill()
        await alerter.engine.dispose()


@dataclass
class Runs:
    """A stand-in of the scheduler, on its bus and by its outbox: runs of a source fail and succeed in turns."""

    bus: Bus
    alerter: Alerter
    over: bool = False
    states: dict[str, list[State]] = field(default_factory=lambda: {source: [] for source in SOURCES})
    """That the alert of each source went through."""

    async def take_turns(self, source: str) -> None:
        number = 0
        while not self.over:
            number += 1
            run = f"{source}-{number}"
            await self._end(source, run, "failed")
            await self._until_alert_is(source, run, "firing")
            self.states[source].append((run, "FIRING"))
            await self._end(source, f"{run}-again", "complete")
            await self._until_alert_is(source, run, "resolved")
            self.states[source].append((run, "RESOLVED"))

    async def _end(self, source: str, run: str, state: str) -> None:
        now = datetime.now(UTC)
        told = RunFinished(
            source=source, run=run, state=state, trigger="schedule", requested_at=now, finished_at=now, items=1, new=1
        )
        async with self.bus.transaction() as tx:
            await self.bus.emit(tx, [Outgoing(run, told)])

    async def _until_alert_is(self, source: str, run: str, state: str) -> None:
        async def it_is() -> bool:
            return (source, state, run) in [tuple(row) for row in await self.alerter.rows(ALERTS)]

        await self.alerter.until(it_is)


@asynccontextmanager
async def open_outside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outside]:
    async with open_mailbox() as mails, open_postbox() as hook, open_postbox() as chat:
        mails.slow = hook.slow = chat.slow = SLOW_SECONDS
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        monkeypatch.setenv("CHAT_URL", chat.url())
        (folder / "tidemill.yaml").write_text(
            CONFIG.format(mail=mails.port, hook=hook.url(), hook_host=hook.host, chat_host=chat.host, others=OTHERS)
        )
        yield Outside(mails, hook, chat)


@asynccontextmanager
async def open_runs(nats_url: str, alerter: Alerter) -> AsyncIterator[Runs]:
    telemetry = Telemetry.open("scheduler", "0.1.0")
    told = {"service": "scheduler", "version": "0.1.0", "tables": SCHEDULER.tables, "telemetry": telemetry}
    async with Bus.open(nats_url, engine=alerter.engine, **told) as bus:
        publishing = asyncio.create_task(bus.run())
        yield Runs(bus, alerter)
        await bus.stop(timedelta(seconds=5))
        await publishing
    await telemetry.close()


async def test_who_knows_repeats_hears_each_state_once_though_the_alerter_is_killed(
    new_database: NewDatabase,
    nats_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    long_form: bool,
) -> None:
    seed = request.config.getoption("--seed") or random.randrange(1_000_000)
    chance, kills = random.Random(seed), 25 if long_form else 3
    print(f"--seed {seed}")
    monkeypatch.setenv("NATS_URL", nats_url)
    monkeypatch.setenv("DATABASE_URL", url := new_database(*find_services()))
    (tmp_path / "sources").mkdir()
    async with (
        open_outside(tmp_path, monkeypatch) as outside,
        open_alerter(tmp_path, url) as alerter,
        open_runs(nats_url, alerter) as runs,
    ):
        turns = asyncio.gather(*map(runs.take_turns, SOURCES))
        await alerter.until(lambda: sent(alerter))
        while alerter.kills < kills or not alerter.cut_off:
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            await alerter.kill()
            await alerter.rows(OUT_OF_DEAD_HANDS)  # A minute later, that is what they are.
            already = await sent(alerter)
            await alerter.start()
            await alerter.until(lambda already=already: sent(alerter, already))  # type: ignore[misc]
        runs.over = True
        await turns
        await alerter.until(lambda: all_are_delivered(alerter), within=240)
        alerter.process.terminate()
        assert await alerter.process.wait() == 0
    assert_each_state_was_heard_once(outside, runs)
    assert_only_what_was_cut_off_came_again(outside, alerter)
    assert all(map(is_signed, outside.hook.posts))
    told = sum(map(len, runs.states.values()))
    again = sum(len(heard) for heard in outside.heard().values()) - 3 * told
    print(f"{alerter.kills} kills, {len(alerter.cut_off)} sends cut off, {told} states, {again} repeats")


async def sent(alerter: Alerter, beyond: int = 0) -> int:
    """Attempts so far, if there are more than those: it is at work."""
    ((count,),) = await alerter.rows("SELECT count(*) FROM alerter.delivery_attempts")
    return int(count) if count > beyond or not beyond else 0


async def all_are_delivered(alerter: Alerter) -> bool:
    return {state for (state,) in await alerter.rows("SELECT DISTINCT state FROM alerter.deliveries")} == {"delivered"}


def assert_each_state_was_heard_once(outside: Outside, runs: Runs) -> None:
    """And in its order, in which the states of a source were gone through."""
    for receiver, heard in outside.heard().items():
        states = [state for _, state in without_repeats(heard)]
        for source, gone_through in runs.states.items():
            assert [each for each in states if each[0].startswith(f"{source}-")] == gone_through, receiver


def without_repeats(heard: list[tuple[str, State]]) -> Iterator[tuple[str, State]]:
    known: dict[str, State] = {}
    for key, state in heard:
        assert known.setdefault(key, state) == state, "one key, and two messages"
    yield from known.items()


def assert_only_what_was_cut_off_came_again(outside: Outside, alerter: Alerter) -> None:
    """A message arrives as often as it was being sent at a kill, and once; or less."""
    cut_off = Counter(alerter.cut_off.values())
    for heard in outside.heard().values():
        for key, times in Counter(key for key, _ in heard).items():
            assert times <= 1 + cut_off[key]
