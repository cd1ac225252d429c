"""A run beside the usual ones of its source."""

from tidemill.scheduler.history import COMPARED, compare


def run(**figures: float) -> dict[str, float]:
    return {**dict.fromkeys(COMPARED, 0.0), **figures}


def test_of_few_runs_there_is_no_telling_what_is_usual() -> None:
    assert compare(run(items=1), [run(), run()]) == {}


def test_what_is_far_from_usual_is_remarked() -> None:
    earlier = [run(items=count, requests=10, bytes=8) for count in (4, 5, 90)]
    found = compare(run(items=11, requests=12, bytes=2, failed=1), earlier)
    assert {name: one.remark for name, one in found.items() if one.remark} == {
        "items": "2.2 times the usual",
        "bytes": "25% of the usual",
        "failed": "usually none",
    }
    assert found["items"].usual == 5
