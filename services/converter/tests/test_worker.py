"""The main program of a worker process, run as its parent would, and its parts in this process."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from tidemill.converter import frames, worker

PLUGIN = Path(__file__).parent / "plugin"


def job(path: Path, converter: str = "misbehaving:Lines", **changes: Any) -> frames.Job:
    """With limits that do not matter: here they would be pytest's."""
    values: dict[str, Any] = {"path": str(path), "sha256": "0" * 64, "size_bytes": 1, "name": "x", **changes}
    received_at = datetime(2025, 1, 1, tzinfo=UTC)
    return frames.Job(
        received_at=received_at, converter=converter, cpu_seconds=1_000_000, memory_bytes=10**15, **values
    )


def told(pipe: io.BytesIO) -> list[dict[str, Any]]:
    pipe.seek(0)
    return list(iter(lambda: frames.read_frame(pipe), None))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGIN)


def test_batches_end_by_number_or_by_size(tmp_path: Path) -> None:
    document = tmp_path / "document"
    document.write_text("".join(f"k{n}=v\n" for n in range(501)) + "".join(f"l{n}={'x' * 99_999}\n" for n in range(4)))
    pipe = io.BytesIO()
    ending = worker.convert(job(document), pipe)
    assert ending["outcome"] == "converted"
    frames_told = told(pipe)
    assert [len(frame["records"]) for frame in frames_told if frame["kind"] == "part"] == [500, 3, 2]
    assert [frame["kind"] for frame in frames_told][:1] == ["about"]
    assert sum(frame["records"] for frame in frames_told if frame["kind"] == "tally") == 505


def test_parts_that_are_known_are_counted_and_not_sent(tmp_path: Path) -> None:
    document = tmp_path / "document"
    document.write_text("".join(f"k{n}=v\n" for n in range(1200)))
    pipe = io.BytesIO()
    worker.convert(job(document, skip=2), pipe)
    assert [len(frame["records"]) for frame in told(pipe) if frame["kind"] == "part"] == [200]
    assert sum(frame["records"] for frame in told(pipe) if frame["kind"] == "tally") == 1200


def test_a_request_is_answered_and_the_end_of_requests_is_the_end(tmp_path: Path) -> None:
    document = tmp_path / "document"
    document.write_text("a=1\n")
    requests, replies = io.BytesIO(), io.BytesIO()
    describe = {"kind": "describe", "converter": "misbehaving:Lines", "options": {}}
    frames.write_frame(requests, orjson.dumps(describe))
    frames.write_frame(requests, frames.encode_job(job(document)))
    requests.seek(0)
    worker.serve(requests, replies)
    kinds = [frame["kind"] for frame in told(replies)]
    assert kinds == ["ready", "described", "about", "progress", "part", "tally", "end"]


def test_memory_is_known_for_this_process() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system has no /proc")
    worker.reset_peak_memory()
    assert 0 < worker.memory() <= worker.peak_memory() * 1.1


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on dead parents is Linux's")
def test_a_worker_dies_with_its_parent() -> None:
    """The parent is killed, so it cannot have closed the pipe in order: the worker is in the middle of something."""
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'tidemill.converter.worker', str(os.getpid())],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.read(8)\n"
        "os.set_inheritable(child.stdin.fileno(), True)\n"
        "holder = subprocess.Popen(['sleep', '20'], close_fds=False)\n"
        "print(child.pid, holder.pid, flush=True)\n"
        "time.sleep(20)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, holder = map(int, parent.stdout.readline().split())
        child = psutil.Process(pid)
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=5)
    psutil.Process(holder).kill()
    assert gone


def test_a_worker_whose_parent_is_gone_already_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tidemill.converter.worker", str(os.getpid() + 1)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if sys.platform == "linux":
        assert "the parent died" in done.stderr
        assert done.returncode == 1
