"""What measured values say beside their number: of one row, not of several at once."""

from typing import Any

import pytest

from tidemill.alerter.measures.queries import Asked

pytestmark = pytest.mark.servers

TARGETS = """
INSERT INTO scraper.targets (source, item, identity, url, host, path, name, first_seen_at, seen_at, seen_run,
    seen_search, failures, failure, given_up)
SELECT 'homes', page, page, 'https://example.org/' || page, 'example.org', page, page, now(), now(), 'homes-1', 0, 5,
    failure, true FROM (VALUES ('a', 'timeout'), ('b', 'http')) AS given_up(page, failure)
"""
DEAD_LETTERS = """
INSERT INTO downloader.dead_letters (consumer, event_id, origin_id, source, subject, payload, headers, reason, error,
    attempts)
SELECT consumer, error, error, 'paper', '', '', '{}', 'poison', error, 1
FROM (VALUES ('second', 'this came first'), ('first', 'and this later')) AS died(consumer, error)
"""
DELIVERIES = """
INSERT INTO alerter.deliveries (message, channel, recipient, key, kind, thread, content, state, stated_at, due_at,
    reply, ended_at)
SELECT reply, 'chat', '', reply, 'alert.firing', '', '{}', 'given_up', now(), now(), reply,
    now() - ago * interval '1 minute'
FROM (VALUES ('550 the last one', 1), ('999 an older one', 2)) AS given_up(reply, ago)
"""
SILENT = """
INSERT INTO config.acknowledgements (service, instance, version, running, restart, began_at, seen_at)
SELECT 'watcher', instance, 1, 1, '{}', now() - interval '1 hour', now() - ago * interval '1 minute'
FROM (VALUES ('a', 5), ('b', 10)) AS silent(instance, ago)
"""


@pytest.mark.parametrize(
    ("given", "measure", "value", "says"),
    [
        (TARGETS, "targets_given_up", 2, "for instance https://example.org/a: timeout"),
        (DEAD_LETTERS, "dead_letters", 2, "the oldest: second, this came first"),
        (DELIVERIES, "undelivered", 2, "550 the last one"),
        (SILENT, "replicas_lost", 2, "b gave its last sign of life at"),
    ],
)
async def test_what_is_said_is_of_one_row(station: Any, given: str, measure: str, value: float, says: str) -> None:
    await station.sql(given)
    async with station.engine.connect() as connection:
        (sample,) = await Asked(frozenset([measure])).gather(connection, station.clock())
    assert sample.value == value and sample.says.startswith(says)
