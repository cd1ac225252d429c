"""Caches: one behaviour for both, and what Redis adds: replicas, and being lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.cache import Cache, InProcessCache, open_cache
from tidemill.common.cache.redis import RedisCache
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.common.testing.wire import Wire

MINUTE = timedelta(minutes=1)


async def keep(cache: Cache, namespace: str, **values: bytes) -> None:
    version = (await cache.get_many(namespace, [])).version
    await cache.set_many(namespace, values, ttl=MINUTE, version=version)


async def look(cache: Cache, namespace: str, *keys: str) -> dict[str, bytes]:
    return dict((await cache.get_many(namespace, keys)).values)


class CacheContract:
    """What every cache does. Subclasses give the fixture `cache`."""

    async def test_what_was_kept_is_found(self, cache: Cache) -> None:
        await keep(cache, "names", a=b"1", b=b"\x00\xff")
        assert await look(cache, "names", "a", "missing", "b") == {"a": b"1", "b": b"\x00\xff"}

    async def test_the_later_value_stands(self, cache: Cache) -> None:
        await keep(cache, "names", a=b"1")
        await keep(cache, "names", a=b"2")
        assert await look(cache, "names", "a") == {"a": b"2"}

    async def test_namespaces_are_apart(self, cache: Cache) -> None:
        await keep(cache, "one", a=b"1")
        assert await look(cache, "two", "a") == {}

    async def test_a_value_is_forgotten_after_its_time(self, cache: Cache) -> None:
        version = (await cache.get_many("names", ["a"])).version
        await cache.set_many("names", {"a": b"1"}, ttl=timedelta(milliseconds=50), version=version)
        assert await look(cache, "names", "a") == {"a": b"1"}
        await asyncio.sleep(0.1)
        assert await look(cache, "names", "a") == {}

    async def test_no_time_means_not_kept(self, cache: Cache) -> None:
        version = (await cache.get_many("names", ["a"])).version
        await cache.set_many("names", {"a": b"1"}, ttl=timedelta(0), version=version)
        assert await look(cache, "names", "a") == {}

    async def test_whoever_is_cancelled_while_it_asks_ends(self, cache: Cache) -> None:
        async def ask() -> None:
            while True:
                await look(cache, "names", "a")
                await asyncio.sleep(0)

        for moment in range(60):
            asking = asyncio.create_task(ask())
            for _ in range(moment):
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(asking), 10)

    async def test_a_bump_forgets_one_namespace(self, cache: Cache) -> None:
        await keep(cache, "names", a=b"1")
        await keep(cache, "others", a=b"1")
        await cache.bump("names")
        assert await look(cache, "names", "a") == {}
        assert await look(cache, "others", "a") == {"a": b"1"}

    async def test_what_was_worked_out_before_a_bump_is_not_kept_after_it(self, cache: Cache) -> None:
        before = await cache.get_many("names", ["a"])
        await cache.bump("names")
        await cache.set_many("names", {"a": b"stale"}, ttl=MINUTE, version=before.version)
        assert await look(cache, "names", "a") == {}

    async def test_many_keys_at_once(self, cache: Cache) -> None:
        values = {f"key {number}": str(number).encode() for number in range(1234)}
        version = (await cache.get_many("names", list(values))).version
        await cache.set_many("names", values, ttl=MINUTE, version=version)
        assert await look(cache, "names", *values) == values

    async def test_any_text_can_be_a_key(self, cache: Cache) -> None:
        await keep(cache, "names", **{"Ferencváros {u} \n:*": b"1", "": b"2"})
        assert await look(cache, "names", "Ferencváros {u} \n:*", "") == {"Ferencváros {u} \n:*": b"1", "": b"2"}

    async def test_nothing_is_asked_and_nothing_is_kept(self, cache: Cache) -> None:
        assert await look(cache, "names") == {}
        await cache.set_many("names", {}, ttl=MINUTE, version="")

    async def test_hits_and_misses_are_counted_without_the_callers_version(self, cache: Cache) -> None:
        def counted(result: str) -> float:
            return value("tidemill_cache_requests_total", service="cache-test", namespace="ratio", result=result)

        await keep(cache, "ratio@41", a=b"1")
        hits, misses = counted("hit"), counted("miss")
        await look(cache, "ratio@41", "a", "b", "c")
        assert (counted("hit") - hits, counted("miss") - misses) == (1, 2)

    async def test_a_healthy_cache_has_no_complaint(self, cache: Cache) -> None:
        await look(cache, "names", "a")
        assert await cache.complaint() is None


class TestInProcessCache(CacheContract):
    @pytest.fixture
    async def cache(self) -> AsyncIterator[Cache]:
        cache = open_cache(None, Metrics("cache-test"))
        yield cache
        await cache.close()

    async def test_the_least_recently_used_go_first(self) -> None:
        cache = InProcessCache(Metrics("cache-test"), max_bytes=1000)
        await keep(cache, "n", a=b"x" * 100, b=b"x" * 100)
        await look(cache, "n", "a")
        await keep(cache, "n", c=b"x" * 100)
        assert set(await look(cache, "n", "a", "b", "c")) == {"a", "c"}

    async def test_one_that_is_too_large_is_not_kept(self) -> None:
        cache = InProcessCache(Metrics("cache-test"), max_bytes=1000)
        await keep(cache, "n", a=b"x" * 2000)
        assert await look(cache, "n", "a") == {}

    @given(
        st.lists(
            st.tuples(st.sampled_from("abcdef"), st.binary(max_size=300), st.sampled_from(["set", "bump", "later"])),
            max_size=60,
        )
    )
    async def test_it_never_grows_beyond_its_bound_and_never_finds_what_is_over(
        self, steps: list[tuple[str, bytes, str]]
    ) -> None:
        now = 0.0
        cache = InProcessCache(Metrics("cache-test"), max_bytes=1000, clock=lambda: now)
        expected: dict[str, tuple[float, bytes]] = {}
        for key, content, step in steps:
            if step == "set":
                await keep(cache, "n", **{key: content})
                expected[key] = (now + 60, content)
            elif step == "bump":
                await cache.bump("n")
                expected.clear()
            else:
                now += 25
            assert cache.size_bytes <= 1000
            for found, content_found in (await look(cache, "n", *"abcdef")).items():
                until, content_expected = expected[found]
                assert now < until
                assert content_found == content_expected


@pytest.mark.servers
class TestRedisCache(CacheContract):
    @pytest.fixture
    async def cache(self, redis_url: str) -> AsyncIterator[Cache]:
        cache = open_cache(redis_url, Metrics("cache-test"))
        yield cache
        await cache.close()

    @pytest.fixture
    async def replica(self, redis_url: str) -> AsyncIterator[Cache]:
        cache = RedisCache(redis_url, Metrics("cache-test"))
        yield cache
        await cache.close()

    @pytest.fixture
    async def wire(self, redis_url: str) -> AsyncIterator[Wire]:
        wire = Wire(redis_url)
        await wire.mend()
        yield wire
        await wire.cut()

    @pytest.fixture
    async def wired(self, wire: Wire) -> AsyncIterator[RedisCache]:
        cache = RedisCache(wire.url, Metrics("cache-wired"))
        yield cache
        await cache.close()

    async def test_replicas_share_values_and_a_bump_reaches_all_at_once(self, cache: Cache, replica: Cache) -> None:
        await keep(cache, "names", a=b"1")
        assert await look(replica, "names", "a") == {"a": b"1"}
        before = await replica.get_many("names", ["b"])
        await cache.bump("names")
        assert await look(replica, "names", "a") == {}
        await replica.set_many("names", {"b": b"stale"}, ttl=MINUTE, version=before.version)
        assert await look(cache, "names", "b") == {}

    async def test_old_values_stay_dead_when_redis_forgets_the_version(self, cache: Cache, redis_url: str) -> None:
        from redis.asyncio import Redis

        await keep(cache, "names", a=b"1")
        async with Redis.from_url(redis_url) as redis:
            await redis.delete("tidemill:cache:{names}")
        assert await look(cache, "names", "a") == {}

    async def test_values_leave_redis_by_themselves(self, cache: Cache, redis_url: str) -> None:
        from redis.asyncio import Redis

        await keep(cache, "names", a=b"1")
        async with Redis.from_url(redis_url) as redis:
            assert all([await redis.pttl(key) > 0 async for key in redis.scan_iter("tidemill:cache:*")])

    async def test_without_redis_everything_is_a_miss_and_it_is_said_once(
        self, wire: Wire, wired: RedisCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        await keep(wired, "names", a=b"1")
        await wire.cut()
        for _ in range(5):
            assert await look(wired, "names", "a") == {}
            await keep(wired, "names", a=b"2")
        assert value("tidemill_cache_connected", service="cache-wired") == 0
        assert "is lost" in str(await wired.complaint())
        assert len([record for record in caplog.records if "is lost" in record.message]) == 1

    async def test_it_recovers_by_itself(self, wire: Wire, wired: RedisCache, caplog: pytest.LogCaptureFixture) -> None:
        await keep(wired, "names", a=b"1")
        await wire.cut()
        assert await look(wired, "names", "a") == {}
        await wire.mend()
        await asyncio.sleep(0.6)
        assert await look(wired, "names", "a") == {"a": b"1"}
        assert await wired.complaint() is None
        assert value("tidemill_cache_connected", service="cache-wired") == 1
        assert any("is back" in record.message for record in caplog.records)

    async def test_a_silent_redis_costs_one_time_limit_and_then_nothing(self, wire: Wire, wired: RedisCache) -> None:
        await keep(wired, "names", a=b"1")
        wire.silent = True
        began = time.perf_counter()
        for _ in range(100):
            await look(wired, "names", "a")
        assert time.perf_counter() - began < 10

    async def test_while_redis_is_lost_only_one_of_many_tries(self, wire: Wire, wired: RedisCache) -> None:
        await wire.cut()
        await look(wired, "names", "a")
        await wire.mend()
        wire.silent = True
        await asyncio.sleep(0.6)
        before = wire.connections
        await asyncio.gather(*(look(wired, "names", "a") for _ in range(30)))
        assert wire.connections - before == 1

    async def test_a_bump_while_redis_is_lost_is_made_up_for_before_anything_is_found(
        self, wire: Wire, wired: RedisCache, replica: Cache
    ) -> None:
        await keep(wired, "names", a=b"1")
        await wire.cut()
        await wired.bump("names")
        await wire.mend()
        await asyncio.sleep(0.6)
        assert await look(wired, "names", "a") == {}
        assert await look(replica, "names", "a") == {}

    async def test_more_look_ups_at_once_than_connections_all_find(self, cache: Cache) -> None:
        await keep(cache, "names", a=b"1")
        found = await asyncio.gather(*(look(cache, "names", "a") for _ in range(100)))
        assert found == [{"a": b"1"}] * 100


async def test_a_redis_that_was_never_there_is_a_miss_and_its_password_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = RedisCache("redis://:hunter2@127.0.0.1:9/0", Metrics("cache-test"))
    assert await look(cache, "names", "a") == {}
    await cache.bump("names")
    assert "hunter2" not in caplog.text + str(await cache.complaint())
    await cache.close()
