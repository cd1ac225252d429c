from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tidemill.watcher.stillness import Look, Stillness

A, B = Path("a.pdf"), Path("b.pdf")


def look(size: int = 1, changed_at: float = 0.0, inode: int = 1) -> Look:
    return Look(size, int(changed_at * 1e9), int(changed_at * 1e9), inode)


def test_a_file_is_due_after_it_was_still_for_the_window() -> None:
    stillness = Stillness(2.0)
    stillness.see(A, look(changed_at=100), 100.0, trust_times=True)
    assert stillness.due(101.9) == []
    assert [still.path for still in stillness.due(102.0)] == [A]


def test_each_change_begins_the_window_anew() -> None:
    stillness = Stillness(2.0)
    stillness.see(A, look(1, 100), 100.0, trust_times=True)
    stillness.see(A, look(2, 101), 101.5, trust_times=True)
    assert stillness.due(103.4) == []
    assert stillness.next_due() == 103.5


def test_a_file_that_lay_still_for_long_is_due_at_once_where_times_can_be_trusted() -> None:
    stillness = Stillness(2.0)
    stillness.see(A, look(changed_at=10), 100.0, trust_times=True)
    stillness.see(B, look(changed_at=10), 100.0, trust_times=False)
    assert [still.path for still in stillness.due(100.0)] == [A]
    assert [still.path for still in stillness.due(102.0)] == [A, B]


def test_a_time_in_the_future_is_not_trusted() -> None:
    stillness = Stillness(2.0)
    stillness.see(A, look(changed_at=5000), 100.0, trust_times=True)
    assert [still.path for still in stillness.due(102.0)] == [A]


def test_a_rename_into_place_counts_as_a_change_although_the_content_is_old() -> None:
    stillness = Stillness(2.0)
    stillness.see(A, Look(1, int(10e9), int(99.5e9), 1), 100.0, trust_times=True)
    assert stillness.due(101.0) == []
    assert stillness.due(101.5) != []


def test_a_postponed_file_waits_and_a_forgotten_one_is_gone() -> None:
    stillness = Stillness(1.0)
    stillness.see(A, look(changed_at=10), 100.0, trust_times=True)
    stillness.postpone(A, 105.0)
    assert stillness.due(104.0) == []
    assert stillness.next_due() == 105.0
    assert len(stillness.due(105.0)) == 1
    stillness.forget(A)
    assert (stillness.due(200.0), stillness.next_due(), len(stillness)) == ([], None, 0)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2)), max_size=30), st.floats(0.01, 3))
def test_nothing_is_due_sooner_than_the_window_after_its_last_change(
    steps: list[tuple[float, int]], window: float
) -> None:
    stillness = Stillness(window)
    now, last_change, size = 1000.0, None, None
    for pause, new_size in steps:
        now += pause
        if new_size != size:
            size, last_change = new_size, now
        stillness.see(A, look(new_size, 2000.0), now, trust_times=True)
        if last_change is not None and now < last_change + window:
            assert stillness.due(now) == []
