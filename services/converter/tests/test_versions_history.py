"""Spans follow from sightings, however they come."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tidemill.converter.history import Rank, Sighting, Span, revise, spans

START = datetime(2025, 6, 1, tzinfo=UTC)


def sighting(day: int, content: str, received: int = 0) -> Sighting:
    rank: Rank = (START + timedelta(hours=received), "", 0, 0, False, 0)
    return Sighting(START + timedelta(days=day), rank, content.encode())


def span(day: int, content: str) -> Span:
    return Span(START + timedelta(days=day), content.encode())


SIGHTINGS = st.lists(
    st.builds(sighting, st.integers(0, 5), st.sampled_from("ABC"), st.integers(0, 100)),
    min_size=1,
    unique_by=lambda one: one.rank,
)


def test_a_content_that_goes_on_is_one_span() -> None:
    assert spans([sighting(1, "A"), sighting(2, "A"), sighting(3, "B")]) == [span(1, "A"), span(3, "B")]


def test_a_content_that_comes_back_is_another_span() -> None:
    seen = [sighting(1, "A"), sighting(3, "A"), sighting(2, "B")]
    assert spans(seen) == [span(1, "A"), span(2, "B"), span(3, "A")]


def test_at_one_time_the_best_ranked_is_believed() -> None:
    assert spans([sighting(1, "B", received=2), sighting(1, "A", received=1)]) == [span(1, "B")]


@given(SIGHTINGS, st.randoms())
def test_the_order_of_sightings_does_not_matter(seen: list[Sighting], random) -> None:
    shuffled = random.sample(seen, len(seen))
    assert spans(shuffled) == spans(seen)


@given(SIGHTINGS)
def test_neighbouring_spans_differ_and_begin_where_something_was_seen(seen: list[Sighting]) -> None:
    found = spans(seen)
    assert all(one.content != next_one.content for one, next_one in pairwise(found))
    assert {one.valid_from for one in found} <= {one.valid_at for one in seen}
    assert found[0].valid_from == min(one.valid_at for one in seen)


@given(SIGHTINGS, SIGHTINGS)
def test_a_revision_makes_of_what_is_known_what_was_seen(before: list[Sighting], more: list[Sighting]) -> None:
    known = spans(before)
    revision = revise(known, [*before, *more])
    left = [one for one in known if one not in revision.superseded]
    assert sorted([*left, *revision.opened], key=lambda one: one.valid_from) == spans([*before, *more])
    assert revision.current == spans([*before, *more])[-1]
    assert bool(revision) == (known != spans([*before, *more]))
