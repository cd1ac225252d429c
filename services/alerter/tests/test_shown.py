"""What a round measures, as Prometheus sees it."""

from datetime import timedelta
from typing import Any

import pytest
from nats.js import api

from tidemill.alerter.measures.declared import MEASURES
from tidemill.alerter.measures.gather import Gathering
from tidemill.alerter.measures.shown import GAUGES, Shown
from tidemill.common.telemetry.metrics import Metrics, value

WHO = {"service": "shown"}


def test_a_gauge_has_the_labels_of_its_measure() -> None:
    assert {measure: gauge.labels for measure, gauge in GAUGES.items()} == {
        measure: MEASURES[measure].labels for measure in GAUGES
    }


@pytest.mark.servers
async def test_what_waits_is_shown_with_its_age_until_another_replica_makes_the_rounds(station: Any) -> None:
    js = station.nc.jetstream()
    for number in range(5):
        await js.publish(f"tidemill.trigger.s{number}", b"{}")
    await js.add_consumer("TRIGGERS", api.ConsumerConfig(durable_name="late", ack_policy=api.AckPolicy.EXPLICIT))
    (first, _) = await (await js.pull_subscribe_bind("late", "TRIGGERS")).fetch(2)
    await first.ack_sync()
    await station.sql(
        "INSERT INTO scheduler.backups (folder, name, began_at, finished_at, good, scheduled, bytes, problem) "
        f"VALUES ('/b', 'a', '{station.clock() - timedelta(hours=2)}', now(), true, true, 1, '')"
    )
    station.clock.pass_by(seconds=100)
    gathering = Gathering(station.bus, station.engine, station.config, station.sources, frozenset(), station.clock)
    assert await gathering.gather() == []  # No rule is about any of it.
    shown = Shown(Metrics("shown"))
    shown.show(gathering.seen, gathering.consumers, gathering.streams)
    late = {**WHO, "consumer": "late"}
    assert value("tidemill_consumer_waiting", **late) == 4
    assert value("tidemill_consumer_in_hand", **late) == 1
    assert 95 < value("tidemill_consumer_oldest_seconds", **late) < 160
    triggers = {**WHO, "stream": "TRIGGERS"}
    assert (value("tidemill_stream_messages", **triggers), value("tidemill_stream_sequence", **triggers)) == (5, 5)
    assert value("tidemill_stream_limit_bytes", **triggers) == 64 << 20
    assert 7200 <= value("tidemill_backup_age_seconds", **WHO) < 7400
    assert value("tidemill_database_bytes", **WHO, schema="alerter") > 0
    assert value("tidemill_database_connections", **WHO, state="active") >= 1
    assert 0 < value("tidemill_disk_free_ratio", **WHO) < 1
    shown.clear()
    assert value("tidemill_consumer_waiting", **late) == 0
    assert value("tidemill_disk_free_ratio", **WHO) == 0
