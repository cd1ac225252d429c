"""When a message is sent again: whatever is answered, it is tried, not too often, and comes to an end."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.retry import LONGEST_PAUSE, Again, End, after_reply, pause_after

STATED = datetime(2026, 1, 5, 8, tzinfo=UTC)
durations = st.timedeltas(timedelta(seconds=1), timedelta(days=2))
luck = st.floats(0, 1)
replies = st.builds(
    Reply,
    verdict=st.sampled_from(("taken", "later", "never")),
    text=st.just("whatever"),
    after=st.none() | st.timedeltas(timedelta(0), timedelta(days=365)),
)


@settings(deadline=None)
@given(replies, st.integers(1, 500), durations, st.timedeltas(timedelta(0), timedelta(days=3)), luck)
def test_a_next_attempt_lies_ahead_within_patience_and_after_what_the_channel_asks_for(
    reply: Reply, attempt: int, patience: timedelta, waited: timedelta, luck: float
) -> None:
    now = STATED + waited
    step = after_reply(reply, attempt=attempt, stated_at=STATED, patience=patience, now=now, luck=luck)
    if isinstance(step, Again):
        assert reply.verdict == "later"
        assert now < step.at <= STATED + patience
        assert step.at >= now + (reply.after or timedelta(0))
    else:
        assert (step.state == "delivered") == (reply.verdict == "taken")


@settings(deadline=None)
@given(st.lists(replies.filter(lambda reply: reply.verdict == "later"), min_size=1, max_size=30), durations, luck)
def test_a_channel_that_never_takes_it_is_given_up_when_patience_ends(
    answers: list[Reply], patience: timedelta, luck: float
) -> None:
    now, attempt = STATED, 0
    for attempt in range(1, 10_000):
        reply = answers[attempt % len(answers)]
        step = after_reply(reply, attempt=attempt, stated_at=STATED, patience=patience, now=now, luck=luck)
        if isinstance(step, End):
            break
        now = step.at
    assert isinstance(step, End) and step.reason in ("exhausted", "held")
    assert now <= STATED + patience
    assert step.reason == "held" or now == STATED + patience


@settings(deadline=None)
@given(st.integers(1, 10_000), luck)
def test_pauses_grow_to_a_bound(attempt: int, luck: float) -> None:
    assert pause_after(attempt, luck) <= pause_after(attempt + 1, luck) <= LONGEST_PAUSE * 1.2
    assert pause_after(attempt, 0) <= pause_after(attempt, luck) <= pause_after(attempt, 1)


def test_ten_minutes_of_patience_are_eight_attempts() -> None:
    moments, now = [STATED], STATED
    while True:
        step = after_reply(
            Reply(verdict="later", text=""),
            attempt=len(moments),
            stated_at=STATED,
            patience=timedelta(minutes=10),
            now=now,
            luck=0.5,
        )
        if isinstance(step, End):
            break
        moments.append(now := step.at)
    assert [(moment - STATED).total_seconds() for moment in moments] == [0, 5, 15, 35, 75, 155, 315, 600]


def test_what_would_have_to_wait_longer_than_it_may_is_given_up_at_once() -> None:
    busy = Reply(verdict="later", text="", status=429, after=timedelta(hours=1))
    step = after_reply(busy, attempt=1, stated_at=STATED, patience=timedelta(minutes=10), now=STATED, luck=0)
    assert step == End("given_up", "held")
