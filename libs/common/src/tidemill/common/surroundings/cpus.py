"""How many processors this process may keep busy: the machine's, less what pinning and control groups take."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidemill.common.surroundings.groups import OF_PROCESS, Group, groups


@dataclass(frozen=True, slots=True)
class Cpus:
    count: int
    where: str


def cpus(of_process: Path = OF_PROCESS, machine: int | None = None) -> Cpus:
    """Half a processor counts as one: less than one worker is none."""
    return min((_machine() if machine is None else Cpus(machine, "machine"), *_quotas(of_process)), key=_count)


def _count(found: Cpus) -> int:
    return found.count


def _machine() -> Cpus:
    if hasattr(os, "sched_getaffinity"):
        return Cpus(len(os.sched_getaffinity(0)), "this process may use")
    return Cpus(os.cpu_count() or 1, "this machine has")


def _quotas(of_process: Path) -> Iterator[Cpus]:
    for group in groups("cpu", of_process):
        try:
            quota, period = _quota(group)
        except (OSError, ValueError):  # `max`, or no group at all.
            continue
        if quota > 0 and period > 0:
            yield Cpus(max(1, math.ceil(quota / period)), f"the control group {group.name} has")


def _quota(group: Group) -> tuple[int, int]:
    """Microseconds of computing in so many of time; -1 without a limit."""
    if group.version == 2:
        quota, period = (group.folder / "cpu.max").read_text().split()
        return int(quota), int(period)
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    quota, period = ((group.folder / name).read_text() for name in names)
    return int(quota), int(period)
