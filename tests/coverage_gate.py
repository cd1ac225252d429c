"""Runs every test and measures which lines ran, in all processes; a member below the limit fails.

Arguments are passed on to pytest; with any of them the limit is shown, not enforced.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import coverage
from rich.console import Console
from rich.table import Table

LIMIT = 90.0
ROOT = Path(__file__).parent.parent
PLUGIN = "tests.coverage_plugin"
SUMMARY = re.compile(r"=* ?\d+ (passed|failed|error|skipped).* in [\d.:hms ()]+=*")


def main(arguments: list[str]) -> int:
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    status, summary = run_tests(arguments)
    low = show_coverage()
    for member, percent in low:
        print(f"{member}: {percent:.1f} % of its lines ran in tests; at least {LIMIT:.0f} % must")
    print(summary)
    return status or (1 if low and not arguments else 0)


def run_tests(arguments: list[str]) -> tuple[int, str]:
    """pytest's status and its closing line."""
    # Tests wait for half of their time: twice as many as there are processors keep these busy.
    workers = ["-n", str(min(2 * (os.cpu_count() or 1), 6)), "--dist", "worksteal"]
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", "-p", PLUGIN, *workers, *arguments]
    summary = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        for line in tests.stdout:
            print(line, end="", flush=True)
            if SUMMARY.fullmatch(line.strip()):
                summary = line.strip()
    return tests.returncode, summary


def show_coverage() -> list[tuple[str, float]]:
    """A table for people; the members below the limit."""
    measured = coverage.Coverage(config_file=ROOT / "pyproject.toml", data_file=ROOT / ".coverage")
    measured.combine([str(ROOT)])
    table = Table("member", "lines", "not run", "%", title="Lines that ran in tests")
    low = []
    for member in sorted([*ROOT.glob("libs/*"), *ROOT.glob("services/*")]):
        if not (member / "pyproject.toml").is_file():
            continue
        lines, missing = (sum(counts) for counts in zip(*counts_of(measured, member), strict=True))
        percent = 100 * (lines - missing) / max(lines, 1)
        name = str(member.relative_to(ROOT))
        table.add_row(name, str(lines), str(missing), f"{percent:.1f}", style="red" if percent < LIMIT else "")
        if percent < LIMIT:
            low.append((name, percent))
    Console().print(table)
    return low


def counts_of(measured: coverage.Coverage, member: Path) -> Iterator[tuple[int, int]]:
    """Lines and those that did not run, of each module: also of one that nothing imported."""
    for module in sorted(member.glob("src/**/*.py")):
        _, lines, _, missing, _ = measured.analysis2(str(module))
        yield len(lines), len(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
