"""Telling that the database is down, without one: once, whatever is restarted, with retries and fallbacks."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.channels import Emergency, To
from tidemill.common.channels.cached import CachedChannels
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.receivers import Postbox, http_answer, open_postbox
from tidemill.common.testing.telling import Clock, channels, message

SECRET = "canary-0123456789-0123456789"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HOOK_TOKEN", "canary-token")


def hook(box: Postbox, **others: Any) -> dict[str, Any]:
    url = {"url": box.url("/${env:HOOK_TOKEN}"), "secret": "${env:HOOK_SECRET}", "allow_private": [box.host]}
    return {"webhook": url, "time_limit": "2s", **others}


def emergency(folder: Path, clock: Clock) -> Emergency:
    return Emergency(folder, Metrics("emergency"), now=clock)


async def test_channels_are_kept_as_they_are_written_without_secrets(tmp_path: Path) -> None:
    async with open_postbox() as box:
        named = channels(
            chat={"slack": {"url": "https://hooks.example/${env:HOOK_TOKEN}"}},
            hook=hook(box, fallback="chat", give_up_after="90s", wording={"subject": "{{ message.subject }}"}),
            mail={
                "mail": {
                    "host": "mail",
                    "from": "a@b.org",
                    "user": "u",
                    "password": "${file:/run/pw}",
                    "ca_file": "/ca",
                }
            },
        )
        cached = CachedChannels(tmp_path / "alerter")
        assert cached.read() == {}
        named["hook"].webhook and named["hook"].webhook.secret.fetch()
        cached.keep(named)
        assert cached.read() == named
    content = (tmp_path / "alerter" / "channels.json").read_text()
    assert "canary" not in content and "${env:HOOK_SECRET}" in content and "${file:/run/pw}" in content
    assert (tmp_path / "alerter" / "channels.json").stat().st_mode & 0o077 == 0
    (tmp_path / "alerter" / "channels.json").write_text('{"chat": {"slack": {}}}')
    assert cached.read() == {}


async def test_it_is_told_once_over_restarts(tmp_path: Path) -> None:
    clock = Clock()
    async with open_postbox() as box:
        first = emergency(tmp_path, clock)
        first.keep(channels(chat=hook(box)))
        assert await first.round() == 0
        assert first.tell(message("database-down-1"), [To("chat")]) == 1
        assert first.tell(message("database-down-1"), [To("chat"), To("unknown")]) == 0
        assert await first.round() == 1
        for _ in range(3):
            again = emergency(tmp_path, clock)
            assert again.tell(message("database-down-1"), [To("chat")]) == 0
            assert await again.round() == 0
            clock.turn(hours=5)
        assert first.tell(message("database-down-2"), [To("chat")]) == 1
        assert await first.round() == 1
        assert [post.path for post in box.posts] == ["/canary-token"] * 2 and len(set(box.keys)) == 2
    kept = (tmp_path / "emergency.json").read_text()
    assert "canary" not in kept
    clock.turn(days=31)
    first.tell(message("database-down-3"), [To("chat")])
    assert "database-down-1" not in (tmp_path / "emergency.json").read_text()


async def test_what_fails_is_tried_again_and_falls_back(tmp_path: Path) -> None:
    clock = Clock()
    async with open_postbox() as down, open_postbox() as up:
        down.always = http_answer(503)
        telling = emergency(tmp_path, clock)
        telling.keep(channels(chat=hook(down, fallback="other"), other=hook(up)))
        telling.tell(message("database-down"), [To("chat")])
        for _ in range(202):
            await telling.round()
            clock.turn(seconds=3)
        assert 7 <= len(down.posts) <= 10 and len(set(down.keys)) == 1
        assert len(up.posts) == 1


async def test_that_it_is_over_is_told_after_that_it_began(tmp_path: Path) -> None:
    clock = Clock()
    async with open_postbox() as box:
        box.answers = [http_answer(503)]
        telling = emergency(tmp_path, clock)
        telling.keep(channels(chat=hook(box)))
        telling.tell(message("down", thread="database"), [To("chat")])
        await telling.round()
        telling.tell(message("up", thread="database"), [To("chat")])
        assert await telling.round() == 0
        clock.turn(seconds=10)
        assert await telling.round() + await telling.round() == 2
        assert [json.loads(post.body)["data"]["id"] for post in box.posts] == ["down", "down", "up"]


async def test_two_processes_of_a_folder_send_one(tmp_path: Path) -> None:
    clock = Clock()
    async with open_postbox() as box:
        both = [emergency(tmp_path, clock) for _ in range(2)]
        both[0].keep(channels(chat=hook(box)))
        assert sum(each.tell(message("database-down"), [To("chat")]) for each in both) == 1
        assert sum(await asyncio.gather(*(each.round() for each in both))) == 1
        assert len(box.posts) == 1


async def test_a_disk_that_takes_nothing_keeps_nobody_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postbox() as box:
        telling = emergency(tmp_path, Clock())
        telling.keep(channels(chat=hook(box)))
        full = OSError(28, "No space left on device")

        def refuse(file: Path, content: bytes) -> None:
            raise full

        monkeypatch.setattr("tidemill.common.channels.slips.write_whole", refuse)
        assert telling.tell(message("disk-full"), [To("chat")]) == 1
        assert telling.tell(message("disk-full"), [To("chat")]) == 0
        assert await telling.round() == 1
        assert await telling.round() == 0
        monkeypatch.undo()
        telling.tell(message("another"), [To("chat")])
        assert emergency(tmp_path, Clock()).tell(message("disk-full"), [To("chat")]) == 0
        assert len(box.posts) == 1


async def test_what_is_told_is_sent_by_the_task_that_runs(tmp_path: Path) -> None:
    async with open_postbox() as box:
        telling = Emergency(tmp_path, Metrics("emergency"))
        telling.keep(channels(chat=hook(box)))
        telling.tell(message("database-down"), [To("chat"), To("chat", "")])
        task = asyncio.create_task(telling.run())
        while not box.posts:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        assert len(box.posts) == 1


async def test_a_file_that_is_no_more_whole_is_begun_anew(tmp_path: Path) -> None:
    async with open_postbox() as box:
        telling = emergency(tmp_path, Clock())
        telling.keep(channels(chat=hook(box)))
        (tmp_path / "emergency.json").write_text('{"half')
        assert telling.tell(message("database-down"), [To("chat")]) == 1
        assert await telling.round() == 1


async def test_a_channel_that_is_kept_no_more_is_waited_for_no_longer(tmp_path: Path) -> None:
    clock = Clock()
    async with open_postbox() as box:
        telling = emergency(tmp_path, clock)
        telling.keep(channels(chat=hook(box)))
        telling.tell(message("database-down"), [To("chat")])
        telling.keep({})
        assert await telling.round() == 0
        telling.keep(channels(chat=hook(box)))
        assert await telling.round() == 1
        telling.tell(message("bus-down"), [To("chat")])
        telling.keep({})
        clock.turn(hours=1)
        assert await telling.round() == 0
        telling.keep(channels(chat=hook(box)))
        assert await telling.round() == 0 and len(box.posts) == 1


async def test_a_process_that_was_stopped_holds_nobody_up(tmp_path: Path) -> None:
    async with open_postbox() as box:
        telling = emergency(tmp_path, Clock())
        telling.keep(channels(chat=hook(box)))
        lock = os.open(tmp_path / "emergency.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert telling.tell(message("database-down"), [To("chat")]) == 1
        os.close(lock)
        assert await telling.round() == 1


WORKER = """
import asyncio, sys
from pathlib import Path
from tidemill.common.channels import Emergency, To
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.telling import Clock, message

async def work():
    clock = Clock()
    clock.turn(hours=int(sys.argv[2]))
    telling = Emergency(Path(sys.argv[1]), Metrics("emergency"), now=clock)
    print("ready", flush=True)
    for number in range(5):
        telling.tell(message(f"down-{number}"), [To("chat")])
        await telling.round()
    print("done", flush=True)

asyncio.run(work())
"""


@pytest.mark.slow
@pytest.mark.long
async def test_a_kill_repeats_at_most_what_was_being_sent(tmp_path: Path) -> None:
    async with open_postbox() as box:
        emergency(tmp_path, Clock()).keep(channels(chat=hook(box, give_up_after="100d")))
        for kill_at in (1, 3, None):
            box.always = None
            hour = str({1: 0, 3: 1, None: 2}[kill_at])
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", WORKER, str(tmp_path), hour), stdout=subprocess.PIPE, env=dict(os.environ)
            )
            if kill_at is not None:
                box.slow = 2.0
                known = len(box.posts)
                while len(box.posts) < known + 1:
                    await asyncio.sleep(0.01)
                worker.send_signal(signal.SIGKILL)
            box.slow = 0.0
            await asyncio.wait_for(worker.wait(), 30)
        times = Counter(box.keys)
        assert len(times) == 5
        assert sum(times.values()) <= 5 + 2
