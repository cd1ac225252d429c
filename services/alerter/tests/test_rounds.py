"""From an event to a message, on real servers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tidemill.alerter.notify import Reason
from tidemill.alerter.retention import LAYERS
from tidemill.common.events import AnomalyFound, DocumentFailed, RunFinished

pytestmark = pytest.mark.servers


def finished(station: Any, state: str, source: str = "paper", **more: Any) -> RunFinished:
    now = station.clock()
    return RunFinished(
        source=source,
        run=f"{source}-{now:%H%M%S}",
        state=state,
        trigger="schedule",
        requested_at=now - timedelta(minutes=1),
        finished_at=now,
        **more,
    )


def failed(station: Any, item: int) -> DocumentFailed:
    return DocumentFailed(
        source="paper", run="paper-1", item=f"i{item}", failure="http", detail="503", failed_at=station.clock()
    )


async def test_a_failed_run_is_told_once_and_its_end_with_the_duration(station: Any) -> None:
    async with station.running():
        await station.say(finished(station, "failed", reason="http", items=3, failed=3))
        await station.look()
        assert await station.states() == {"run_failed": "firing"}
        (first,) = await station.told()
        assert first.startswith("[error] paper: run paper-") and "(http), 3 of 3 items failed" in first
        await station.look(minutes=30)
        station.clock.pass_by(minutes=30)
        await station.say(finished(station, "complete", new=1))
        await station.look()
        assert await station.states() == {"run_failed": "resolved"}
        assert [each[:10] for each in await station.told()] == ["[error] pa", "[resolved]"]
        (row,) = await station.sql("SELECT content ->> 'text' AS text FROM alerter.deliveries ORDER BY id DESC LIMIT 1")
        assert row.text.startswith("RESOLVED after 1 h 0 min")
        events = await station.sql(
            "SELECT subject FROM alerter.outbox WHERE subject LIKE 'tidemill.alert.%' ORDER BY id"
        )
        assert [row.subject for row in events] == [
            "tidemill.alert.fired.run_failed",
            "tidemill.alert.resolved.run_failed",
        ]


async def test_ten_thousand_failures_of_one_cause_are_one_message_with_a_count(station: Any) -> None:
    async with station.running():
        for batch in range(10):
            await station.say(*(failed(station, batch * 1000 + n) for n in range(1000)))
        await station.look()
        await station.look(minutes=10)
        assert await station.told() == ["[error] paper: 10,000 documents could not be had (http)"]
        assert (await station.sql("SELECT count(*) AS n FROM alerter.signals"))[0].n <= 2


async def test_replicas_share_the_rounds_and_tell_once(station: Any) -> None:
    async with station.running():
        await station.say(finished(station, "failed"))
        replicas = [station.make_replica() for _ in range(3)]
        assert sum([await replica._is_mine() for replica in replicas]) == 1
        station.clock.pass_by(seconds=15)
        # Even if all of them look at the same moment: whoever comes second finds it told.
        await asyncio.gather(*(replica.round() for replica in replicas))
        assert len(await station.told()) == 1


async def test_a_round_that_dies_before_its_commit_leaves_nothing_and_the_next_one_tells(station: Any) -> None:
    async with station.running():
        await station.say(finished(station, "failed"))
        dying = station.make_replica()

        async def die(*_: Any) -> None:
            raise RuntimeError("killed")

        dying._bus = _Failing(station.bus, die)
        with pytest.raises(RuntimeError):
            await dying.round()
        assert not await station.told() and not await station.states()
        await station.look()
        assert len(await station.told()) == 1


class _Failing:
    """A bus whose last word of a transaction fails."""

    def __init__(self, bus: Any, fail: Any) -> None:
        self.transaction = bus.transaction
        self.emit = fail


async def test_a_rule_that_was_switched_off_ends_its_alert(station: Any) -> None:
    async with station.running():
        await station.say(finished(station, "failed"))
        await station.look()
        station.configure("alerter: {rules: {run_failed: {enabled: false}}}")
        looked = await station.look()
        assert await station.states() == {"run_failed": "resolved"}
        assert {decision.reason for decision in looked.decisions} <= {Reason.NOTHING}


async def test_an_acknowledged_alert_is_not_repeated_and_its_end_is_told(station: Any) -> None:
    async with station.running(station.commands.commands()):
        await station.say(finished(station, "failed"))
        await station.look()
        (row,) = await station.sql("SELECT id FROM alerter.alerts")
        answer = await station.bus.request(
            "tidemill.ctl.alerter.ack", {"alert": row.id, "actor": "eva", "note": "mine"}
        )
        assert answer["acknowledged"] == [row.id]
        await station.look(hours=5)
        assert await station.states() == {"run_failed": "acknowledged"} and len(await station.told()) == 1
        await station.say(finished(station, "complete"))
        await station.look()
        assert (await station.told())[1].startswith("[resolved]")
        subjects = {row.subject for row in await station.sql("SELECT subject FROM alerter.outbox")}
        assert {"tidemill.alert.acknowledged.run_failed", "tidemill.command.done.alerter"} <= subjects


async def test_a_silence_shows_what_it_hides_and_ends(station: Any) -> None:
    async with station.running(station.commands.commands()):
        request = {"match": ["source=paper"], "until": "2h", "actor": "eva", "comment": "they move"}
        await station.ask("silence", **request)
        await station.say(finished(station, "failed"))
        await station.look()
        ((hidden,),) = await station.sql("SELECT hidden FROM alerter.alerts")
        assert hidden == "silence 1" and not await station.told()
        again = await station.ask("silence", **request)
        assert len(again["hides"]) == 1
        for silence in (1, 2):
            await station.ask("end_silence", silence=silence)
        await station.look()
        assert len(await station.told()) == 1


async def test_an_anomaly_is_told_with_its_band_and_one_of_quality_once(station: Any) -> None:
    def found(measure: str, severity: str = "warning", value: float = 0.4) -> AnomalyFound:
        return AnomalyFound(
            source="homes",
            day="2026-03-02",
            measure=measure,
            title="mean quality",
            severity=severity,
            value=value,
            low=0.8,
            high=0.95,
            found_at=station.clock(),
        )

    async with station.running():
        await station.say(found("listings.listing.quality"), found("records.new", "info"))
        await station.look()
        assert await station.states() == {"anomaly": "firing", "quality_drop": "firing"}
        assert await station.told() == ["[warning] homes: listings.listing.quality has dropped"]
        ((says,),) = await station.sql("SELECT description FROM alerter.alerts WHERE rule = 'quality_drop'")
        assert says == "mean quality of 2026-03-02 is 0.4, expected were 0.8 to 0.95"


async def test_quality_that_rises_is_unusual_and_no_drop(station: Any) -> None:
    band = {"source": "homes", "day": "2026-03-02", "severity": "warning", "low": 0.8, "high": 0.95}
    async with station.running():
        await station.say(
            AnomalyFound(**band, measure="listings.listing.quality", value=0.99, found_at=station.clock())
        )
        await station.look()
        assert await station.states() == {"anomaly": "firing"}


async def test_facts_and_silences_go_after_their_time(station: Any) -> None:
    old = station.clock() - timedelta(days=40)
    await station.sql(
        "INSERT INTO alerter.signals (event, digest, minute, labels, count, at, says, run, traceparent, noted_at) "
        "VALUES ('RunFinished', 'a', :at, '{}', 1, :at, '', '', '', :at)",
        at=old,
    )
    await station.sql(
        "INSERT INTO alerter.samples (measure, digest, at, labels, says) VALUES ('disk_free', 'a', :at, '{}', '')",
        at=old,
    )
    await station.sql(
        "INSERT INTO alerter.silences (matchers, author, comment, starts_at, ends_at) "
        "VALUES ('{a=b}', '', '', :at, :at)",
        at=old,
    )
    before = station.clock() - timedelta(days=30)
    async with station.engine.begin() as tx:
        assert [(await layer.find(tx, before)).items for layer in LAYERS] == [1, 1, 1, 0]
        assert [await layer.remove(tx, before, 10) for layer in LAYERS] == [1, 1, 1, 0]
