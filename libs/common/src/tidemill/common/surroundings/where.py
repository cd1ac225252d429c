"""One machine, a container, or Kubernetes: by what each leaves for a process to see."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

import psutil

from tidemill.common.surroundings.cpus import Cpus, cpus
from tidemill.common.surroundings.memory import Memory, smallest

ROOT = Path("/")
MARKS = (".dockerenv", "run/.containerenv")
"""Files that Docker and Podman put into each container."""


class Kind(StrEnum):
    MACHINE = "machine"
    CONTAINER = "container"
    KUBERNETES = "kubernetes"


class Settings(Protocol):
    """What of the common settings matters here."""

    @property
    def runs_in(self) -> Literal["auto", "machine", "container", "kubernetes"]: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    kind: Kind
    why: str
    cpus: Cpus
    memory: Memory
    """`total` is what this process may have at most."""
    display: bool
    """Whether a window could be shown."""


def surroundings(
    settings: Settings, environ: Mapping[str, str] | None = None, root: Path = ROOT, memory: int | None = None
) -> Surroundings:
    """`root` and `memory` stand for the machine's own in tests."""
    environ = os.environ if environ is None else environ
    kind, why = _kind(environ, root)
    if settings.runs_in != "auto":
        kind, why = Kind(settings.runs_in), "runs_in says so"
    process = root / "proc" / "self"
    total = memory or psutil.virtual_memory().total
    display = bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    return Surroundings(kind, why, cpus(process), smallest(total, process), display)


def _kind(environ: Mapping[str, str], root: Path) -> tuple[Kind, str]:
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return Kind.KUBERNETES, "KUBERNETES_SERVICE_HOST is set"
    for mark in MARKS:
        if (root / mark).exists():
            return Kind.CONTAINER, f"/{mark} is there"
    if environ.get("container"):  # systemd-nspawn, LXC and Podman set it for process 1 and its children.
        return Kind.CONTAINER, f"the environment says container={environ['container']}"
    return Kind.MACHINE, "nothing tells of a container"
