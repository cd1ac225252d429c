"""Bytes by their SHA-256, in a folder or any object store."""

from tidemill.common.archive.archive import Archive, Described, Stored
from tidemill.common.archive.errors import ArchiveUnavailable, ChangedWhileReading, CorruptArchive, NotArchived
from tidemill.common.archive.store import Entry

__all__ = [
    "Archive",
    "ArchiveUnavailable",
    "ChangedWhileReading",
    "CorruptArchive",
    "Described",
    "Entry",
    "NotArchived",
    "Stored",
]
