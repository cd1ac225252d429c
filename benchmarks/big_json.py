"""A JSON file of 300 MB to records, against json.load and against bare ijson events."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from tidemill.converter.converters import find_converters
from tidemill.converter.frames import Job
from tidemill.converter.policy import Limits
from tidemill.converter.workers import Workers

MEGABYTES = 300
SHARE_OF_LIMIT = 0.6
MEMORY_MB = 100
LIMITS = Limits(cpu=timedelta(minutes=10), time=timedelta(minutes=20))

# What a process of its own measures: its CPU seconds and its own peak, which no parent's memory adds to.
MEASURED = """
import sys, time
from pathlib import Path
began = time.process_time()
{work}
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(time.process_time() - began, int(peak) / 1000)
"""
EVENTS = """
import ijson.backends.yajl2_c
with open(sys.argv[1], "rb") as file:
    for event in ijson.backends.yajl2_c.basic_parse(file):
        pass
"""
RECORDS = """
from datetime import UTC, datetime
from tidemill.converter.json_converter import JsonConverter
from tidemill.plugin import Document
with open(sys.argv[1], "rb") as file:
    document = Document(file, "", 0, "", datetime.now(UTC))
    for item in JsonConverter().convert(document, {"items": "matches.item", "key": "match_id"}):
        pass
"""
LOAD = """
import json
with open(sys.argv[1], "rb") as file:
    json.load(file)
"""


def run() -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        path = Path(file.name)
        items = write_matches(path)
        megabytes = path.stat().st_size / 1e6
        limit_seconds, limit_mb = measure(EVENTS, path)
        records_seconds, records_mb = measure(RECORDS, path)
        enough = psutil.virtual_memory().available > 4e9
        load_seconds, load_mb = measure(LOAD, path) if enough else (None, None)
        ours = asyncio.run(convert(path))
    assert ours["records"] == items, f"{ours['records']} records of {items} items"
    limit_speed = megabytes / limit_seconds
    records_speed = megabytes / records_seconds
    memory_mb = max(records_mb, ours["worker_mb"] + ours["parent_mb"])
    others = {"peer": megabytes / load_seconds if load_seconds else None, "limit": limit_speed, "unit": "MB/s of CPU"}
    return [
        {
            "name": f"JSON of {megabytes:.0f} MB to records",
            "ours": records_speed,
            **others,
            "goal": f"≥ {SHARE_OF_LIMIT:.0%} of the limit",
            "ok": records_speed >= SHARE_OF_LIMIT * limit_speed,
            "lower_is_better": False,
        },
        {
            "name": "… and out of the worker process",
            "ours": megabytes / ours["worker_cpu"],
            **others,
            "goal": None,
            "ok": None,
            "lower_is_better": False,
        },
        {
            "name": "… and into the service, CPU of both",
            "ours": megabytes / (ours["worker_cpu"] + ours["parent_cpu"]),
            **others,
            "goal": None,
            "ok": None,
            "lower_is_better": False,
        },
        {
            "name": "… peak memory of worker and receiver together",
            "ours": memory_mb,
            "peer": load_mb,
            "limit": limit_mb,
            "unit": "MB",
            "goal": f"≤ {MEMORY_MB} MB",
            "ok": memory_mb <= MEMORY_MB,
            "lower_is_better": True,
        },
    ]


def write_matches(path: Path) -> int:
    """A file of matches like an export of the offer; answers how many."""
    size = count = 0
    with path.open("w", encoding="utf-8", buffering=1 << 20) as file:
        size += file.write('{"schema":"matches","matches":[')
        for match in matches():
            if size >= MEGABYTES * 1_000_000:
                break
            size += file.write((",\n" if count else "") + json.dumps(match, ensure_ascii=False))
            count += 1
        file.write(f'],"counts":{count}}}')
    return count


def matches() -> Iterator[dict[str, Any]]:
    number = 0
    while True:
        markets = [
            {
                "key": "match_result" if market == 0 else "double_chance",
                "period": "FT",
                "param": None,
                "market_text": "" if market == 0 else "Kétesély (H: 1X, D: 12, V: X2)",
                "serial": f"{number * 3 + market:09d}",
                "odds": [1.05 + number % 700 / 100, 3.6, 1.81],
                "cols": "HDV",
            }
            for market in range(1 + number % 3)
        ]
        yield {
            "match_id": f"{number // 600}-{number}",
            "date": f"2025-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
            "time": "19:00",
            "league": "Magyar bajnokság",
            "home": f"Csapat {number % 997}",
            "away": f"Ellenfél {number % 991}",
            "venue": None,
            "markets": markets,
        }
        number += 1


def measure(work: str, path: Path) -> tuple[float, float]:
    """CPU seconds and peak MB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(work=work), path], capture_output=True, text=True, check=True
    )
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


async def convert(path: Path) -> dict[str, float]:
    job = Job(
        path=str(path),
        sha256="0" * 64,
        size_bytes=path.stat().st_size,
        name=path.name,
        received_at=datetime.now(UTC),
        converter=find_converters()["json"],
        options={"items": "matches.item", "key": "match_id"},
    )
    records = 0
    async with Workers(1, spare=0) as workers:
        began = time.process_time()
        async for part in workers.convert(job, LIMITS):
            records += len(part.records)
        parent_cpu = time.process_time() - began
    assert part.ending is not None and part.ending.outcome == "converted", part.ending
    return {
        "records": records,
        "worker_cpu": part.ending.cpu_seconds,
        "worker_mb": part.ending.peak_memory_bytes / 1e6,
        "parent_cpu": parent_cpu,
        "parent_mb": psutil.Process().memory_info().rss / 1e6,
    }
