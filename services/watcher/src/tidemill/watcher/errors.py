"""The ways a file cannot be taken now."""


class StillChanging(Exception):
    """The file changed while it was read, or somebody writes to it: look again later."""


class UnreadableName(Exception):
    """The platform told of a file whose name is no text: look at all files."""


class FolderAway(Exception):
    """The watched folder is not there (a missing mount): wait for it, nothing has failed."""
