"""Emergency stop and pause: the bucket `tidemill-control`, obeyed within a second."""


class Control:
    def stopped(self, source: str | None = None) -> str | None:
        """Why this service (or this source in it) must stop; None when it may work."""
        raise NotImplementedError

    def paused(self, source: str | None = None) -> str | None:
        """Why nothing new may begin; None when it may."""
        raise NotImplementedError

    async def wait_until_allowed(self, source: str | None = None) -> None:
        """Return when neither stopped nor paused."""
        raise NotImplementedError
