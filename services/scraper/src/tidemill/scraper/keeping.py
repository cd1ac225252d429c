"""Pages in the archive."""

from collections.abc import AsyncIterator

from tidemill.common.archive import Archive, ArchiveUnavailable, CorruptArchive, NotArchived
from tidemill.common.bus.step import Unavailable


async def keep(archive: Archive, content: bytes) -> str:
    """Its SHA-256. Raises Unavailable."""

    async def whole() -> AsyncIterator[bytes]:
        yield content

    try:
        return (await archive.put(whole())).sha256
    except ArchiveUnavailable as away:
        raise Unavailable(str(away)) from away


async def find_kept(archive: Archive, sha256: str) -> bytes | None:
    """None where it is gone or damaged. Raises Unavailable."""
    try:
        return b"".join([piece async for piece in archive.read(sha256)])
    except (NotArchived, CorruptArchive):
        return None
    except ArchiveUnavailable as away:
        raise Unavailable(str(away)) from away
