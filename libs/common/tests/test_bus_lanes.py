"""Slots and lanes: what is urgent overtakes, what is not still advances, nothing is fetched that cannot be begun."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

pytestmark = pytest.mark.servers


class Gated:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = False
        self._gates: dict[str, asyncio.Event] = {}

    async def __call__(self, delivery: Any) -> str:
        self.begun.append(delivery.id)
        if not self.open:
            gate = self._gates[delivery.id] = asyncio.Event()
            await gate.wait()
        return str(delivery.event.sha256)

    def finish(self, id: str) -> None:
        self._gates.pop(id).set()

    def finish_all(self) -> None:
        """These, and those that come."""
        self.open = True
        for gate in self._gates.values():
            gate.set()


@pytest.mark.slow
async def test_behind_500_others_an_urgent_one_is_taken_by_the_next_free_slot(ground: Any) -> None:
    work = Gated()
    await ground.publish(*(f"lo{number:03}" for number in range(500)), lane="lo")
    async with ground.bus(ground.step(work=work, lanes=("hi", "lo"), slots=4)):
        # A moment after the start one slot waits for the urgent; occupied with all four, none does.
        await ground.until(lambda: len(work.begun) == 4)
        await ground.publish("urgent", lane="hi")
        await asyncio.sleep(0.3)
        assert "urgent" not in work.begun
        work.finish(work.begun[0])
        await ground.until(lambda: len(work.begun) == 5)
        assert work.begun[4] == "urgent"
        work.finish_all()
        await ground.until(lambda: len(work.begun) == 501, within=30)


async def test_low_ones_advance_while_urgent_ones_never_end(ground: Any) -> None:
    done: list[str] = []

    async def work(delivery: Any) -> str:
        await asyncio.sleep(0.02)
        done.append(delivery.id)
        return str(delivery.event.sha256)

    await ground.publish(*(f"hi{number:03}" for number in range(300)), lane="hi")
    await ground.publish(*(f"lo{number:03}" for number in range(20)), lane="lo")
    async with ground.bus(ground.step(work=work, lanes=("hi", "lo"), slots=4)):
        await ground.until(lambda: sum(id.startswith("lo") for id in done) == 20, within=20)
        assert sum(id.startswith("hi") for id in done) < 300
        await ground.until_recorded(320, within=20)


async def test_with_one_slot_the_urgent_come_first_and_the_others_in_between(ground: Any) -> None:
    done: list[str] = []

    async def work(delivery: Any) -> str:
        done.append(delivery.id)
        return str(delivery.event.sha256)

    await ground.publish(*(f"lo{number:02}" for number in range(10)), lane="lo")
    await ground.publish(*(f"hi{number:02}" for number in range(60)), lane="hi")
    async with ground.bus(ground.step(work=work, lanes=("hi", "lo"), slots=1)):
        await ground.until_recorded(70, within=30)
    first = done[:40]
    assert sum(id.startswith("hi") for id in first) > 30
    assert any(id.startswith("lo") for id in first)


async def test_nothing_is_fetched_beyond_the_free_slots(ground: Any) -> None:
    work = Gated()
    await ground.publish(*(f"d{number:02}" for number in range(30)))
    async with ground.bus(ground.step(work=work, slots=3)):
        await ground.until(lambda: len(work.begun) == 3)
        await asyncio.sleep(0.3)
        info = await ground.nc.jetstream().consumer_info("DOCUMENTS", "store")
        assert info.num_ack_pending == 3
        work.finish(work.begun[0])
        await ground.until(lambda: len(work.begun) == 4)
        await asyncio.sleep(0.2)
        assert len(work.begun) == 4
        work.finish_all()
        await ground.until_recorded(30)


@pytest.mark.parametrize(("lane", "together"), [("lo", range(20, 61)), ("hi", range(1, 41))])
async def test_a_patient_step_records_more_at_a_time_unless_it_is_urgent(
    ground: Any, lane: str, together: range
) -> None:
    sizes: list[int] = []

    async def work(delivery: Any) -> str:
        await asyncio.sleep(0.015 * int(delivery.id))  # The last after 0.9 s.
        return str(delivery.event.sha256)

    async def record(tx: Any, results: Sequence[Any]) -> list[Any]:
        sizes.append(len(results))
        return list(await ground.record(tx, results))

    await ground.publish(*(f"{number:02}" for number in range(1, 61)), lane=lane)
    step = ground.step(work=work, record=record, lanes=("hi", "lo"), slots=64, patience=timedelta(seconds=5))
    async with ground.bus(step):
        await ground.until_recorded(60)
    assert max(sizes) in together


async def test_both_lanes_have_durables_of_their_own(ground: Any) -> None:
    async with ground.bus(ground.step(lanes=("hi", "lo"))):
        await ground.publish("a", lane="hi")
        await ground.publish("b", lane="lo")
        await ground.until_recorded(2)
        for durable in ("store-hi", "store-lo"):
            await ground.until_settled(durable)
    js = ground.nc.jetstream()
    hi = (await js.consumer_info("DOCUMENTS", "store-hi")).config
    assert hi.filter_subject == "tidemill.document.stored.hi.*"
    lo = (await js.consumer_info("DOCUMENTS", "store-lo")).config
    assert lo.filter_subject == "tidemill.document.stored.lo.*"
