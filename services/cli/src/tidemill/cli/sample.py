"""The bundled sample: copied into its inbox folder, and watched until it is converted."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from tidemill.common.config.references import resolved

if TYPE_CHECKING:
    from tidemill.common.config import Config, Sources

SOURCE = "szerencsemix"
LOOK_SECONDS = 0.2


class NoSample(Exception):
    """The sample is not where it should be; the text says where that is."""


def find() -> Path:
    """The folder that holds `examples/` and `sources/`: the working folder, or the checkout this code runs from."""
    for root in (Path.cwd(), *Path(__file__).resolve().parents):
        if any((root / "examples" / SOURCE).glob("*.pdf")) and (root / "sources" / f"{SOURCE}.yaml").is_file():
            return root
    raise NoSample(f"no examples/{SOURCE}/*.pdf here: run --demo in a checkout of Tidemill")


def provide_source(config: Config) -> None:
    """Put the source file of the sample beside the others, unless there is one."""
    bundled = find() / "sources" / f"{SOURCE}.yaml"
    wanted = config.common.sources_dir / bundled.name
    if not wanted.exists():
        wanted.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundled, wanted)


def drop(sources: Sources) -> list[Path]:
    """Copy the sample into the inbox: under a name that is not taken, then renamed, as a careful writer does. What is
    there already is left as it is."""
    watch = sources[SOURCE].watch
    assert watch, f"sources/{SOURCE}.yaml watches no folder"
    watch.folder.mkdir(parents=True, exist_ok=True)
    samples = sorted((find() / "examples" / SOURCE).glob("*.pdf"))
    for sample in samples:
        if not (watch.folder / sample.name).exists():
            draft = watch.folder / f".{sample.name}.part"
            shutil.copyfile(sample, draft)
            draft.rename(watch.folder / sample.name)
    return samples


CONVERTED = """
SELECT outcome, finished_at FROM converter.documents
WHERE source = $1 AND sha256 = $2 AND state = 'finished' ORDER BY finished_at DESC LIMIT 1
"""


async def converted(database_url: str, sample: Path) -> tuple[str, datetime]:
    """The outcome, once there is one, and since when."""
    sha256 = hashlib.sha256(sample.read_bytes()).hexdigest()
    while True:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # It may be starting again.
            row = await _fetch(database_url, sha256)
            if row is not None:
                return row["outcome"], row["finished_at"]
        await asyncio.sleep(LOOK_SECONDS)


async def _fetch(database_url: str, sha256: str) -> asyncpg.Record | None:
    connection = await asyncpg.connect(resolved(database_url))
    try:
        return await connection.fetchrow(CONVERTED, SOURCE, sha256)
    finally:
        await connection.close()
