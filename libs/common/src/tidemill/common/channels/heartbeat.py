"""A sign of life outwards, while all is well: when it stays away, somebody else raises the alarm."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from tidemill.common.bus.activity import to_the_second
from tidemill.common.channels.masking import said
from tidemill.common.channels.posting import verdict_of
from tidemill.common.config.heartbeat import HeartbeatSettings
from tidemill.common.config.references import UnresolvedReference, resolved
from tidemill.common.http import Calls, FetchFailure
from tidemill.common.http.guard import Resolve, resolve
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import HEARTBEATS, Metrics

log = get_logger(__name__)

LOOK_EVERY = 1.0
AGAIN_AFTER = timedelta(seconds=30)
CHECK_SECONDS = 10.0

Wrong = Callable[[], Awaitable[str | None]]
"""What is wrong; None when all is well."""
Decision = Literal["send", "not_due", "withhold"]


def decide(*, now: datetime, last: datetime | None, failed: bool, every: timedelta, wrong: str | None) -> Decision:
    """Whether it is time for a sign: `last` is when one was last sent, withheld or `failed`."""
    pause = min(every, AGAIN_AFTER) if failed else every
    if last is not None and now < last + pause:
        return "not_due"
    return "withhold" if wrong else "send"


class Heartbeat:
    """To be closed; `run` is a task of the service that knows whether all is well."""

    def __init__(
        self,
        settings: HeartbeatSettings,
        metrics: Metrics,
        wrong: Wrong,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        resolve: Resolve = resolve,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._wrong = wrong
        self._now = now
        self._calls = Calls(resolve=resolve, setting="allow_private of the heartbeat")
        self._last: datetime | None = None
        self._failed = False
        self.complaint: str | None = None
        """Why the last sign could not be sent, or was withheld."""

    async def close(self) -> None:
        await self._calls.close()

    async def run(self) -> None:
        while True:
            await self.round()
            await asyncio.sleep(to_the_second(LOOK_EVERY))

    async def round(self) -> Decision:
        """Send a sign if it is time, and all is well."""
        if self._settings.url is None:
            return "not_due"
        now = self._now()
        decision = self._decision(now, wrong=None)
        if decision == "not_due":
            return decision
        wrong = await self._what_is_wrong()
        decision = self._decision(now, wrong)
        self._last = now
        # What was withheld is due again soon: the alarm outside shall end when the trouble does.
        failure = wrong if decision == "withhold" else await self._send(self._settings.url)
        self._failed = failure is not None
        outcome = "withheld" if wrong else "failed" if failure else "sent"
        self._metrics.of(HEARTBEATS, outcome=outcome).inc()
        if failure and failure != self.complaint:
            log.warning("no sign of life is sent outwards", outcome=outcome, why=failure)
        self.complaint = failure
        return decision

    def _decision(self, now: datetime, wrong: str | None) -> Decision:
        return decide(now=now, last=self._last, failed=self._failed, every=self._settings.every, wrong=wrong)

    async def _what_is_wrong(self) -> str | None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await self._wrong()
        except TimeoutError:
            return f"whether all is well is not known within {CHECK_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 Who cannot say that all is well does not say so.
            return said(f"{type(error).__name__}: {error}")

    async def _send(self, url: str) -> str | None:
        settings = self._settings
        try:
            called = await self._calls.call(
                resolved(url),
                method=settings.method,
                time_limit=settings.time_limit,
                allow_private=settings.allow_private,
                ca_file=settings.ca_file,
            )
        except (FetchFailure, UnresolvedReference) as failure:
            return said(str(failure))
        return None if verdict_of(called.status) == "taken" else f"answered {called.status}: {said(called.content)}"
