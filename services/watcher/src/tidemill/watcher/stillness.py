"""Decides when a file has stopped changing. Pure: times come in as arguments."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Look:
    """What `stat` says about a file; two equal looks mean that nothing was written in between."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "Look":
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    @property
    def changed_at(self) -> float:
        """Unix time of the last change by the file system's own account; a rename into place counts."""
        return max(self.mtime_ns, self.ctime_ns) / 1e9

    def __str__(self) -> str:
        return f"{self.inode}:{self.size}:{self.mtime_ns}:{self.ctime_ns}"


@dataclass(frozen=True, slots=True)
class Still:
    """A file that has not changed for the whole window."""

    path: Path
    look: Look
    since: float
    """Unix time at which it stopped changing."""


class Stillness:
    """The files that are being looked at, until each has stayed the same for `window` seconds."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._seen: dict[Path, tuple[Look, float]] = {}
        self._not_before: dict[Path, float] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def see(self, path: Path, look: Look, now: float, *, trust_times: bool) -> None:
        """Take note of a look at a file.

        With `trust_times` the file system's clock is ours (a local disk), and a file that was last changed long
        ago is still at once; otherwise the window starts with our first look.
        """
        known = self._seen.get(path)
        if known is not None and known[0] == look:
            return
        first_look = known is None
        still_since = look.changed_at if trust_times and first_look and look.changed_at <= now else now
        self._seen[path] = (look, still_since)

    def postpone(self, path: Path, until: float) -> None:
        """Let a file wait although it is still, for instance because somebody holds it open."""
        self._not_before[path] = until

    def forget(self, path: Path) -> None:
        self._seen.pop(path, None)
        self._not_before.pop(path, None)

    def next_due(self) -> float | None:
        """When the first of the files will have been still for the window; None without files."""
        return min((self._due_at(path) for path in self._seen), default=None)

    def due(self, now: float) -> list[Still]:
        """Files still for the window, longest first. They remain until they are forgotten."""
        still = [Still(path, look, since) for path, (look, since) in self._seen.items() if self._due_at(path) <= now]
        return sorted(still, key=lambda file: (file.since, file.path))

    def _due_at(self, path: Path) -> float:
        return max(self._seen[path][1] + self.window, self._not_before.get(path, 0.0))
