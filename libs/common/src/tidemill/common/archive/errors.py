"""The ways the archive fails."""

from tidemill.common.bus.step import Unavailable


class ArchiveUnavailable(Unavailable):
    """The archive cannot take or give bytes now: disk full, mount missing, store away, no permission. Nothing
    half-written was left; try again."""


class NotArchived(LookupError):
    """The archive does not hold this content."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"the archive does not hold {sha256}")
        self.sha256 = sha256


class CorruptArchive(Exception):
    """What is stored under a key is not what was put there."""

    def __init__(self, sha256: str, key: str, detail: str) -> None:
        super().__init__(f"the archive's {key} is corrupt: {detail}")
        self.sha256 = sha256
        self.key = key


class ChangedWhileReading(Exception):
    """A file was still being written while it was put; nothing was stored."""
