"""What this machine has left."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from tidemill.alerter.measures.declared import Sample
from tidemill.common.config.units import size_text
from tidemill.common.surroundings.memory import scarcest

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
    memory = scarcest()
    yield Sample(
        measure="memory_free",
        value=memory.share,
        says=f"{_size(memory.free)} of {_size(memory.total)} can be had {memory.where}",
    )


def _size(amount: int) -> str:
    return size_text(amount // MB * MB)
