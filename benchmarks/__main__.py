"""Runs benchmarks one by one, each in a process of its own, prints them side by side and keeps the results as JSON."""

import argparse
import importlib
import json
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SLOWER = 1.15
"""From this ratio to the earlier run on, a row is called slower: a shared machine varies by about a tenth."""

Row = dict[str, Any]
"""name, ours, peer, limit, unit, goal (text), ok (None where there is no goal), lower_is_better."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; all without one")
    parser.add_argument("--compare", type=Path, help="results of an earlier run (default: the newest)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(importlib.import_module(f"benchmarks.{arguments.one}").run()))
        return 0
    if unknown := set(arguments.names) - set(names()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    earlier = read_earlier(arguments.compare)
    rows: list[Row] = []
    failed = []
    for name in arguments.names or names():
        print(f"… {name}", file=sys.stderr, flush=True)
        started = time.monotonic()
        found = run_alone(name)
        if found is None:
            failed.append(name)
            continue
        for row in found:
            row["benchmark"] = name
        rows += found
        print(f"  {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print_table(rows, earlier)
    write_results(rows)
    if failed:
        print(f"did not run to their end: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def run_alone(name: str) -> list[Row] | None:
    """The rows of one benchmark, measured in a fresh process; None when it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--one", name], stdout=subprocess.PIPE, cwd=HERE.parent, check=False
    )
    if done.returncode != 0:
        return None
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def read_earlier(path: Path | None) -> dict[tuple[str, str], Row]:
    files = sorted(RESULTS.glob("*.json"))
    chosen = path or (files[-1] if files else None)
    if chosen is None:
        return {}
    return {(row["benchmark"], row["name"]): row for row in json.loads(chosen.read_text())["rows"]}


def write_results(rows: list[Row]) -> None:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    target = RESULTS / f"{now:%Y%m%dT%H%M%S}.json"
    facts = {"at": now.isoformat(), "python": platform.python_version(), "machine": platform.machine(), "rows": rows}
    target.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"\nwritten to {target.relative_to(HERE.parent)}")


def print_table(rows: list[Row], earlier: dict[tuple[str, str], Row]) -> None:
    header = ("what", "ours", "peer", "limit", "unit", "goal", "", "against the earlier run")
    table = [header] + [
        (
            row["name"],
            number(row.get("ours")),
            number(row.get("peer")),
            number(row.get("limit")),
            row.get("unit", ""),
            str(row.get("goal") or ""),
            {True: "ok", False: "MISSED", None: ""}[row.get("ok")],
            against(row, earlier.get((row["benchmark"], row["name"]))),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def against(row: Row, before: Row | None) -> str:
    if before is None or not before.get("ours") or not row.get("ours"):
        return ""
    ratio = row["ours"] / before["ours"]
    worse = ratio if row.get("lower_is_better", not str(row.get("unit", "")).endswith("/s")) else 1 / ratio
    return f"x{ratio:.2f}" + (" SLOWER" if worse >= SLOWER else "")


if __name__ == "__main__":
    raise SystemExit(main())
