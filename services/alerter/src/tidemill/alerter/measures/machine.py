"""What this machine has left."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from tidemill.alerter.measures.declared import Sample
from tidemill.common.config.units import size_text

MB = 1_000_000


def samples(data_dir: Path) -> Iterator[Sample]:
    try:
        disk = shutil.disk_usage(data_dir)
        yield Sample(
            measure="disk_free",
            value=disk.free / disk.total,
            says=f"{_size(disk.free)} of {_size(disk.total)} are free",
        )
    except OSError:  # Not made yet, or on a share that is away: nobody can say what is free there.
        pass
    memory = psutil.virtual_memory()
    yield Sample(
        measure="memory_free",
        value=memory.available / memory.total,
        says=f"{_size(memory.available)} of {_size(memory.total)} can be had",
    )


def _size(amount: int) -> str:
    return size_text(amount // MB * MB)
