"""Loops that look again and again, together."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.waiting import on_the_beat, woken


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


def wakes(clock: Clock, seconds: float, *, until: float, work: float = 0.0) -> list[float]:
    """When a loop wakes that rests `seconds` after `work` seconds of work."""
    found = []
    while clock.now < until:
        clock.now += on_the_beat(seconds)
        found.append(round(clock.now, 6))
        clock.now += work
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1000.3)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


@pytest.mark.parametrize(("seconds", "beat"), [(1, 1), (2, 2), (4, 4), (5, 4), (10, 8), (15, 16), (16, 16), (30, 32)])
def test_a_loop_keeps_its_beat(clock: Clock, seconds: float, beat: float) -> None:
    after_the_first = wakes(clock, seconds, until=1200, work=0.2)[1:]
    assert all(at % beat == 0 for at in after_the_first)
    assert {b - a for a, b in pairwise(after_the_first)} == {beat}


def test_who_looks_seldom_wakes_with_who_looks_often(clock: Clock) -> None:
    often = set(wakes(clock, 2, until=1100))
    clock.now = 1000.9
    assert set(wakes(clock, 10, until=1090)) <= often
    clock.now = 1001.7
    assert set(wakes(clock, 16, until=1080)) <= often


@given(now=st.floats(0, 1e6), seconds=st.floats(1, 1e4))
def test_never_longer_than_a_quarter_more_and_never_at_once(now: float, seconds: float) -> None:
    clock = Clock(now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: clock)
        pause = on_the_beat(seconds)
    assert 0.05 * seconds - 1e-6 <= pause <= 1.25 * seconds + 1e-6


def test_what_is_shorter_than_a_second_is_as_long_as_it_says(clock: Clock) -> None:
    assert on_the_beat(0.25) == 0.25


async def test_woken_says_whether_it_was_in_time() -> None:
    event = asyncio.Event()
    assert not await woken(event, 0.01)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await woken(event, 5)
