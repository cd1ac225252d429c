"""How much memory can be had here: what the machine has left, or what a control group of this process leaves of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tidemill.common.surroundings.groups import OF_PROCESS, groups


@dataclass(frozen=True, slots=True)
class Memory:
    total: int
    free: int
    where: str = "on this machine"

    @property
    def share(self) -> float:
        return self.free / self.total


@dataclass(frozen=True, slots=True)
class Files:
    """Where a version of control groups writes what."""

    limit: str
    used: str
    cached: str
    """Line of `memory.stat`: files that give way before anybody is killed."""


FILES = {
    1: Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: Files("memory.max", "memory.current", "inactive_file"),
}


def scarcest() -> Memory:
    """Where least is left, by its share: whoever runs out first is killed, however much the others have."""
    machine = psutil.virtual_memory()
    whole = Memory(machine.total, machine.available)
    return min((whole, *of_groups(whole.total)), key=lambda memory: memory.share)


def smallest(machine: int, of_process: Path = OF_PROCESS) -> Memory:
    """What this process may have at most, whatever others use now."""
    return min((Memory(machine, machine), *of_groups(machine, of_process)), key=lambda memory: memory.total)


def of_groups(machine: int, of_process: Path = OF_PROCESS) -> Iterator[Memory]:
    """Of each control group around this process that has less than the machine's bytes."""
    for group in groups("memory", of_process):
        try:
            memory = _of_group(group.folder, FILES[group.version], f"in the control group {group.name}")
        except (OSError, ValueError):  # `max`, or no group at all.
            continue
        if 0 < memory.total < machine:
            yield memory


def _of_group(folder: Path, files: Files, where: str) -> Memory:
    limit, used = (int((folder / name).read_text()) for name in (files.limit, files.used))
    stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
    return Memory(limit, max(0, limit - used + int(stat.get(files.cached, 0))), where)
