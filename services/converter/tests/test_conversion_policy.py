import signal
from datetime import timedelta

import pytest

from tidemill.converter.policy import Crash, Death, Limits, Loss, Wear, read_death, refusal_at_sight, unusable
from tidemill.plugin import Outcome, Refusal

LIMITS = Limits(
    memory_bytes=200_000_000, cpu=timedelta(seconds=60), time=timedelta(seconds=90), pages=10, size_bytes=1000
)


@pytest.mark.parametrize(("size_bytes", "outcome"), [(0, Outcome.EMPTY), (1001, Outcome.TOO_LARGE)])
def test_some_files_are_refused_without_a_look_inside(size_bytes: int, outcome: Outcome) -> None:
    refusal = refusal_at_sight(size_bytes, LIMITS)
    assert refusal is not None
    assert refusal.outcome is outcome


def test_all_others_are_looked_into() -> None:
    assert refusal_at_sight(1, LIMITS) is None
    assert refusal_at_sight(1000, LIMITS) is None


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        (Death(-signal.SIGKILL, "memory", 210_000_000), "Needed more than 200 MB of memory."),
        (Death(-signal.SIGSEGV, "memory", 210_000_000), "Needed more than 200 MB of memory."),
        (Death(-signal.SIGKILL, "time", 10), "Took longer than 90 s."),
        (Death(-signal.SIGXCPU, None, 10), "Used more than 60 s of CPU time."),
        (Death(-signal.SIGABRT, None, 200_000_000), "Was refused more memory after 200 MB."),
    ],
)
def test_a_document_that_takes_too_much_is_told_by_how_its_worker_died(death: Death, reason: str) -> None:
    reading = read_death(death, LIMITS)
    assert isinstance(reading, Refusal)
    assert (reading.outcome, reading.reason) == (Outcome.RESOURCE_LIMIT, reason)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(-signal.SIGSEGV, "SIGSEGV"), (-signal.SIGABRT, "SIGABRT"), (3, "exit status 3"), (0, "exit status 0")],
)
def test_a_defect_is_a_crash_with_its_last_words(status: int, reason: str) -> None:
    reading = read_death(Death(status, None, 10, "in parse()"), LIMITS)
    assert reading == Crash(f"The converter crashed: {reason}. in parse()")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_somebody_else_killed_is_lost_and_no_crash(number: signal.Signals) -> None:
    assert read_death(Death(-number, None, 10), LIMITS) == Loss(f"The worker was ended from outside ({number.name}).")


@pytest.mark.parametrize(
    ("documents", "memory_bytes", "replaced"),
    [(1, 10, False), (2_000, 10, True), (1, 192_000_001, True), (1_999, 192_000_000, False)],
)
def test_a_worker_is_replaced_for_its_age_or_its_size(documents: int, memory_bytes: int, replaced: bool) -> None:
    assert Wear().replace(documents, memory_bytes) is replaced


def test_a_converter_is_unusable_for_its_interface_or_its_options() -> None:
    said = {"name": "pdf", "api_version": 1, "options_error": None}
    assert unusable(said, "x:Y", 1) is None
    assert unusable(said, "x:Y", 2) == ("x:Y is written for version 1 of the converter interface; this is version 2")
    assert unusable({**said, "options_error": "no zone"}, "x:Y", 1) == "options of pdf: no zone"
