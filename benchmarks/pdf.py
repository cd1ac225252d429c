"""CPU and memory for the pages of an offer: ours, a pdfplumber pipeline, and pypdfium2 that reads boxes alone."""

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidemill.common.testing import shared_data

SAMPLE = Path(__file__).parents[1] / "examples" / "szerencsemix" / "sample.pdf"
MOST_MS = 18.0
MOST_MB = 64.0
PEER_PAGES = 4
PEER_DOCUMENTS = 2
"""The peer takes a third of a second for a page, or more: so many of each are enough to know."""


def run() -> list[dict[str, Any]]:
    """Rows of the report: milliseconds of CPU per page, and peak memory of a process that converts."""
    rows: list[dict[str, Any]] = []
    for name, (paths, most_ms) in _documents().items():
        ours, limit = _measured("ours", paths), _measured("boxes", paths)
        peer = _measured("pdfplumber", paths[:PEER_DOCUMENTS])
        rows.append(_row(f"PDF page to records, {name}", ours[0], peer[0], limit[0], "ms CPU", most_ms))
        rows.append(_row(f"PDF conversion peak memory, {name}", ours[1], peer[1], limit[1], "MB", MOST_MB))
    return rows


def _documents() -> dict[str, tuple[list[Path], float | None]]:
    """Documents by name, with the goal in milliseconds per page: for pages as they come, not for the fullest."""
    documents: dict[str, tuple[list[Path], float | None]] = {"sample": ([SAMPLE], MOST_MS)}
    data = shared_data()
    if data:
        documents["eight issues"] = sorted(data.glob("football/dev/*.pdf")), MOST_MS
        documents["one table a page (A1)"] = sorted(data.glob("football/dev/*.A1.pdf")), MOST_MS
        documents["two columns, twice the rows (A2)"] = sorted(data.glob("football/dev/*.A2.pdf")), None
    return documents


def _row(name: str, ours: float, peer: float, limit: float, unit: str, most: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "limit": round(limit, 1),
        "unit": unit,
        "goal": "" if most is None else f"≤ {most:g} {unit}",
        "ok": None if most is None else ours <= most,
    }


def _measured(reader: str, paths: list[Path]) -> tuple[float, float]:
    """CPU milliseconds per page and peak megabytes, in a process of its own, after a first document to warm up."""
    command = [sys.executable, "-m", "benchmarks.pdf", reader, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout)
    return found["ms"], found["mb"]


def read_ours(path: Path) -> int:
    from tidemill.football.converter import SzerencsemixConverter
    from tidemill.plugin import Described, Document

    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    document = Document(io.BytesIO(content), digest, len(content), path.name, datetime.now(UTC))
    items = SzerencsemixConverter().convert(document, {})
    return sum(item.pages or 0 for item in items if isinstance(item, Described))


def read_pdfplumber(path: Path) -> int:
    import pdfplumber

    with pdfplumber.open(path) as document:
        pages = document.pages[1 : 1 + PEER_PAGES]
        for page in pages:
            page.extract_words(keep_blank_chars=True, x_tolerance=2, y_tolerance=2)
            page.extract_tables()
            page.close()
        return len(pages)


def read_boxes(path: Path) -> int:
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    for page in document:
        textpage = page.get_textpage()
        textpage.get_text_range()
        for index in range(textpage.count_chars()):
            textpage.get_charbox(index, loose=True)
        textpage.close()
        page.close()
    pages = len(document)
    document.close()
    return pages


READERS: dict[str, Callable[[Path], int]] = {"ours": read_ours, "pdfplumber": read_pdfplumber, "boxes": read_boxes}


def main(reader: str, paths: list[str]) -> None:
    read = READERS[reader]
    read(SAMPLE)
    pages, start = 0, time.process_time()
    for path in map(Path, paths):
        pages += read(path)
    cpu = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 1 << 20 if os.uname().sysname == "Darwin" else 1 << 10
    print(json.dumps({"ms": 1000 * cpu / pages, "mb": peak / scale}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
