"""A process that sends is killed at random: every message arrives, and only what was being sent then arrives again."""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.channels import To
from tidemill.common.testing.receivers import open_mailbox, open_postbox
from tidemill.common.testing.telling import channels, message, open_telling

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.unmeasured]

WORKER = Path(__file__).with_name("channels_worker.py")
MESSAGES, KILLS, SPEED = 40, 4, 30.0
"""At that speed a lease lasts three seconds: longer than a busy machine keeps a process waiting that lives."""
LONGEST_SECONDS = 90.0


async def start_worker(url: str, named: dict[str, Any], began: float) -> asyncio.subprocess.Process:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKER), url, json.dumps(named), str(SPEED), str(began)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "HOOK_SECRET": "canary-0123456789-0123456789"},
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"ready\n"
    return worker


async def test_each_message_arrives_once_for_who_knows_repeats_by_their_key(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    luck, began = random.Random(20260304), time.time()
    async with open_mailbox() as mails, open_postbox() as hook, open_postbox() as chat:
        mails.slow = hook.slow = chat.slow = 0.15
        monkeypatch.setenv("HOOK_SECRET", "canary-0123456789-0123456789")
        server = {"host": "localhost", "port": mails.port, "security": "none", "from": "tidemill@example.org"}
        private = {"allow_private": [hook.host, chat.host]}
        usual = {"rate": "1000/m", "time_limit": "30s", "give_up_after": "30d"}
        named: dict[str, Any] = {
            "mail": {"mail": {**server, "to": ["anna@example.org"]}, **usual},
            "hook": {"webhook": {"url": hook.url(), "secret": "${env:HOOK_SECRET}", **private}, **usual},
            "chat": {"slack": {"url": "${env:CHAT_URL}", **private}, **usual},
        }
        monkeypatch.setenv("CHAT_URL", chat.url())
        async with open_telling(database_url, channels(**named)) as telling:
            async with telling.engine.begin() as tx:
                for number in range(MESSAGES):
                    told = message(f"alert-{number}", thread=f"thread-{number % 25}")
                    await telling.deliveries.enqueue(tx, told, [To("mail"), To("hook"), To("chat")])
            for _ in range(KILLS):
                worker = await start_worker(database_url, named, began)
                await asyncio.sleep(luck.uniform(0.15, 0.9))
                worker.kill()
                await worker.wait()
            worker = await start_worker(database_url, named, began)
            deadline = time.monotonic() + LONGEST_SECONDS
            while {state for (state,) in await telling.rows("state")} != {"delivered"}:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
            worker.kill()
            await worker.wait()
            keys = dict(await telling.rows("id", "key"))
            cut_off = {keys[id] for id, verdict in await telling.log("delivery", "verdict") if verdict == "cut_off"}
        arrived = Counter([*(id[1:].partition("@")[0] for id in mails.ids), *hook.keys, *chat.keys])
        assert arrived.keys() == set(keys.values())
        repeated = {key for key, times in arrived.items() if times > 1}
        assert repeated <= cut_off
        assert cut_off, "no kill met a send: it proves nothing"
        assert len(cut_off) <= KILLS * 3 * 4
