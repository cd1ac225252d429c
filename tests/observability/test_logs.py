"""What services log is read back by run and by trace, over all of them, from the collector that Compose has."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.observability.collecting import Logs, collector, send_as_docker, victoria_logs, wait_for
from tests.system import System, running
from tidemill.common.servers import free_port

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix" / "sample.pdf"
Line = dict[str, str]


def test_a_file_that_is_refused_is_found_by_its_run(tmp_path: Path) -> None:
    """With what services say unasked."""
    with victoria_logs(tmp_path) as kept, running(("watcher", "scheduler")) as system:
        (system.inbox / "empty.pdf").touch()
        lines = lines_of_run(kept, system, tmp_path, "failed")
    assert sorted(said(lines)) == [("scheduler", "warning", "run finished"), ("watcher", "warning", "file refused")]
    finished, refused = sorted(lines, key=lambda line: line["service"])
    assert (refused["path"], finished["reason"]) == ("empty.pdf", "empty")


@pytest.mark.long
def test_a_run_is_read_over_all_services_in_the_order_of_time(tmp_path: Path) -> None:
    """With every event that was handled, of which `debug` tells."""
    with (
        victoria_logs(tmp_path) as kept,
        running(("watcher", "converter", "scheduler"), TIDEMILL_LOG__LEVEL="debug") as system,
    ):
        shutil.copy(SAMPLE, system.inbox)
        lines = lines_of_run(kept, system, tmp_path, "complete")
        (trace,) = {line["trace_id"] for line in lines if "trace_id" in line}
        of_trace = kept.find(f'trace_id:="{trace}"')
    handled = [line["consumer"] for line in lines if line["message"] == "handled"]
    assert {"scheduler-planned", "scheduler-stored", "converter", "scheduler-converted"} <= set(handled)
    assert {("watcher", "info", "file taken"), ("scheduler", "info", "run finished")} <= set(said(lines))
    assert {line["service"] for line in of_trace} == {"watcher", "converter", "scheduler"}
    assert {line["run"] for line in of_trace} == {lines[0]["run"]}
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times) and len(set(times)) == len(times)


def lines_of_run(kept: Logs, system: System, folder: Path, state: str) -> Sequence[Line]:
    """Of the only one, once it is in that state and its services have ended."""
    query = "SELECT run FROM scheduler.runs WHERE state = :state"
    ((run,),) = wait_for(lambda: system.query(query, state=state))
    system.stop()
    said = [
        (f"tidemill-{log.stem}-1", line)
        for log in sorted((system.folder / "log").glob("*.log"))
        for line in log.read_text().splitlines()
    ]
    expected = sum(f'"{run}"' in line for _, line in said)
    with collector(folder, logs=kept.port, traces=free_port()) as collecting:
        send_as_docker(collecting.docker, said)
        return wait_for(lambda: found if len(found := kept.find(f'run:="{run}"')) >= expected else [])


def said(lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    return [(line["service.name"], line["severity_text"], line["message"]) for line in lines]
