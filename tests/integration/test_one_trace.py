"""One trace leads from the file in the folder to the records, through queue, retries and transactions."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system import running
from tidemill.common.testing.otlp import OtlpReceiver, SpanSeen

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2] / "examples" / "szerencsemix"


def test_a_file_is_one_trace_from_seen_to_recorded_with_its_retries() -> None:
    (sample,) = SAMPLE.glob("*.pdf")
    with (
        OtlpReceiver() as receiver,
        running(("watcher",), TIDEMILL_TELEMETRY__OTLP_ENDPOINT=receiver.url) as system,
    ):
        shutil.copy(sample, system.inbox)
        wait_until(lambda: any((system.inbox / "processed").glob("*.pdf")))
        # The first attempt finds damaged content and fails, the second one finds it mended.
        (content,) = (path for path in (system.folder / "data" / "archive").rglob("*") if path.is_file())
        whole = content.read_bytes()
        content.write_bytes(whole[:1000])
        system.replicas = ("watcher", "converter")
        system.revive()
        wait_until(lambda: system.count("converter.retries") > 0)
        content.write_bytes(whole)
        system.wait_until_quiet(1, within=60)
        seen = receiver.wait_for(lambda spans: "converter record" in {span.name for span in spans if not span.error})
        (root,) = (span for span in seen if span.name == "file seen")
        time.sleep(1.5)
        trace = sorted(receiver.trace(root.trace_id), key=lambda span: span.started_at_ns)
    lines = outline(trace, root)
    print("\n".join(lines))
    assert lines[:2] == ["file seen", "  file stored"]
    failed, succeeded = lines.index("    converter process!"), lines.index("    converter process")
    assert failed < succeeded
    assert "      converter record" in lines[succeeded:]
    assert len(trace) == len(lines), "a span of the trace does not hang under its root"
    (attempts,) = {tuple(span.attributes["tidemill.attempt"] for span in trace if span.name == "converter process")}
    assert attempts == (1, 2)


def outline(trace: list[SpanSeen], root: SpanSeen, depth: int = 0) -> list[str]:
    """The tree of spans, in order of their start; `!` marks those that failed."""
    lines = [f"{'  ' * depth}{root.name}{'!' if root.error else ''}"]
    for child in trace:
        if child.parent_id == root.span_id:
            lines += outline(trace, child, depth + 1)
    return lines


def wait_until(condition: Callable[[], bool], within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
