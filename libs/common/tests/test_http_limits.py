"""Leave to ask a host: one behaviour in memory, in files and in Redis, and what each adds: replicas, being lost."""

import asyncio
import fcntl
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tidemill.common.config.politeness import Politeness
from tidemill.common.http import Held, HostLimits, open_limits
from tidemill.common.http.limits import Change, InProcessLimits, Unavailable
from tidemill.common.http.machine_limits import MachineLimits
from tidemill.common.http.pacing import FAILURES, LEASE_SECONDS, Outcome, Terms
from tidemill.common.http.redis_limits import PAUSE_SECONDS, RedisLimits
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.common.testing.hostile import hostile_server, most_in_a_second
from tidemill.common.testing.wire import Wire

T = TypeVar("T")

HOST = "example.org"
QUICK = Terms("source", interval=0.01, concurrency=3)
WELL = Outcome("well", 0.01)
NOW = timedelta(0)
LONG = timedelta(seconds=30)


async def held(limits: HostLimits, terms: Terms = QUICK, host: str = HOST, wait: timedelta = NOW) -> Held:
    with pytest.raises(Held) as caught:
        await limits.acquire(host, terms, wait=wait)
    return caught.value


async def fetch(limits: HostLimits, outcome: Outcome = WELL, terms: Terms = QUICK) -> None:
    permit = await limits.acquire(HOST, terms, wait=LONG)
    await permit.start()
    await permit.sent()
    await permit.finish(outcome)


class LimitsContract:
    """What all limits do. Subclasses give the fixture `limits`."""

    async def test_requests_are_an_interval_apart_however_many_ask_at_once(self, limits: HostLimits) -> None:
        moments: list[float] = []

        async def ask() -> None:
            permit = await limits.acquire(HOST, Terms("source", 0.05, concurrency=50), wait=LONG)
            moments.append(time.monotonic())
            await permit.finish(WELL)

        began = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(8)))
        assert moments[-1] - began >= 7 * 0.05
        assert len(moments) == 8

    async def test_they_come_in_the_order_in_which_they_asked(self, limits: HostLimits) -> None:
        order: list[int] = []

        async def ask(number: int) -> None:
            permit = await limits.acquire(HOST, QUICK, wait=LONG)
            order.append(number)
            await permit.finish(WELL)

        await asyncio.gather(*(ask(number) for number in range(10)))
        assert order == list(range(10))

    async def test_who_will_not_wait_is_told_the_reason_and_until_when(self, limits: HostLimits) -> None:
        slow = Terms("source", interval=100.0)
        await fetch(limits, terms=slow)
        refusal = await held(limits, slow)
        assert (refusal.reason, refusal.host) == ("rate", HOST)
        assert refusal.until is not None
        assert 90 < (refusal.until - datetime.now(UTC)).total_seconds() <= 100

    async def test_a_place_given_back_goes_to_who_waits(self, limits: HostLimits) -> None:
        one = Terms("source", 0.001, concurrency=1)
        first = await limits.acquire(HOST, one, wait=LONG)
        assert (await held(limits, one, wait=timedelta(milliseconds=100))).reason == "busy"
        waiting = asyncio.create_task(limits.acquire(HOST, one, wait=LONG))
        await asyncio.sleep(0)
        await first.finish(WELL)
        await (await waiting).finish(WELL)

    async def test_who_waits_behind_others_is_told_in_time(self, limits: HostLimits) -> None:
        slow = Terms("source", interval=20.0, concurrency=5)
        await fetch(limits, terms=slow)
        first = asyncio.create_task(limits.acquire(HOST, slow, wait=LONG))
        await asyncio.sleep(0)
        assert (await held(limits, slow, wait=timedelta(milliseconds=50))).reason == "rate"
        first.cancel()
        await asyncio.wait([first])

    async def test_giving_back_twice_is_harmless(self, limits: HostLimits) -> None:
        one = Terms("source", 0.001, concurrency=1)
        first = await limits.acquire(HOST, one, wait=LONG)
        await first.finish(WELL)
        second = await limits.acquire(HOST, one, wait=LONG)
        await first.finish(WELL)
        assert (await held(limits, one, wait=timedelta(milliseconds=50))).reason == "busy"
        await second.finish(WELL)

    async def test_retry_after_holds_for_every_source(self, limits: HostLimits) -> None:
        await fetch(limits, Outcome("pushback", 0.1, retry_after=50))
        refusal = await held(limits, Terms("other", 0.001))
        assert refusal.reason == "not_before"
        assert refusal.until is not None
        assert refusal.until > datetime.now(UTC) + timedelta(seconds=40)

    async def test_the_breaker_opens_after_failures_in_a_row(self, limits: HostLimits) -> None:
        for _ in range(FAILURES):
            await fetch(limits, Outcome("failure"))
        assert (await held(limits)).reason == "breaker_open"
        permit = await limits.acquire("another.example", QUICK, wait=NOW)
        await permit.finish(WELL)

    async def test_a_spent_budget_holds_its_source_alone(self, limits: HostLimits) -> None:
        two = Terms("source", 0.001, concurrency=3, budget=2)
        await fetch(limits, terms=two)
        await fetch(limits, terms=two)
        refusal = await held(limits, two)
        assert refusal.reason == "budget_spent"
        assert refusal.until is not None
        await fetch(limits, terms=Terms("other", 0.001, budget=2))

    async def test_a_budget_is_restored_from_the_ledger(self, limits: HostLimits) -> None:
        await limits.restore(HOST, "source", datetime.now(UTC).date().isoformat(), 2, None)
        assert (await held(limits, Terms("source", 0.001, budget=2))).reason == "budget_spent"
        await limits.restore(HOST, "source", "2020-01-01", 0, datetime.now(UTC) + timedelta(hours=1))
        assert (await held(limits)).reason == "not_before"

    async def test_a_request_that_leaves_late_asks_again(self, limits: HostLimits) -> None:
        terms = Terms("source", 0.2, concurrency=3)
        late = await limits.acquire(HOST, terms, wait=LONG)
        await asyncio.sleep(0.25)
        before = time.monotonic()
        await fetch(limits, terms=terms)
        await late.start()
        assert time.monotonic() - before >= 0.2
        await late.finish(WELL)

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13])
    async def test_who_is_cancelled_at_any_moment_is_and_leaves_no_place_taken(
        self, limits: HostLimits, steps: int
    ) -> None:
        one = Terms("source", 0.001, concurrency=1)
        await fetch(limits, terms=one)
        asking = asyncio.create_task(limits.acquire(HOST, one, wait=LONG))
        for _ in range(steps):
            await asyncio.sleep(0)
        if asking.cancel():
            await asyncio.wait([asking])
            assert asking.cancelled()
        else:
            await asking.result().finish(WELL)
        await fetch(limits, terms=one)

    async def test_how_many_could_begin_now(self, limits: HostLimits) -> None:
        politeness = Politeness(rate="1/s", concurrency=5)
        assert await limits.startable([], "source", politeness) == {}
        await limits.restore("held.example", "source", "2020-01-01", 0, datetime.now(UTC) + timedelta(hours=1))
        hosts = ["fresh.example", "held.example", "fresh.example"]
        assert await limits.startable(hosts, "source", politeness) == {"fresh.example": 1, "held.example": 0}
        ahead = await limits.startable(hosts, "source", politeness, within=timedelta(seconds=3))
        assert ahead["fresh.example"] == 4

    async def test_healthy_limits_have_no_complaint(self, limits: HostLimits) -> None:
        assert await limits.complaint() is None


class TestInProcessLimits(LimitsContract):
    @pytest.fixture
    async def limits(self) -> AsyncIterator[HostLimits]:
        limits = open_limits(None, Metrics("limits-test"))
        assert isinstance(limits, InProcessLimits)
        yield limits
        await limits.close()

    async def test_a_request_that_takes_long_keeps_its_place(self) -> None:
        now = 1e9
        limits = InProcessLimits(Metrics("limits-test"), clock=lambda: now, renew_every=timedelta(milliseconds=5))
        one = Terms("source", 0.001, concurrency=1)
        permit = await limits.acquire(HOST, one, wait=LONG)
        for _ in range(3):
            now += LEASE_SECONDS * 0.9
            renewed, _ = await limits.peek([HOST])
            while min(renewed[0].leases.values()) < now + LEASE_SECONDS:
                await asyncio.sleep(0.005)
        assert (await held(limits, one)).reason == "busy"
        await permit.finish(WELL)
        await limits.close()

    async def test_a_keeper_that_heard_us_and_did_not_answer_keeps_no_place(self) -> None:
        class Deaf(InProcessLimits):
            answers = True

            async def change(self, host: str, change: Change[T]) -> tuple[T, float]:
                done = await super().change(host, change)
                if not self.answers:
                    raise Unavailable("no answer")
                return done

        limits = Deaf(Metrics("limits-test"))
        one = Terms("source", 0.001, concurrency=1)
        limits.answers = False
        assert (await held(limits, one)).reason == "limiter_unavailable"
        limits.answers = True
        await fetch(limits, terms=one)
        await limits.close()


class TestMachineLimits(LimitsContract):
    @pytest.fixture
    async def limits(self, tmp_path: Path) -> AsyncIterator[HostLimits]:
        opened = open_limits(None, Metrics("limits-machine"), tmp_path / "limits")
        assert isinstance(opened, MachineLimits)
        yield opened
        await opened.close()

    async def test_processes_share_one_rate(self, tmp_path: Path) -> None:
        replicas = [MachineLimits(tmp_path, Metrics("limits-machine")) for _ in range(4)]
        terms = Terms("source", 0.05, concurrency=20)
        moments: list[float] = []

        async def ask(limits: MachineLimits) -> None:
            for _ in range(4):
                permit = await limits.acquire(HOST, terms, wait=LONG)
                moments.append(time.monotonic())
                await permit.finish(WELL)

        began = time.monotonic()
        await asyncio.gather(*(ask(limits) for limits in replicas))
        assert moments[-1] - began >= 15 * 0.05
        for limits in replicas:
            await limits.close()

    async def test_a_process_that_was_stopped_with_the_file_in_hand_is_not_waited_for_for_ever(
        self, limits: MachineLimits, tmp_path: Path
    ) -> None:
        await fetch(limits)
        (file,) = (tmp_path / "limits").iterdir()
        with file.open("rb+") as held_file:
            fcntl.flock(held_file, fcntl.LOCK_EX)
            assert (await held(limits)).reason == "limiter_unavailable"
        await fetch(limits)

    async def test_a_state_that_cannot_be_read_is_begun_anew(self, limits: MachineLimits, tmp_path: Path) -> None:
        await fetch(limits)
        (file,) = (tmp_path / "limits").iterdir()
        for damage in (b"", b'{"next_at": 1', b"[]x\n", file.read_bytes() + b'": 1}}'):
            file.write_bytes(damage)
            await fetch(limits)

    async def test_a_folder_that_cannot_be_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        limits = MachineLimits(tmp_path / "file" / "limits", Metrics("limits-machine"))
        assert (await held(limits)).reason == "limiter_unavailable"
        assert "nothing is fetched" in str(await limits.complaint())


Opened = Callable[[str], RedisLimits]


@pytest.mark.servers
class TestRedisLimits(LimitsContract):
    @pytest.fixture
    async def opened(self) -> AsyncIterator[Opened]:
        all_limits: list[RedisLimits] = []

        def opened(url: str) -> RedisLimits:
            all_limits.append(RedisLimits(url, Metrics("limits-redis")))
            return all_limits[-1]

        yield opened
        for limits in all_limits:
            await limits.close()

    @pytest.fixture
    def limits(self, redis_url: str, opened: Opened) -> HostLimits:
        return opened(redis_url)

    @pytest.fixture
    async def wire(self, redis_url: str) -> AsyncIterator[Wire]:
        wire = Wire(redis_url)
        await wire.mend()
        yield wire
        await wire.cut()

    async def test_replicas_share_one_rate(self, redis_url: str, opened: Opened) -> None:
        replicas = [opened(redis_url) for _ in range(4)]
        terms = Terms("source", 0.05, concurrency=20)
        moments: list[float] = []

        async def ask(limits: RedisLimits) -> None:
            for _ in range(4):
                permit = await limits.acquire(HOST, terms, wait=LONG)
                moments.append(time.monotonic())
                await permit.finish(WELL)

        began = time.monotonic()
        await asyncio.gather(*(ask(limits) for limits in replicas))
        assert moments[-1] - began >= 15 * 0.05

    async def test_replicas_share_places_budget_breaker_and_what_a_host_said(
        self, redis_url: str, opened: Opened
    ) -> None:
        one, other = opened(redis_url), opened(redis_url)
        narrow = Terms("source", 0.001, concurrency=1, budget=2)
        permit = await one.acquire(HOST, narrow, wait=LONG)
        assert (await held(other, narrow)).reason == "busy"
        await permit.finish(WELL)
        await fetch(other, terms=narrow)
        assert (await held(one, narrow)).reason == "budget_spent"
        await fetch(one, Outcome("pushback", 0.1, retry_after=20))
        assert (await held(other)).reason == "not_before"

    async def test_one_probe_over_all_replicas(self, redis_url: str, opened: Opened) -> None:
        replicas = [opened(redis_url) for _ in range(4)]
        await self.edit(redis_url, lambda state: state.update(open_until=time.time() - 1, cooldown=30))
        asked = await asyncio.gather(
            *(limits.acquire(HOST, QUICK, wait=NOW) for limits in replicas), return_exceptions=True
        )
        probes = [each for each in asked if not isinstance(each, BaseException)]
        assert len(probes) == 1
        assert {each.reason for each in asked if isinstance(each, Held)} == {"breaker_open"}
        await probes[0].finish(WELL)
        await fetch(replicas[0])

    async def test_the_place_of_a_replica_that_died_is_taken_over(self, redis_url: str, opened: Opened) -> None:
        narrow = Terms("source", 0.001, concurrency=1)
        dead = RedisLimits(redis_url, Metrics("limits-dead"))
        await dead.acquire(HOST, narrow, wait=LONG)
        await dead.close()
        survivor = opened(redis_url)
        assert (await held(survivor, narrow)).reason == "busy"

        def expire(state: dict[str, dict[str, float]]) -> None:
            state["leases"] = dict.fromkeys(state["leases"], 1.0)

        await self.edit(redis_url, expire)
        await fetch(survivor, terms=narrow)

    async def test_without_redis_nothing_may_be_asked_and_the_reason_is_told(
        self, wire: Wire, opened: Opened, caplog: pytest.LogCaptureFixture
    ) -> None:
        limits = opened(wire.url)
        await fetch(limits)
        await wire.cut()
        for _ in range(3):
            refusal = await held(limits, wait=LONG)
            assert refusal.reason == "limiter_unavailable"
            assert refusal.until is None
        assert await limits.startable([HOST], "source", Politeness()) == {HOST: 0}
        assert "nothing is fetched" in str(await limits.complaint())
        assert value("tidemill_limiter_connected", service="limits-redis") == 0
        assert len([record for record in caplog.records if "is lost" in record.message]) == 1
        assert "hunter2" not in caplog.text
        await limits.restore(HOST, "source", "2026-11-22", 1, None)

    async def test_it_recovers_by_itself_and_what_happened_meanwhile_is_made_up_for(
        self, wire: Wire, opened: Opened
    ) -> None:
        limits = opened(wire.url)
        permit = await limits.acquire(HOST, QUICK, wait=LONG)
        await wire.cut()
        await permit.finish(Outcome("pushback", 0.1, retry_after=50))
        assert (await held(limits)).reason == "limiter_unavailable"
        await wire.mend()
        await asyncio.sleep(PAUSE_SECONDS + 0.1)
        assert (await held(limits)).reason == "not_before"
        assert await limits.complaint() is None
        assert value("tidemill_limiter_connected", service="limits-redis") == 1

    async def test_states_leave_redis_by_themselves(self, redis_url: str, opened: Opened) -> None:
        from redis.asyncio import Redis

        await fetch(opened(redis_url))
        async with Redis.from_url(redis_url) as redis:
            assert all([await redis.pttl(key) > 0 async for key in redis.scan_iter("tidemill:host:*")])

    @pytest.mark.slow
    async def test_four_replicas_never_exceed_the_rate_by_more_than_one_in_any_second(self, redis_url: str) -> None:
        """Processes of their own; redirects and robots.txt count."""
        async with hostile_server() as server:
            server.says("/moved", 302, location="/page")
            server.says("/page", 200, "tides")
            command = [str(Path(__file__).with_name("http_worker.py")), redis_url, f"{server.url}/moved", "5/s"]
            workers = [await asyncio.create_subprocess_exec(sys.executable, *command) for _ in range(4)]
            assert [await worker.wait() for worker in workers] == [0] * 4
            moments = [(asked.not_before, asked.at) for asked in server.asked]
            assert most_in_a_second(moments) <= 6
            paths = {asked.path for asked in server.asked}
            assert paths == {"/robots.txt", "/moved", "/page"}
            assert len(moments) == 4 * (1 + 2 * 2)

    async def edit(self, redis_url: str, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
        from redis.asyncio import Redis

        key = f"tidemill:host:{{{HOST}}}"
        async with Redis.from_url(redis_url) as redis:
            state = json.loads(await redis.get(key) or "{}")
            change(state)
            await redis.set(key, json.dumps(state))
