"""The ways a run cannot be planned."""


class Unplannable(Exception):
    """What the run should look for cannot be said, and trying again does not help."""

    def __init__(self, failure: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        """Slug that can be counted."""
        self.detail = detail
