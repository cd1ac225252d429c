"""One trace leads over the services, read back from Jaeger, to which the collector of Compose passes it on."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.observability.collecting import Jaeger, Told, collector, jaeger, wait_for
from tests.system import System, running
from tidemill.common.servers import free_port

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix" / "sample.pdf"
PATHS = (
    ("watcher", "file seen", "file stored"),
    ("converter", "file stored", "converter process", "converter record"),
    ("scheduler", "file stored", "scheduler-stored process", "scheduler-stored record"),
    ("scheduler", "converter process", "scheduler-converted process", "scheduler-converted record"),
    ("scheduler", "scheduler-converted process", "scheduler-ended process", "scheduler-ended record"),
)
"""Whose spans they are after the first one, each under the one before it."""


def test_a_file_that_is_refused_is_one_trace_from_the_folder_to_the_end_of_its_run(tmp_path: Path) -> None:
    with traced(tmp_path, "watcher", "scheduler") as (kept, system):
        (system.inbox / "empty.pdf").touch()
        trace = trace_of_run(kept, system, "failed", "file seen", "scheduler-refused record")
    assert trace["file seen"] == ("watcher", None)
    assert trace["scheduler-refused process"] == ("scheduler", "file seen")
    assert trace["scheduler-refused record"] == ("scheduler", "scheduler-refused process")


@pytest.mark.long
def test_a_file_is_one_trace_from_seen_to_recorded_over_the_services(tmp_path: Path) -> None:
    with traced(tmp_path, "watcher", "converter", "scheduler") as (kept, system):
        shutil.copy(SAMPLE, system.inbox)
        names = {name for _, *path in PATHS for name in path}
        trace = trace_of_run(kept, system, "complete", *names)
    assert [name for name, (_, above) in trace.items() if above is None] == ["file seen"]
    for service, *path in PATHS:
        for above, name in pairwise(path):
            assert trace[name] == (service, above)


@contextmanager
def traced(folder: Path, *services: str) -> Iterator[tuple[Jaeger, System]]:
    with (
        jaeger(folder) as kept,
        collector(folder, logs=free_port(), traces=kept.otlp) as collecting,
        running(services, TIDEMILL_TELEMETRY__OTLP_ENDPOINT=collecting.otlp) as system,
    ):
        yield kept, system


def trace_of_run(kept: Jaeger, system: System, state: str, *names: str) -> dict[str, Told]:
    """Of the only one, once it is in that state and has spans of these names: services send theirs once a second."""
    query = "SELECT run FROM scheduler.runs WHERE state = :state"
    ((run,),) = wait_for(lambda: system.query(query, state=state))
    tags = {"messaging.message.conversation_id": run}
    (trace,) = wait_for(lambda: [each for each in kept.find("scheduler", tags) if each.keys() >= {*names}])
    return trace
