"""When a host may be asked next: the rules, without clock and without network."""

import heapq
from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.config.politeness import Politeness
from tidemill.common.http.pacing import (
    COOLDOWN_SECONDS,
    EXACT_SECONDS,
    FAILURES,
    HOLD_SECONDS,
    LEASE_SECONDS,
    LEAVING_SECONDS,
    SLOWNESS,
    Host,
    NotNow,
    Outcome,
    Terms,
    terms_of,
)
from tidemill.common.testing.hostile import most_in_a_second

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
ONCE = Terms("source", interval=1.0)
WELL = Outcome("well", 0.1)


def fetch(host: Host, now: float, outcome: Outcome = WELL, terms: Terms = ONCE) -> None:
    """One request that is admitted, and over at once."""
    assert host.admit(terms, "lease", now) is None
    host.finish("lease", outcome, now)


def test_requests_are_an_interval_apart() -> None:
    host = Host()
    fetch(host, NOW)
    assert host.admit(ONCE, "b", NOW + 0.5) == NotNow("rate", NOW + 1)
    assert host.admit(ONCE, "b", NOW + 1) is None


def test_only_so_many_are_under_way_at_once() -> None:
    host, terms = Host(), Terms("source", 0.001, concurrency=2)
    assert host.admit(terms, "a", NOW) is None
    assert host.admit(terms, "b", NOW + 1) is None
    wait = host.admit(terms, "c", NOW + 2)
    assert wait is not None
    assert wait.reason == "busy"
    host.finish("a", WELL, NOW + 3)
    assert host.admit(terms, "c", NOW + 3) is None


def test_the_place_of_a_crashed_request_is_free_after_a_while_unless_it_was_renewed() -> None:
    host = Host()
    assert host.admit(ONCE, "crashed", NOW) is None
    host.renew("crashed", NOW + 30)
    assert host.admit(ONCE, "next", NOW + LEASE_SECONDS + 1) is not None
    assert host.admit(ONCE, "next", NOW + 30 + LEASE_SECONDS) is None
    host.renew("unknown", NOW + 100)
    assert "unknown" not in host.leases


def test_a_longer_crawl_delay_holds_and_an_absurd_one_is_capped() -> None:
    politeness = Politeness(rate="2/s")
    assert terms_of("s", politeness).interval == 0.5
    assert terms_of("s", politeness, 10).interval == 10
    assert terms_of("s", politeness, 0.1).interval == 0.5
    assert terms_of("s", politeness, 86400).interval == 120


def test_the_slowest_source_sets_the_pace_for_all_until_it_has_gone() -> None:
    host, slow, quick = Host(), Terms("slow", 5.0), Terms("quick", 0.2)
    fetch(host, NOW, terms=slow)
    assert host.admit(quick, "b", NOW + 1) == NotNow("rate", NOW + 5)
    fetch(host, NOW + 5, terms=quick)
    assert host.admit(quick, "b", NOW + 6) == NotNow("rate", NOW + 10)
    fetch(host, NOW + 700, terms=quick)
    assert host.admit(quick, "b", NOW + 700.2) is None


def test_retry_after_is_obeyed_by_everybody_and_believed_for_a_day_at_most() -> None:
    host = Host()
    fetch(host, NOW, Outcome("pushback", 0.1, retry_after=120))
    assert host.admit(ONCE, "b", NOW + 119) == NotNow("not_before", NOW + 120)
    assert host.admit(ONCE, "b", NOW + 121) is None
    host.finish("b", Outcome("well", 0.1, retry_after=1e9), NOW + 121)
    assert host.admit(ONCE, "c", NOW + 122) == NotNow("not_before", NOW + 121 + HOLD_SECONDS)


def test_too_many_requests_slow_down_and_good_answers_speed_up_again() -> None:
    host = Host()
    fetch(host, NOW, Outcome("pushback", 0.01))
    assert host.interval(ONCE) == 2.0
    fetch(host, NOW + 2, Outcome("pushback", 0.01))
    assert host.interval(ONCE) == 4.0
    now = NOW
    for step in range(1, 30):
        now = NOW + 100 * step
        fetch(host, now)
    assert host.interval(ONCE) == 1.0


def test_slowing_down_has_an_end() -> None:
    host = Host()
    for step in range(20):
        host.leases["x"] = NOW + 1e6
        host.finish("x", Outcome("pushback"), NOW + step)
    assert host.slowness == SLOWNESS
    assert host.interval(Terms("s", 100.0)) == 300.0
    assert host.interval(Terms("s", 1000.0)) == 1000.0


def test_answers_that_take_longer_and_longer_slow_down_and_recover() -> None:
    host = Host()
    moments = count(NOW, 100.0)
    for _ in range(10):
        fetch(host, next(moments), Outcome("well", 0.1))
    assert host.interval(ONCE) == 1.0
    for _ in range(5):
        fetch(host, next(moments), Outcome("well", 5.0))
    assert 1.5 < host.interval(ONCE) <= 8.0
    for _ in range(40):
        fetch(host, next(moments), Outcome("well", 0.1))
    assert host.interval(ONCE) == 1.0


def test_the_breaker_opens_lets_one_probe_through_and_closes_when_it_goes_well() -> None:
    host = Host()
    for step in range(FAILURES):
        fetch(host, NOW + step, Outcome("failure"))
    opened = NOW + FAILURES - 1
    first, _ = COOLDOWN_SECONDS
    assert host.admit(ONCE, "a", opened + 1) == NotNow("breaker_open", opened + first)
    assert host.admit(ONCE, "probe", opened + first) is None
    wait = host.admit(ONCE, "other", opened + first + 2)
    assert wait == NotNow("breaker_open", opened + first + LEASE_SECONDS)
    host.finish("probe", WELL, opened + first + 3)
    assert host.admit(ONCE, "other", opened + first + 4) is None
    assert host.failures == 0


def test_a_probe_that_fails_doubles_the_wait_to_a_limit() -> None:
    host = Host()
    now = NOW
    for _ in range(FAILURES):
        now += 1
        fetch(host, now, Outcome("failure"))
    first, longest = COOLDOWN_SECONDS
    for expected in (first, first * 2, first * 4, first * 8, first * 16, longest, longest):
        assert host.open_until == now + expected
        now = host.open_until
        fetch(host, now, Outcome("failure"))


def test_a_probe_that_crashed_or_was_given_up_is_followed_by_another() -> None:
    host = Host(open_until=NOW, cooldown=30)
    assert host.admit(ONCE, "crashed", NOW) is None
    assert host.admit(ONCE, "second", NOW + 1) is not None
    assert host.admit(ONCE, "second", NOW + LEASE_SECONDS) is None
    host.finish("second", Outcome("unknown"), NOW + LEASE_SECONDS + 1)
    assert host.admit(ONCE, "third", NOW + LEASE_SECONDS + 2) is None


def test_failures_that_come_in_late_do_not_hold_an_open_breaker_open() -> None:
    host, many = Host(), Terms("s", 0.001, concurrency=20)
    for number in range(10):
        assert host.admit(many, f"lease {number}", NOW + number) is None
    for number in range(10):
        host.finish(f"lease {number}", Outcome("failure"), NOW + 10 + number)
    assert host.open_until == NOW + 10 + FAILURES - 1 + COOLDOWN_SECONDS[0]


def test_a_budget_is_spent_until_midnight_of_its_zone() -> None:
    host = Host()
    budapest = Terms("source", 1.0, budget=2, zone="Europe/Budapest")
    fetch(host, NOW, terms=budapest)
    fetch(host, NOW + 10, terms=budapest)
    midnight = datetime(2026, 11, 23, tzinfo=ZoneInfo("Europe/Budapest")).timestamp()
    assert host.admit(budapest, "c", NOW + 20) == NotNow("budget_spent", midnight)
    assert host.admit(Terms("other", 1.0, budget=2), "c", NOW + 20) is None
    assert host.admit(budapest, "d", midnight) is None


def test_what_a_ledger_remembers_makes_it_stricter_and_never_more_lenient() -> None:
    host, terms = Host(), Terms("source", 1.0, budget=5)
    host.restore("source", "2026-11-22", 4, NOW + 60)
    assert host.admit(terms, "a", NOW) == NotNow("not_before", NOW + 60)
    fetch(host, NOW + 60, terms=terms)
    host.restore("source", "2026-11-22", 3, 0.0)
    host.restore("source", "2026-11-21", 0, 0.0)
    wait = host.admit(terms, "b", NOW + 61)
    assert wait is not None
    assert wait.reason == "budget_spent"


def test_a_late_request_begins_again_without_being_counted_twice() -> None:
    host, terms = Host(), Terms("source", 1.0, budget=5, concurrency=2)
    assert host.admit(terms, "slow", NOW) is None
    assert host.begin_again(terms, "slow", NOW + 0.7) is None
    host.left("slow", 0.0, NOW + 0.7)
    assert host.admit(terms, "next", NOW + 1.2) == NotNow("rate", NOW + 1.7)
    assert host.admit(terms, "next", NOW + 1.7) is None
    assert host.begin_again(terms, "slow", NOW + 2) == NotNow("rate", NOW + 2.7)
    assert host.spent["source"] == ("2026-11-22", 2)


def test_the_next_request_keeps_its_distance_to_one_that_left_late() -> None:
    host = Host()
    assert host.admit(ONCE, "late", NOW) is None
    host.left("late", 0.6, NOW + 0.7)
    host.finish("late", WELL, NOW + 0.8)
    assert host.admit(ONCE, "b", NOW + 1.2) == NotNow("rate", NOW + 1.6)


def test_the_next_request_waits_for_the_word_that_the_one_before_has_left() -> None:
    host, terms = Host(), Terms("source", EXACT_SECONDS, concurrency=3)
    assert host.admit(terms, "slow", NOW) is None
    assert host.begin_again(terms, "slow", NOW) is None
    wait = host.admit(terms, "next", NOW + 1)
    assert wait is not None
    assert wait.reason == "rate"
    host.left("slow", 1.1, NOW + 1.2)
    assert host.admit(terms, "next", NOW + 1.2) == NotNow("rate", pytest.approx(NOW + 1.3))
    assert host.admit(terms, "next", NOW + 1.31) is None


@pytest.mark.parametrize("how", ["it crashed", "it was given up"])
def test_a_request_that_never_leaves_does_not_hold_the_others(how: str) -> None:
    host, terms = Host(), Terms("source", EXACT_SECONDS, concurrency=3)
    assert host.admit(terms, "lost", NOW) is None
    assert host.begin_again(terms, "lost", NOW) is None
    if how == "it was given up":
        host.finish("lost", Outcome("unknown"), NOW + 0.1)
        assert host.admit(terms, "next", NOW + EXACT_SECONDS + 0.01) is None
    else:
        assert host.admit(terms, "next", NOW + LEAVING_SECONDS - 0.01) == NotNow("rate", NOW + LEAVING_SECONDS)
        assert host.admit(terms, "next", NOW + LEAVING_SECONDS) is None


@given(
    rate=st.integers(1, 5),
    stalls=st.lists(st.tuples(st.floats(0, 0.4), st.floats(0, 1.9), st.floats(0, 0.05)), min_size=40, max_size=40),
)
def test_replicas_that_are_kept_waiting_anywhere_keep_the_rate(
    rate: int, stalls: list[tuple[float, float, float]]
) -> None:
    """Each of four: admitted, stalled, asks once more, stalled, sends, says so. Nothing is known of the stalls."""
    host, terms = Host(), Terms("source", 1 / rate, concurrency=8)
    sent: list[float] = []
    waiting = iter(enumerate(stalls))

    def replica() -> Generator[float, float, None]:
        """Yields how long it does nothing; is sent the time."""
        now = yield 0.0
        for number, (before, between, after) in waiting:
            lease = str(number)
            while wait := host.admit(terms, lease, now):
                now = yield wait.until - now
            now = yield before
            while wait := host.begin_again(terms, lease, now):
                now = yield wait.until - now
            begun = now
            now = yield between
            sent.append(now)
            now = yield after
            host.left(lease, between, now)
            assert begun + between == pytest.approx(sent[-1])
            host.finish(lease, WELL, now)

    queue: list[tuple[float, int, Generator[float, float, None]]] = []
    for number in range(4):
        going = replica()
        next(going)
        heapq.heappush(queue, (NOW, number, going))
    while queue:
        now, number, going = heapq.heappop(queue)
        with suppress(StopIteration):
            heapq.heappush(queue, (now + max(going.send(now), 1e-6), number, going))
    assert len(sent) == len(stalls)
    assert min(b - a for a, b in pairwise(sent)) >= terms.interval - 1e-3


def test_a_late_request_does_not_begin_when_the_host_said_no_meanwhile() -> None:
    host, terms = Host(), Terms("source", 0.1, concurrency=2)
    assert host.admit(terms, "a", NOW) is None
    assert host.admit(terms, "late", NOW + 1) is None
    host.finish("a", Outcome("pushback", 0.1, retry_after=60), NOW + 1.1)
    assert host.begin_again(terms, "late", NOW + 2) == NotNow("not_before", NOW + 61.1)


def test_how_many_could_begin() -> None:
    host, terms = Host(), Terms("source", 1.0, concurrency=3, budget=10)
    assert host.startable(terms, NOW, 0) == 1
    assert host.startable(terms, NOW, 10) == 3
    assert host.admit(terms, "a", NOW) is None
    assert host.startable(terms, NOW + 0.5, 0) == 0
    assert host.startable(terms, NOW + 0.5, 0.5) == 1
    assert host.startable(terms, NOW + 1, 60) == 2
    assert host.startable(Terms("source", 1.0, concurrency=3, budget=2), NOW + 1, 60) == 1
    assert host.startable(Terms("source", 1.0, concurrency=3, budget=1), NOW + 1, 60) == 0
    host.finish("a", Outcome("well", 0.1, retry_after=100), NOW + 2)
    assert host.startable(terms, NOW + 3, 60) == 0
    half_open = Host(open_until=NOW)
    assert half_open.startable(terms, NOW, 60) == 1
    assert half_open.admit(terms, "probe", NOW) is None
    assert half_open.startable(terms, NOW, 60) == 0


def test_a_clock_that_was_set_back_holds_nothing_for_ever() -> None:
    host = Host()
    fetch(host, NOW + 1e6, Outcome("pushback", 0.1, retry_after=100))
    assert host.admit(ONCE, "b", NOW) is not None
    assert host.admit(ONCE, "b", NOW + HOLD_SECONDS) is None


def test_a_state_survives_its_journey_and_fields_of_another_version_do_no_harm() -> None:
    host = Host()
    fetch(host, NOW + 0.123456, Outcome("pushback", 0.1, retry_after=5))
    assert Host.from_json(host.to_json()).to_json() == host.to_json()
    assert Host.from_json('{"last_at": 5.0, "colour": "blue"}') == Host(last_at=5.0)
    assert Host.from_json(b"") == Host()


OUTCOMES = st.sampled_from(["well", "pushback", "failure", "unknown"])


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5), OUTCOMES, st.booleans()), max_size=120),
)
def test_whatever_happens_rate_concurrency_and_the_single_probe_hold(
    rate: int, concurrency: int, steps: list[tuple[float, int, str, bool]]
) -> None:
    host, terms = Host(), Terms("source", 1 / rate, concurrency)
    now, begun, open_leases = NOW, [], {}
    for number, (pause, pick, kind, lost) in enumerate(steps):
        now += pause
        if host.admit(terms, str(number), now) is None:
            begun.append(now)
            open_leases[str(number)] = now
            assert len(host.leases) <= concurrency
        if open_leases and pick:
            lease = list(open_leases)[pick % len(open_leases)]
            del open_leases[lease]
            if not lost:
                host.finish(lease, Outcome(kind), now)  # type: ignore[arg-type]
        host = Host.from_json(host.to_json())
        if host.probe:
            assert host.probe in host.leases
    assert most_in_a_second([(moment, moment) for moment in begun]) <= rate + 1
    assert all(later - earlier >= 1 / rate - 1e-5 for earlier, later in pairwise(begun))


@pytest.mark.parametrize("text", ["0/s", "1", "1/d", "-1/s", "1e9/s", "a/s", "", "2000/s", f"0.{'0' * 30}1/h"])
def test_a_rate_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|second|lifetime|pattern"):
        Politeness(rate=text)


def test_politeness_is_said_in_words() -> None:
    politeness = Politeness.model_validate({"rate": "30/m", "zone": "Europe/Budapest", "allow_private": ["[::1]:80"]})
    assert politeness.interval.total_seconds() == 2
    with pytest.raises(ValueError, match="zone"):
        Politeness(zone="Europe/Nowhere")
    with pytest.raises(ValueError, match="pattern"):
        Politeness(allow_private=("127.0.0.1",))
    with pytest.raises(ValueError, match="pattern"):
        Politeness(user_agent="Bot\r\nX: y")
