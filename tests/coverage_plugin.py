"""What `make test` adds to pytest: who begins with the longest tests, and some run without being measured."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
from coverage import Coverage

LONGEST_FIRST = ("chaos", "slow")
"""Marks; half of the workers begin with these, while the others run short ones: so many whole systems at once that each
still finds a processor, and at the end only short tests are left to share."""
WHOLE_SYSTEMS = Path(__file__).parent
ELSEWHERE = ("long", "deploy")
"""Marks of what `make chaos` and `make test-deploy` run."""
CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""Variable by which child processes know that they are measured."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not any(item.get_closest_marker(name) for name in ELSEWHERE)]
    items.sort(key=_rank)
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    # A worker begins with one of so many equal parts of the list, and a module shares its servers.
    modules = [list(module) for _, module in groupby(items, key=lambda item: (_rank(item), item.path))]
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for module in modules:
        long = not all(_rank(module[0]))
        min(parts[: (workers + 1) // 2] if long else parts, key=len).extend(module)
    items[:] = [item for part in parts for item in part]


def _rank(item: pytest.Item) -> list[bool]:
    return [item.get_closest_marker(mark) is None for mark in LONGEST_FIRST]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tracing doubles the time of whatever computes much."""
    measuring = Coverage.current()
    if measuring is None or not _unmeasured(item):
        return (yield)
    with paused(measuring):
        return (yield)


def _unmeasured(item: pytest.Item) -> bool:
    """Whole systems under kills run for their own sake; the lines they run are those that others test, mostly."""
    if item.get_closest_marker("measured"):
        return False
    return any(item.get_closest_marker(mark) for mark in ("unmeasured", "chaos")) or WHOLE_SYSTEMS in item.path.parents


@contextmanager
def paused(measuring: Coverage) -> Iterator[None]:
    """In this process and in children that begin meanwhile."""
    told = os.environ.pop(CHILDREN, None)
    measuring.stop()
    try:
        yield
    finally:
        measuring.start()
        if told is not None:
            os.environ[CHILDREN] = told
