"""`tidemill status`, `migrate` and `run-service` beside real servers."""

import asyncio
import json
import signal
import time
from datetime import UTC, datetime

import asyncpg
import nats
import pytest

from tidemill.cli.status import Came, Held, Running, Status, Store, Stream, Waiting, concerns, lost, show
from tidemill.common.config.versions import Sign
from tidemill.common.events import DocumentStored

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def at(place, nats_url: str, database_url: str):
    """A place with servers of its own, migrated for the mill."""
    place.environment |= {"NATS_URL": nats_url, "DATABASE_URL": database_url}
    status, output = place.here("migrate", "--service", "mill")
    assert status == 0, output
    return place


def status_of(place) -> tuple[int, dict]:
    code, output = place.here("status", "-o", "json")
    return code, json.loads(output)


def value(url: str, query: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


async def publish(url: str, count: int) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    for number in range(count):
        event = DocumentStored(
            source="field", sha256=str(number), size_bytes=1, name="n", run="r", received_at=datetime.now(UTC)
        )
        await js.publish(event.subject_filled(), event.to_json(), headers={"Nats-Msg-Id": str(number)})
    await client.close()


def test_up_makes_the_whole_state_visible(place) -> None:
    place.up()
    code, found = status_of(place)
    assert code == 0
    (mill,) = found["services"]
    assert (mill["service"], mill["ready"]) == ("mill", True)
    assert "DOCUMENTS" in [stream["name"] for stream in found["streams"]]
    assert [(each["stream"], each["consumer"]) for each in found["consumers"]] == [("DOCUMENTS", "mill")]
    stores = {store["schema"]: (store["outbox"], store["dead_letters"]) for store in found["stores"]}
    assert stores["mill"] == (0, 0)
    code, table = place.here("status")
    assert code == 0
    assert "ready" in table


def test_nobody_at_work_is_no_success(at) -> None:
    code, output = at.here("status")
    assert code == 1
    assert "No service answers" in output


def test_a_database_that_is_away_is_told_without_a_traceback(at) -> None:
    code, output = at.run("status", DATABASE_URL="postgresql://postgres@127.0.0.1:1/none")
    assert code == 1
    assert "Postgres does not answer" in output
    assert "Traceback" not in output


def test_what_is_held_by_control_is_shown(at, nats_url: str) -> None:
    async def stop() -> None:
        client = await nats.connect(nats_url)
        bucket = await client.jetstream().create_key_value(bucket="tidemill-control")
        await bucket.put("stop.source.field", b"they asked us to")
        await bucket.put("pause.all", b"off")
        await client.close()

    asyncio.run(stop())
    found = status_of(at)[1]
    assert found["control"] == ["stop.source.field"]
    assert found["held"] == [{"key": "stop.source.field", "reason": "they asked us to", "waiting": 0}]
    assert "held by control: stop.source.field (they asked us to) · 0 waiting" in at.here("status")[1]


def test_the_last_good_backup_is_shown_and_an_attempt_that_failed_since(at, database_url: str) -> None:
    def made(name: str, day: int, problem: str = "") -> None:
        at = f"timestamptz '2026-03-0{day} 02:15Z'"
        row = f"'/b', '{name}', {at}, {at}, '{problem}' = '', true, 1, '{problem}'"
        value(database_url, f"INSERT INTO scheduler.backups VALUES ({row})")

    assert at.here("migrate", "--service", "scheduler")[0] == 0
    assert status_of(at)[1]["backup"] is None
    made("first", 1, "the disk is full")
    assert "no backup was good yet\n  the last attempt failed: the disk is full" in at.here("status")[1]
    made("second", 2)
    assert "last good backup: 2026-03-02 02:15 UTC, /b/second\n" in at.here("status")[1]
    made("third", 3, "no room")
    assert status_of(at)[1]["backup"] == {
        "began_at": "2026-03-02T02:15:00+00:00",
        "where": "/b/second",
        "problem": "no room",
    }


@pytest.mark.parametrize(
    ("key", "waits"),
    [
        ("stop.all", True),
        ("pause.source.north.field", True),
        ("stop.source.field", False),
        ("stop.service.mill", True),
        ("stop.service.smithy", False),
        ("cancel.run.mill", False),
    ],
)
def test_what_waits_is_counted_for_the_key_that_holds_it(key: str, waits: bool) -> None:
    assert concerns(key, "mill", "north.field") is waits


def test_at_80_columns_every_line_is_whole(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(
        Status(
            services=[Running("mill", "1", "x" * 22, False, {"stones": "the stones are worn"})],
            sources=[Came("a-source-with-a-long-name", 1_000_000, 10, 2, 3, "2025-06-17T10:00:00+00:00")],
            streams=[Stream("DOCUMENTS", 12, 1_234_567)],
            consumers=[Waiting("DOCUMENTS", "mill", 1, 2, 3)],
            stores=[Store("mill", 0, 1.5, 2, 7)],
            control=["pause.all"],
            held=[Held("pause.all", "lunch", 2)],
            configuration={
                "active": 7,
                "replicas": [
                    {"service": "mill", "instance": "a-1", "version": 7, "running": 7, "problem": "", "restart": []},
                    {"service": "mill", "instance": "a-2", "version": 7, "running": 6, "problem": "no", "restart": []},
                    {
                        "service": "mill",
                        "instance": "a-3",
                        "version": 7,
                        "running": 7,
                        "problem": "",
                        "restart": ["log"],
                    },
                ],
                "refused": {
                    "at": datetime(2026, 1, 2, tzinfo=UTC),
                    "author": "me",
                    "via": "file",
                    "problems": ["tidemill.yaml:1:1: nope: unknown key"],
                },
            },
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "mill     1        xxxxxxxxxxxxxxxxxxxxxx  not ready stones: the stones are worn" in lines
    assert any(line.split()[-2:] == ["2025-06-17", "10:00"] and "1,000,000" in line for line in lines)
    assert "What was refused, and why: `tidemill documents --outcome refused`" in lines
    assert "What was given up: `tidemill dead-letters list`" in lines
    begin = lines.index("configuration: version 7, taken by 2 of 3 replicas")
    assert lines[begin + 1 : begin + 5] == [
        "refused at 2026-01-02 00:00:00 (me via file):",
        "  tidemill.yaml:1:1: nope: unknown key",
        "  mill a-2: version 7: no",
        "  mill a-3: waits for a restart: log",
    ]
    assert lines[-1] == "held by control: pause.all (lunch) · 2 waiting"


def test_replicas_share_the_work_and_end_in_order(at, eventually, nats_url: str, database_url: str) -> None:
    replicas = [at.begin("run-service", "mill") for _ in range(2)]
    eventually(lambda: len(status_of(at)[1]["services"]) == 2)
    asyncio.run(publish(nats_url, 200))
    eventually(lambda: value(database_url, "SELECT count(*) FROM mill.ground") == 200)
    eventually(lambda: status_of(at)[1]["consumers"][0]["in_hand"] == 0)
    for replica in replicas:
        replica.send_signal(signal.SIGTERM)
    for replica in replicas:
        logs, _ = replica.communicate(timeout=30)
        assert replica.returncode == 0, logs
        assert "stopped" in logs


def test_migrations_go_down_for_one_service_and_up_again(at, database_url: str) -> None:
    assert at.here("migrate")[0] == 0
    code, output = at.here("migrate", "--down", "base")
    assert code == 1
    assert "--service" in output
    code, output = at.here("migrate", "--service", "mill", "--down", "base")
    assert (code, output.strip()) == (0, "mill: 0001 → nothing")
    code, output = at.here("migrate", "--service", "mill", "--down", "0009")
    assert code == 1
    assert "0001" in output
    code, output = at.here("migrate", "--service", "mill", "-o", "json")
    assert json.loads(output) == [{"service": "mill", "before": None, "after": "0001"}]
    assert at.here("migrate", "--service", "mill")[1].strip() == "mill: is at 0001"


def sign(instance: str, began: int, seen: int) -> Sign:
    return Sign("mill", instance, *(datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (began, seen)))


def test_a_silent_replica_is_lost_until_another_one_begins_in_its_place() -> None:
    known = [sign("a", 1, 20), sign("b", 2, 21)]
    assert lost(known, {"a", "b"}) == []
    assert [each.instance for each in lost(known, {"a"})] == ["b"]
    assert lost([*known, sign("c", 30, 31)], {"a", "c"}) == []
    assert [each.instance for each in lost([*known, sign("c", 30, 31)], {"c"})] == ["b"]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGSTOP])
def test_a_killed_or_frozen_replica_is_shown_within_fifteen_seconds(
    at, eventually, database_url: str, number: signal.Signals
) -> None:
    assert at.here("migrate", "--service", "scheduler")[0] == 0  # It has the tables of the configuration.
    processes = [at.begin("run-service", "mill") for _ in range(2)]
    try:
        eventually(lambda: [each["ready"] for each in status_of(at)[1]["services"]] == [True, True], 60)
        # Until the one that began later has seen the other, it may be its successor.
        both = "SELECT count(*) = 2 AND min(seen_at) >= max(began_at) FROM config.acknowledgements"
        eventually(lambda: value(database_url, both), 5)
        processes[0].send_signal(number)
        begun = time.monotonic()
        code, found = status_of(at)
        seconds = time.monotonic() - begun
        (gone,) = [each for each in found["services"] if each["ready"] is False]
        assert "does not answer" in gone["wrong"]["lost"]
        assert gone["instance"].split("-")[-2] == str(processes[0].pid)
        assert code == 1
        assert seconds < 15
        shown = at.here("status")[1]
        assert "lost: does not answer" in shown
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
