"""An HTTP geocoder is asked once for each address, within its budget, and what it says is marked as its word."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from tidemill.common.cache import InProcessCache
from tidemill.common.config.politeness import Politeness
from tidemill.common.http import PoliteClient, open_limits
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.testing.site import Site, open_site
from tidemill.converter.geocoder import Geocoder, name_of, read_answer
from tidemill.converter.settings import GeocoderSettings

from .store_kit import Store

METRICS = Metrics("converter")
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


async def always() -> None:
    pass


class Asking:
    def __init__(self, store: Store, site: Site, client: PoliteClient) -> None:
        self.store = store
        self.site = site
        self.client = client
        self.now = NOON

    def open(self, **settings: int) -> Geocoder:
        politeness = Politeness(rate="1000/s", allow_private=(self.site.host,), obey_robots=False)
        url = self.site.url("/search?q={address}")
        wanted = GeocoderSettings(url=url, politeness=politeness, attribution="© Site", **settings)
        return Geocoder(self.store.engine, self.client, wanted, always, lambda: self.now)

    async def question(self, content: int, question: str) -> None:
        async with self.store.engine.begin() as tx:
            await tx.exec_driver_sql(
                "INSERT INTO converter.enriched (dataset, content, enricher, at, version, reference, question)"
                " VALUES (1, $1, 'place', now(), '1', 'x', $2)",
                (content, question),
            )

    def knows(self, question: str, *found: dict[str, object]) -> None:
        self.site.put(f"/search?q={quote(question, safe='')}", json.dumps(found).encode())


@pytest.fixture
async def asking(store: Store) -> AsyncIterator[Asking]:
    limits = open_limits(None, METRICS)
    async with open_site() as site, PoliteClient(limits, InProcessCache(METRICS), METRICS) as client:
        yield Asking(store, site, client)
    await limits.close()


@pytest.mark.servers
async def test_each_address_is_asked_once_and_what_waits_for_it_is_made_anew(asking: Asking) -> None:
    asking.knows("Katu 1, 00100 Helsinki", {"lat": "60.17", "lon": 24.94})
    for content in (1, 2):
        await asking.question(content, "Katu 1, 00100 Helsinki")
    geocoder = asking.open()
    assert await geocoder.ask_one()
    assert not await geocoder.ask_one()
    assert sum(asking.site.counts().values()) == 1
    rows = await asking.store.rows("SELECT version, question FROM converter.enriched")
    assert rows == [{"version": "", "question": None}] * 2
    (kept,) = await asking.store.rows("SELECT latitude, longitude, attribution, reason FROM converter.geocoded")
    assert kept == {"latitude": 60.17, "longitude": 24.94, "attribution": "© Site", "reason": ""}


@pytest.mark.servers
async def test_what_it_does_not_know_is_kept_too(asking: Asking) -> None:
    asking.knows("Nowhere 1")
    await asking.question(1, "Nowhere 1")
    await asking.question(2, "Not Found 1")
    geocoder = asking.open()
    assert await geocoder.ask_one() and await geocoder.ask_one()
    assert not await geocoder.ask_one()
    rows = await asking.store.rows("SELECT latitude, reason FROM converter.geocoded ORDER BY question")
    assert rows[1] == {"latitude": None, "reason": "the answer holds no place"}
    assert rows[0]["reason"].startswith("http: ")


@pytest.mark.servers
async def test_the_budget_of_a_day_ends_it_until_the_next(asking: Asking) -> None:
    for number in range(3):
        asking.knows(f"Street {number}", {"lat": 1, "lon": 2})
        await asking.question(number, f"Street {number}")
    geocoder = asking.open(a_day=2)
    assert [await geocoder.ask_one() for _ in range(3)] == [True, True, False]
    assert sum(asking.site.counts().values()) == 2


@pytest.mark.servers
async def test_another_day_has_its_own_budget(asking: Asking) -> None:
    asking.knows("Street 1", {"lat": 1, "lon": 2})
    await asking.question(1, "Street 1")
    async with asking.store.engine.begin() as tx:
        await tx.exec_driver_sql(
            "INSERT INTO converter.geocoded (question, attribution, asked_at) VALUES ('x', '', $1)", (NOON,)
        )
    geocoder = asking.open(a_day=1)
    assert not await geocoder.ask_one()
    asking.now += timedelta(days=1)
    assert await geocoder.ask_one()


@pytest.mark.servers
async def test_while_it_does_not_answer_nothing_is_kept(asking: Asking) -> None:
    asking.knows("Street 1", {"lat": 1, "lon": 2})
    asking.site.statuses[f"/search?q={quote('Street 1')}"] = [503]
    await asking.question(1, "Street 1")
    geocoder = replace(asking.open(), again_seconds=0.0)
    assert not await geocoder.ask_one()
    assert await asking.store.rows("SELECT 1 FROM converter.geocoded") == []


def test_an_answer_is_read_by_the_paths_of_the_settings() -> None:
    features = GeocoderSettings(
        url="https://maps.example/{address}",
        latitude="features.0.geometry.coordinates.1",
        longitude="features.0.geometry.coordinates.0",
        precision="building",
    )
    content = json.dumps({"features": [{"geometry": {"coordinates": [24.94, 60.17]}}]}).encode()
    found = read_answer(content, features)
    assert (found.latitude, found.longitude, found.precision) == (60.17, 24.94, "building")
    for wrong in (b"", b"[]", b"{}", b"null", b'{"features": []}', b"\xff"):
        assert read_answer(wrong, features).latitude is None
    assert "no place on Earth" in read_answer(b'[{"lat": 100, "lon": 0}]', GeocoderSettings()).reason


def test_a_geocoder_is_off_unless_a_url_says_where_the_address_goes() -> None:
    assert name_of(GeocoderSettings()) == ""
    with pytest.raises(ValidationError):
        GeocoderSettings(url="https://maps.example/search")
    assert name_of(GeocoderSettings(url="https://maps.example/{address}"))
