"""Control groups around this process: a container's, a unit's, and those they are in; none but on Linux."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

OF_PROCESS = Path("/proc/self")


class Group(NamedTuple):
    name: str
    folder: Path
    version: Literal[1, 2]


def groups(controller: Literal["cpu", "memory"], of_process: Path = OF_PROCESS) -> Iterator[Group]:
    """From the group of the process to the outermost that is to be seen. Folders may be missing."""
    try:
        lines = (of_process / "cgroup").read_text().splitlines()
        mounts = (of_process / "mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        version: Literal[1, 2] = 1 if controllers else 2
        for root, mounted in _mounted(mounts, version, controller):
            path = PurePosixPath(name)
            inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
            for folder in (inside, *inside.parents):
                yield Group(name, mounted / folder, version)


def _mounted(mounts: Sequence[str], version: int, controller: str) -> Iterator[tuple[PurePosixPath, Path]]:
    """Which group is to be seen, and where; proc(5) has the fields."""
    for line in mounts:
        fields, _, kind = line.partition(" - ")
        root, place = fields.split(" ")[3:5]
        type, _, options = kind.split(" ", 2)
        if type == "cgroup2" if version == 2 else type == "cgroup" and controller in options.split(","):
            yield PurePosixPath(root), Path(place)
