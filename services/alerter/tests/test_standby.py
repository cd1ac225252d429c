"""Postgres is away: told from files, once, and its end with the duration."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerter import standby
from tidemill.alerter.settings import AlerterSettings
from tidemill.alerter.standby import Standby, decide
from tidemill.common.channels import Emergency
from tidemill.common.config import load_config
from tidemill.common.servers import Addresses, PostgresServer
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.receivers import open_postbox

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(1, 120), st.booleans()), max_size=100))
def test_each_downtime_is_told_at_most_once_and_only_its_end_after_it(looks: list[tuple[int, bool]]) -> None:
    now, known, told, since = START, Standby(to=("chat",)), [], None
    for seconds, down in looks:
        now += timedelta(seconds=seconds)
        since = (since or now) if down else None
        step = decide(known, "gone" if down else None, now)
        known = step.standby
        if step.tell == "down":
            assert since is not None and now - since >= known.after
        told += [step.tell] if step.tell else []
    assert told[::2] == ["down"] * len(told[::2]) and told[1::2] == ["up"] * len(told[1::2])


@pytest.mark.servers
async def test_a_database_that_is_away_is_told_from_files_and_so_is_its_return(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_PATH", "hook")
    monkeypatch.setattr(standby, "LOOK_SECONDS", 0.1)
    async with open_postbox() as postbox:
        (tmp_path / "tidemill.yaml").write_text(
            f"""
channels: {{chat: {{slack: {{url: "http://{postbox.host}/${{env:CHAT_PATH}}", allow_private: ["{postbox.host}"]}}}}}}
alerter: {{routes: [{{to: [chat]}}], emergency: {{after: 1s}}}}
"""
        )
        config = load_config(tmp_path, services={"alerter": AlerterSettings}, environ={})
        standby.keep(config.common.data_dir, config.service("alerter"), config.common.channels)
        with PostgresServer(open_folder, tcp=True) as postgres:
            watching = asyncio.create_task(standby.watch(config, Addresses("nats://127.0.0.1:1", postgres.url)))
            await asyncio.sleep(0.5)
            assert not postbox.posts
            postgres.kill()
            await _until(lambda: len(postbox.posts) == 1)
            assert b"Postgres cannot be reached" in postbox.posts[0].body
            # A kill of the alerter does not make it forget, or say it again, once it knows that it was heard.
            slips = config.common.data_dir / "alerter" / "emergency.json"
            await _until(lambda: '"delivered"' in slips.read_text())
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            watching = asyncio.create_task(standby.watch(config, Addresses("nats://127.0.0.1:1", postgres.url)))
            await asyncio.sleep(2)
            assert len(postbox.posts) == 1
            postgres.start()
            await _until(lambda: len(postbox.posts) == 2)
            assert b"Postgres is there again" in postbox.posts[1].body
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _until(true: "object", within: float = 20.0) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while not true():  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


def test_whom_to_tell_is_kept_over_a_downtime(tmp_path: Path) -> None:
    emergency = Emergency(tmp_path / "alerter", Metrics("alerter"))
    standby.keep(tmp_path, AlerterSettings(), {})
    standby.look(tmp_path / "alerter", emergency, "gone", START)
    standby.keep(tmp_path, AlerterSettings.model_validate({"emergency": {"to": ["boss"]}}), {})
    known = Standby.model_validate_json((tmp_path / "alerter" / "standby.json").read_bytes())
    assert (known.to, known.since) == (("boss",), START)
