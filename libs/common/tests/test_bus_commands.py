"""Commands: a NATS service like any other, answered after commit, once per id."""

import asyncio
import json
from typing import Any

import nats.errors
import pytest
from sqlalchemy import text

from tidemill.common.bus.client import CommandFailed, open_client, request_command
from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Outgoing
from tidemill.common.events import CommandDone

pytestmark = pytest.mark.servers


def add_command(ground: Any) -> Command:
    async def handle(tx: Any, id: str, parameters: Any) -> Answer:
        name = parameters.get("name")
        if not name:
            raise CommandRefused('`name` is missing, for instance {"name": "x"}')
        if name == "crash":
            raise ZeroDivisionError("by hand")
        await tx.execute(ground.rows.insert(), [{"event_id": name}])
        return Answer({"added": name, "id": id}, [Outgoing(f"command/{id}", ground.document(name))])

    return Command(verb="add", handle=handle, description="Add a name", parameters={"name": "what to add"})


async def until_listening(ground: Any) -> None:
    async def listening() -> bool:
        try:
            await ground.nc.request("$SRV.INFO.demo", timeout=10)
        except nats.errors.NoRespondersError:
            return False
        return True

    await ground.until(listening)


async def test_a_command_is_answered_after_commit_and_its_events_are_published(ground: Any) -> None:
    async with ground.bus(commands=[add_command(ground)]):
        await until_listening(ground)
        answer = await request_command(ground.nc, "demo", "add", {"name": "x"}, id="c1")
        assert answer == {"added": "x", "id": "c1"}
        assert await ground.recorded() == ["x"]
        assert [fact.headers["Tidemill-Id"] for fact in await ground.facts("DOCUMENTS")] == ["command/c1"]


async def test_what_a_command_changed_is_told_for_the_audit_chain(ground: Any) -> None:
    async def handle(tx: Any, id: str, parameters: Any) -> Answer:
        changed = Change("name.remove", "x", before={"name": "x"}) if parameters.get("actor") else None
        return Answer({}, change=changed)

    command = Command(verb="remove", handle=handle, description="Remove a name", parameters=WHO)
    async with ground.bus(commands=[command]):
        await until_listening(ground)
        await request_command(ground.nc, "demo", "remove", {}, id="c1")
        await request_command(ground.nc, "demo", "remove", {"actor": "anna", "via": "cli"}, id="c2")
        (fact,) = await ground.facts("CONFIG")
    assert (fact.subject, fact.headers["Tidemill-Id"]) == ("tidemill.command.done.demo", "command/demo/remove/c2")
    done = CommandDone.model_validate_json(fact.data)
    assert (done.action, done.target, done.before, done.after) == ("name.remove", "x", '{"name": "x"}', "")
    assert (done.actor, done.via) == ("anna", "cli")


async def test_the_same_id_gives_the_same_answer_and_does_nothing(ground: Any) -> None:
    async with ground.bus(commands=[add_command(ground)]), ground.bus(commands=[add_command(ground)]):
        await until_listening(ground)
        answers = await asyncio.gather(
            *(request_command(ground.nc, "demo", "add", {"name": "x"}, id="c1") for _ in range(10))
        )
        assert answers == [{"added": "x", "id": "c1"}] * 10
        by_field = await ground.nc.request("tidemill.ctl.demo.add", b'{"name": "x", "id": "c1"}', timeout=5)
        assert json.loads(by_field.data) == answers[0]
    assert await ground.recorded() == ["x"]
    assert len(await ground.facts("DOCUMENTS")) == 1


@pytest.mark.parametrize(
    ("payload", "code", "says"),
    [
        (b"{", "400", "not JSON"),
        (b"[]", "400", "JSON object: name, id"),
        (b'{"nmae": 1}', "400", "unknown parameter nmae; add takes name, id"),
        (b"", "400", "`name` is missing"),
        (b'{"name": "crash"}', "500", "ZeroDivisionError: by hand"),
    ],
)
async def test_an_error_says_what_is_wrong(ground: Any, payload: bytes, code: str, says: str) -> None:
    async with ground.bus(commands=[add_command(ground)]):
        await until_listening(ground)
        reply = await ground.nc.request("tidemill.ctl.demo.add", payload, timeout=5)
        assert reply.headers["Nats-Service-Error-Code"] == code
        assert says in reply.headers["Nats-Service-Error"]
        error = json.loads(reply.data)["error"]
        assert error["code"] == code
        assert says in error["reason"]
    assert await ground.recorded() == []


async def test_a_refused_command_may_be_repeated_with_the_same_id(ground: Any) -> None:
    async with ground.bus(commands=[add_command(ground)]):
        await until_listening(ground)
        with pytest.raises(CommandFailed, match="missing") as refused:
            await request_command(ground.nc, "demo", "add", {}, id="c1")
        assert refused.value.code == "400"
        assert await request_command(ground.nc, "demo", "add", {"name": "x"}, id="c1") == {"added": "x", "id": "c1"}


async def test_a_command_in_hand_is_answered_though_its_service_stops(ground: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(tx: Any, id: str, parameters: Any) -> Answer:
        begun.set()
        await go_on.wait()
        await tx.execute(ground.rows.insert(), [{"event_id": "x"}])
        return Answer({"added": "x"})

    async with ground.bus(commands=[Command(verb="add", handle=handle, description="Add x")]) as bus:
        await until_listening(ground)
        asked = asyncio.create_task(request_command(ground.nc, "demo", "add", {}))
        await begun.wait()
        stopping = asyncio.create_task(bus.stop())
        await ground.until(lambda: nobody_listens(ground))
        go_on.set()
        await stopping
    assert await asked == {"added": "x"}
    assert await ground.recorded() == ["x"]


async def nobody_listens(ground: Any) -> bool:
    try:
        await ground.nc.request("$SRV.PING.demo", timeout=1)
    except nats.errors.NoRespondersError:
        return True
    return False


async def test_nobody_listening_is_a_clear_error(ground: Any) -> None:
    with pytest.raises(CommandFailed, match="nobody listens on") as failed:
        await request_command(ground.nc, "demo", "add")
    assert failed.value.code == "404"


async def test_no_nats_is_a_clear_error() -> None:
    with pytest.raises(CommandFailed, match=r"no NATS at 127\.0\.0\.1:1 .*tidemill up"):
        async with open_client("nats://127.0.0.1:1"):
            pass


async def test_no_answer_is_a_clear_error(ground: Any) -> None:
    async def deaf(_: Any) -> None:
        await asyncio.sleep(5)

    await ground.nc.subscribe("tidemill.ctl.demo.add", cb=deaf)
    async with open_client(ground.url) as client:
        with pytest.raises(CommandFailed, match="may still have been done") as failed:
            await request_command(client, "demo", "add", timeout=0.2)
    assert failed.value.code == "504"


async def test_without_postgres_a_command_says_so(ground: Any) -> None:
    async with ground.bus(commands=[add_command(ground)]):
        await until_listening(ground)
        async with ground.engine.begin() as tx:
            await tx.execute(text("LOCK TABLE demo.inbox"))
            await tx.execute(text("SET LOCAL statement_timeout = 0"))
            slow = asyncio.create_task(request_command(ground.nc, "demo", "add", {"name": "x"}, timeout=10))
            await asyncio.sleep(0.3)
            waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            await tx.execute(text(waiting))
        with pytest.raises(CommandFailed, match="cannot reach its database") as failed:
            await slow
        assert failed.value.code == "503"


async def test_the_service_is_listed_described_and_counted(ground: Any) -> None:
    async with ground.bus(ground.step(), commands=[add_command(ground)]):
        await until_listening(ground)
        await request_command(ground.nc, "demo", "add", {"name": "x"})
        ping = json.loads((await ground.nc.request("$SRV.PING", timeout=10)).data)
        assert (ping["name"], ping["version"], ping["metadata"]) == ("demo", "0.1.0", {"consumers": "store"})
        info = json.loads((await ground.nc.request("$SRV.INFO.demo", timeout=10)).data)
        add = next(endpoint for endpoint in info["endpoints"] if endpoint["name"] == "add")
        assert add["subject"] == "tidemill.ctl.demo.add"
        assert add["metadata"] == {"description": "Add a name", "name": "what to add"}
        assert {endpoint["name"] for endpoint in info["endpoints"]} == {
            "add",
            "dead_letters_replay",
            "dead_letters_drop",
        }
        stats = json.loads((await ground.nc.request("$SRV.STATS.demo", timeout=10)).data)
        assert next(e for e in stats["endpoints"] if e["name"] == "add")["num_requests"] == 1


@pytest.mark.slow
async def test_a_service_answers_again_after_a_kill_of_nats_server(ground: Any, nats_server: Any) -> None:
    async with ground.bus(commands=[add_command(ground)]) as bus:
        await until_listening(ground)
        nats_server.kill()
        await ground.start(nats_server)
        await ground.until(lambda: bus.connected and ground.nc.is_connected)
        await until_listening(ground)
        assert (await request_command(ground.nc, "demo", "add", {"name": "x"}))["added"] == "x"
        # And on a client that is another one.
        await bus._connection.nc.close()
        await ground.until(lambda: bus.connected)
        await until_listening(ground)
        assert (await request_command(ground.nc, "demo", "add", {"name": "y"}))["added"] == "y"
        info = json.loads((await ground.nc.request("$SRV.INFO.demo", timeout=10)).data)
        assert len(info["endpoints"]) == 3
