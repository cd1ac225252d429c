"""robots.txt: obeyed, asked for once, and never guessed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.cache import Cache, open_cache
from tidemill.common.http import (
    BadStatus,
    Entry,
    FetchFailure,
    Held,
    NetworkFailure,
    Patience,
    PoliteClient,
    PrivateAddress,
    RobotsDisallow,
)
from tidemill.common.http.robots import FRESH, KEPT, SIZE_BYTES, UNREACHABLE, Robots, Rules
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.hostile import Asked, Connection, Hostile, hostile_server, polite_client

ORIGIN = "https://example.org"
CLOSED = "User-agent: *\nDisallow: /private\nCrawl-delay: 7\n"
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        server.says("/", 200, "tides")
        server.says("/private", 200, "secret")
        yield server


@pytest.fixture
def ledger() -> list[Entry]:
    return []


@pytest.fixture
async def client(ledger: list[Entry]) -> AsyncIterator[PoliteClient]:
    async with polite_client(ledger) as client:
        yield client


async def get(client: PoliteClient, server: Hostile, path: str = "/", **options: object) -> int:
    options = {"politeness": server.politeness()} | options
    async with client.open(f"{server.url}{path}", source="s", **options) as answer:  # type: ignore[arg-type]
        return answer.status


async def test_what_is_disallowed_is_not_asked_for_and_the_decision_is_recorded(
    client: PoliteClient, server: Hostile, ledger: list[Entry]
) -> None:
    server.says("/robots.txt", 200, "User-agent: *\nDisallow: /private\n")
    await get(client, server)
    with pytest.raises(RobotsDisallow, match="does not let Tidemill ask for /private"):
        await get(client, server, "/private")
    assert [asked.path for asked in server.asked] == ["/robots.txt", "/"]
    decision = ledger[-1]
    assert (decision.requests, decision.robots, decision.failure) == (0, "disallowed", "robots")


async def test_rules_for_our_own_name_come_before_those_for_all(client: PoliteClient, server: Hostile) -> None:
    server.says("/robots.txt", 200, "User-agent: *\nDisallow: /\n\nUser-agent: tidemill\nAllow: /\n")
    await get(client, server)
    with pytest.raises(RobotsDisallow):
        await get(client, server, politeness=server.politeness(user_agent="OtherBot/2.0 (hello)"))


async def test_without_obedience_nobody_asks_for_it(client: PoliteClient, server: Hostile, ledger: list[Entry]) -> None:
    server.says("/robots.txt", 200, CLOSED)
    await get(client, server, "/private", politeness=server.politeness(obey_robots=False))
    assert [asked.path for asked in server.asked] == ["/private"]
    assert ledger[0].robots == "ignored"


async def test_a_crawl_delay_is_kept(client: PoliteClient, server: Hostile) -> None:
    server.says("/robots.txt", 200, "User-agent: *\nCrawl-delay: 20\n")
    with pytest.raises(Held) as caught:
        for _ in range(2):
            await get(client, server, wait=timedelta(seconds=5))
    assert caught.value.reason == "rate"
    assert len(server.pages) == 0  # robots.txt itself was the request before.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
async def test_a_host_without_robots_txt_allows_everything(client: PoliteClient, server: Hostile, status: int) -> None:
    server.says("/robots.txt", status, "no such thing")
    assert await get(client, server, "/private") == 200
    assert await get(client, server) == 200
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_host_that_cannot_say_is_not_asked(
    client: PoliteClient, server: Hostile, ledger: list[Entry], status: int
) -> None:
    server.says("/robots.txt", status)
    for _ in range(3):
        with pytest.raises(Held) as caught:
            await get(client, server)
        assert caught.value.reason == "robots_unreachable"
        assert caught.value.until is not None
    assert [asked.path for asked in server.asked] == ["/robots.txt"]
    assert ledger[-1].robots == "unreachable"


async def test_silence_and_broken_connections_are_no_permission(client: PoliteClient, server: Hostile) -> None:
    @server.on("/robots.txt")
    async def silent(asked: Asked, connection: Connection) -> None:
        await asyncio.sleep(60)

    with pytest.raises(Held, match="did not answer"):
        await get(client, server, patience=Patience(answer=timedelta(milliseconds=200)))
    async with hostile_server() as broken:

        @broken.on("/robots.txt")
        async def cut(asked: Asked, connection: Connection) -> None:
            connection.reset()

        with pytest.raises(Held) as caught:
            await get(client, broken)
    assert caught.value.reason == "robots_unreachable"


async def test_redirects_of_robots_txt_are_followed_also_to_another_host(client: PoliteClient, server: Hostile) -> None:
    async with hostile_server() as elsewhere:
        server.says("/robots.txt", 301, location="/r")
        server.says("/r", 302, location=f"{elsewhere.url}/rules")
        elsewhere.says("/rules", 200, CLOSED)
        politeness = server.politeness(allow_private=[server.host, elsewhere.host])
        with pytest.raises(RobotsDisallow):
            await get(client, server, "/private", politeness=politeness)


async def test_a_robots_txt_that_redirects_for_ever_is_none(client: PoliteClient, server: Hostile) -> None:
    server.says("/robots.txt", 301, location="/robots.txt")
    assert await get(client, server, "/private") == 200


async def test_robots_txt_leads_nobody_into_a_private_network(client: PoliteClient, server: Hostile) -> None:
    async with hostile_server() as secret:
        server.says("/robots.txt", 301, location=f"{secret.url}/admin")
        with pytest.raises(PrivateAddress):
            await get(client, server)
        assert secret.connections == 0


async def test_a_huge_robots_txt_is_read_up_to_its_limit(client: PoliteClient, server: Hostile) -> None:
    body = CLOSED.encode() + b"# padding\n" * (SIZE_BYTES // 5)
    server.says("/robots.txt", 200, body)
    with pytest.raises(RobotsDisallow):
        await get(client, server, "/private")


async def test_many_who_want_to_know_ask_once(client: PoliteClient, server: Hostile) -> None:
    await asyncio.gather(*(get(client, server) for _ in range(6)))
    assert [asked.path for asked in server.asked].count("/robots.txt") == 1


async def test_a_redirect_is_judged_by_the_rules_of_where_it_leads(client: PoliteClient, server: Hostile) -> None:
    async with hostile_server() as elsewhere:
        server.says("/a", 302, location=f"{elsewhere.url}/private")
        elsewhere.says("/robots.txt", 200, CLOSED.replace("Crawl-delay: 7\n", ""))
        politeness = server.politeness(allow_private=[server.host, elsewhere.host])
        with pytest.raises(RobotsDisallow):
            await get(client, server, "/a", politeness=politeness)
        assert elsewhere.pages == []


class Origin:
    """An origin whose robots.txt is a text or a failure, and who counts."""

    def __init__(self, said: str | FetchFailure) -> None:
        self.said = said
        self.asked = 0

    async def fetch(self) -> str:
        self.asked += 1
        if isinstance(self.said, FetchFailure):
            raise self.said
        return self.said


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    cache = open_cache(None, Metrics("robots-test"))
    yield cache
    await cache.close()


async def test_rules_are_asked_for_once_a_day_and_shared_through_the_cache(cache: Cache) -> None:
    now = 0.0
    origin = Origin(CLOSED)
    robots = Robots(cache, clock=lambda: now)
    assert not (await robots.rules(ORIGIN, origin.fetch)).allows(f"{ORIGIN}/private", "Tidemill")
    replica = Robots(cache, clock=lambda: now)
    assert (await replica.rules(ORIGIN, origin.fetch)).crawl_delay("Tidemill") == 7
    now = FRESH.total_seconds()
    await robots.rules(ORIGIN, origin.fetch)
    assert origin.asked == 1
    now += 1
    origin.said = ""
    assert (await robots.rules(ORIGIN, origin.fetch)).allows(f"{ORIGIN}/private", "Tidemill")
    assert origin.asked == 2


async def test_an_older_copy_holds_for_a_week_while_the_host_is_away(cache: Cache) -> None:
    now = 0.0
    origin = Origin(CLOSED)
    robots = Robots(cache, clock=lambda: now)
    await robots.rules(ORIGIN, origin.fetch)
    origin.said = NetworkFailure("gone")
    now = 2 * DAY
    assert not (await robots.rules(ORIGIN, origin.fetch)).allows(f"{ORIGIN}/private", "Tidemill")
    now = KEPT.total_seconds()
    with pytest.raises(Held, match="gone"):
        await robots.rules(ORIGIN, origin.fetch)


async def test_a_host_that_was_away_is_asked_again_after_a_while(cache: Cache) -> None:
    now = 0.0
    origin = Origin(BadStatus(503, "503"))
    robots = Robots(cache, clock=lambda: now)
    for moment in (0.0, 1.0, UNREACHABLE.total_seconds() - 1):
        now = moment
        with pytest.raises(Held):
            await robots.rules(ORIGIN, origin.fetch)
    assert origin.asked == 1
    origin.said = CLOSED
    now = UNREACHABLE.total_seconds()
    await robots.rules(ORIGIN, origin.fetch)
    assert origin.asked == 2


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=30))
async def test_any_text_can_be_read_as_rules(text: str, path: str) -> None:
    rules = await Rules.parse(text, 0.0)
    assert rules.allows(f"{ORIGIN}/{path}", "Tidemill") in (True, False)
    delay = rules.crawl_delay("Tidemill")
    assert delay is None or delay > 0
