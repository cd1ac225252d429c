"""How much memory can be had here: what the machine has left, or what a control group of this process (a container's,
a unit's) leaves of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

OF_PROCESS = Path("/proc/self")


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


V1 = Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = Files("memory.max", "memory.current", "inactive_file")


def scarcest() -> Memory:
    """Where least is left, by its share: whoever runs out first is killed, however much the others have."""
    machine = psutil.virtual_memory()
    whole = Memory(machine.total, machine.available)
    return min((whole, *of_groups(whole.total)), key=lambda memory: memory.share)


def of_groups(machine: int, of_process: Path = OF_PROCESS) -> Iterator[Memory]:
    """Of each control group around this process that has less than the machine's bytes; none but on Linux."""
    try:
        groups = (of_process / "cgroup").read_text().splitlines()
        mounts = (of_process / "mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        files = V1 if controllers else V2
        for root, mounted in _mounted(mounts, files):
            yield from _up(root, mounted, PurePosixPath(group), files, machine)


def _mounted(mounts: Sequence[str], files: Files) -> Iterator[tuple[PurePosixPath, Path]]:
    """Which group is to be seen, and where; proc(5) has the fields."""
    for line in mounts:
        fields, _, kind = line.partition(" - ")
        root, place = fields.split(" ")[3:5]
        type, _, options = kind.split(" ", 2)
        if type == "cgroup2" if files is V2 else type == "cgroup" and "memory" in options.split(","):
            yield PurePosixPath(root), Path(place)


def _up(root: PurePosixPath, mounted: Path, group: PurePosixPath, files: Files, machine: int) -> Iterator[Memory]:
    """From the group of the process to the outermost that is to be seen."""
    inside = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    for folder in (inside, *inside.parents):
        try:
            memory = _of_group(mounted / folder, files, f"in the control group {group}")
        except (OSError, ValueError):  # `max`, or no group at all.
            continue
        if 0 < memory.total < machine:
            yield memory


def _of_group(folder: Path, files: Files, where: str) -> Memory:
    limit, used = (int((folder / name).read_text()) for name in (files.limit, files.used))
    stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
    return Memory(limit, max(0, limit - used + int(stat.get(files.cached, 0))), where)
