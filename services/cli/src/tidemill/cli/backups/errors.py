"""The ways a backup or a restore fails."""


class BackupFailed(Exception):
    """Nothing that could be used was made; the sentence says why and what to do."""


class BackupDamaged(Exception):
    """Part of a backup is missing or is not what was written; the sentence names it."""


class PlaceNotEmpty(Exception):
    """A restore would mix with what is there; the sentence says what, and where."""
