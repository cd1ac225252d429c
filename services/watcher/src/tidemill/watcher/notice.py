"""Notices what happens in a folder: by the platform's events where they work, else by looking again and again."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path, PurePosixPath
from typing import Literal
from uuid import uuid4

from watchfiles._rust_notify import RustNotify

from tidemill.common.config.sources import Watch
from tidemill.watcher.errors import FolderAway, UnreadableName
from tidemill.watcher.policy import OUR_FOLDERS, PROBE_PREFIX, wanted
from tidemill.watcher.stillness import Look

Method = Literal["native", "polling"]

# It has a line for every batch of events, the probe's and the excluded files' too.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

# Their events tell only of what this machine itself writes.
NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "vboxsf")
PROBE_SECONDS = 2.0
GROUP_MS = 200
STEP_MS = 100
"""Events are told when none came for a step, and after a group of them at the latest."""


async def choose_method(folder: Path) -> tuple[Method, str]:
    """Find out whether events arrive in this folder, and the reason for the answer in words."""
    filesystem = filesystem_of(folder)
    if filesystem in NETWORK_FILESYSTEMS or filesystem.startswith("fuse."):
        return "polling", f"{filesystem} does not tell of what other machines write"
    probe = folder / f"{PROBE_PREFIX}{uuid4().hex}"
    try:
        probe.touch()
    except OSError as error:
        return "native", f"not probed, since nothing can be written there ({error.strerror})"
    finally:
        with suppress(OSError):
            probe.unlink()
    try:
        arrived = await _events_arrive(folder, probe)
    except OSError as error:
        return "polling", f"events cannot be had here ({error})"
    if arrived:
        return "native", "a probe file was noticed"
    return "polling", f"a probe file was not noticed within {PROBE_SECONDS:g} s"


async def _events_arrive(folder: Path, probe: Path) -> bool:
    async def touch() -> None:
        while True:
            await asyncio.sleep(0.05)
            probe.touch()
            probe.unlink()

    touching = asyncio.create_task(touch())
    try:
        async with asyncio.timeout(PROBE_SECONDS), aclosing(native_changes(folder, recursive=False)) as changes:
            async for paths in changes:
                if probe in paths:
                    return True
    except TimeoutError:
        return False
    except UnreadableName:  # It is an event, too.
        return True
    finally:
        touching.cancel()
        await asyncio.gather(touching, return_exceptions=True)
        with suppress(OSError):
            probe.unlink()
    return False


def filesystem_of(folder: Path) -> str:
    """Type of the file system, as the mount table names it; empty where that cannot be told."""
    if sys.platform != "linux":
        return ""
    real = os.path.realpath(folder)
    best, found = "", ""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mount, filesystem, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if (real == mount or real.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, found = mount, filesystem
    return found


async def native_changes(folder: Path, *, recursive: bool) -> AsyncGenerator[set[Path], None]:
    """Paths that something happened to, a moment after it happened; for ever. Raises UnreadableName, and OSError where
    it cannot be watched. It is watched from the first step on."""
    # Not awatch(): its thread hears of a cancel only at the end of a wait, for which it must wake up all the time.
    notify = RustNotify([str(folder)], False, False, 0, recursive, False)
    loop = asyncio.get_running_loop()
    noticed: asyncio.Queue[set[Path] | Exception] = asyncio.Queue()
    stop = threading.Event()

    def tell(what: set[Path] | Exception) -> None:
        with suppress(RuntimeError):  # The loop has ended, and so do we.
            loop.call_soon_threadsafe(noticed.put_nowait, what)

    def collect() -> None:
        try:
            while isinstance(changes := notify.watch(GROUP_MS, STEP_MS, 0, stop), set):
                tell({Path(path) for _, path in changes})
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            tell(error)

    threading.Thread(target=collect, name=f"notice {folder.name}", daemon=True).start()
    try:
        while not isinstance(found := await noticed.get(), Exception):
            yield found
        raise UnreadableName(str(folder)) if "Unable to decode path" in str(found) else found
    finally:
        stop.set()


def find_files(folder: Path, watch: Watch) -> Iterator[tuple[Path, Look]]:
    """The wanted files below the watched folder, links not followed. Raises FolderAway when it is not there."""
    try:
        entries = os.scandir(folder)
    except OSError as error:
        raise FolderAway(f"{folder}: {error.strerror}") from error
    yield from _find_below(entries, PurePosixPath(), watch)


def _find_below(entries: "os._ScandirIterator[str]", below: PurePosixPath, watch: Watch) -> Iterator[tuple[Path, Look]]:
    with entries:
        for entry in entries:
            relative = below / entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if watch.recursive and str(relative) not in OUR_FOLDERS:
                        yield from _find_below(os.scandir(entry.path), relative, watch)
                elif entry.is_file(follow_symlinks=False) and wanted(relative, watch):
                    yield Path(entry.path), Look.of(entry.stat(follow_symlinks=False))
            except OSError:
                # It went while we looked, or may not be read now; the next look tells.
                continue
