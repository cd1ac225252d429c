"""Pages in the archive."""

from tidemill.common.archive import Archive, ArchiveUnavailable, CorruptArchive, NotArchived
from tidemill.common.bus.step import Unavailable


async def keep(archive: Archive, content: bytes) -> str:
    """Its SHA-256. Raises Unavailable."""
    try:
        return (await archive.put_bytes(content)).sha256
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
