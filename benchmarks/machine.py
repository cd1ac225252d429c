"""`tidemill up` on a used folder: time until ready, and what it costs to do nothing."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from benchmarks._rest import rested_memory

READY_GOAL_S = 3.0
IDLE_CPU_GOAL = 2.0
IDLE_MEMORY_GOAL_MB = 450.0
IDLE_SECONDS = 20.0
STARTS = 3


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        (root / "sources").mkdir()
        source = {"source": "bench", "watch": {"folder": "inbox"}, "convert": {"with": "json"}}
        (root / "sources" / "bench.yaml").write_text(json.dumps(source | {"convert": None}))
        first, _ = measure(root, idle=False)
        used = []
        for number in range(STARTS):
            ready, idle = measure(root, idle=number == STARTS - 1)
            used.append(ready)
    assert idle is not None
    ready = sorted(used)[len(used) // 2]
    return [
        row("up to ready, empty folder", first, "s", None),
        row("up to ready, used folder", ready, "s", READY_GOAL_S),
        row("idle CPU, servers included", idle[0], "% of a core", IDLE_CPU_GOAL),
        row("idle memory, servers included", idle[1], "MB", IDLE_MEMORY_GOAL_MB),
        rested_memory(),
    ]


def row(name: str, ours: float, unit: str, goal: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "peer": None,
        "limit": None,
        "unit": unit,
        "goal": None if goal is None else f"≤ {goal:g} {unit}",
        "ok": None if goal is None else ours <= goal,
        "lower_is_better": True,
    }


def measure(root: Path, *, idle: bool) -> tuple[float, tuple[float, float] | None]:
    """Seconds to ready, and (percent of a core, MB) over some idle seconds; ends what it started."""
    (root / "data" / "run" / "servers.json").unlink(missing_ok=True)
    begun = time.monotonic()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("tidemill"), "up"],
        cwd=root,
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        while not is_ready(root):
            if process.poll() is not None or time.monotonic() > begun + 120:
                raise RuntimeError(f"`tidemill up` did not become ready: {process.communicate()[1].decode()}")
            time.sleep(0.02)
        ready = time.monotonic() - begun
        return ready, watch_idle(process.pid) if idle else None
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def is_ready(root: Path) -> bool:
    try:
        health = json.loads((root / "data" / "run" / "servers.json").read_text())["health_url"]
        with urllib.request.urlopen(f"{health}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, KeyError):
        return False


def watch_idle(pid: int) -> tuple[float, float]:
    time.sleep(5)
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    used = cpu_seconds(pid) - before
    memory = sum(memory_of(process) for process in family(pid))
    return 100 * used / (time.monotonic() - started), memory / 1e6


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    return sum(process.cpu_times().user + process.cpu_times().system for process in family(pid))


def memory_of(process: psutil.Process) -> int:
    """Proportional share: what Postgres' processes share counts once."""
    return int(process.memory_full_info().pss)
