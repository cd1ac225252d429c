"""Runs in, plans out; jobs in, what became of each page out."""

from datetime import timedelta

from tidemill.common.bus.rights import Uses
from tidemill.common.bus.step import Record, Step, Work
from tidemill.common.events import (
    DocumentFailed,
    DocumentGone,
    DocumentStored,
    DocumentUnchanged,
    FetchHeld,
    RunPlanned,
    RunRequested,
    ScrapeDue,
)
from tidemill.scraper.outcomes import Attempt
from tidemill.scraper.plan import Begun

USES = Uses(
    consumes={"scraper-plan": RunRequested, "scraper-fetch": ScrapeDue},
    publishes=(
        RunPlanned,
        ScrapeDue,
        DocumentStored,
        DocumentUnchanged,
        DocumentFailed,
        DocumentGone,
        FetchHeld,
    ),
)
ACK_WAIT = timedelta(seconds=15)
"""After so long without a sign the work of a killed scraper goes on elsewhere."""


def plan_step(
    work: Work[RunRequested, Begun | None], record: Record[RunRequested, Begun | None]
) -> Step[RunRequested, Begun | None]:
    return Step(name="scraper-plan", event=RunRequested, work=work, record=record, slots=8, ack_wait=ACK_WAIT)


def fetch_step(
    work: Work[ScrapeDue, Attempt], record: Record[ScrapeDue, Attempt], *, slots: int
) -> Step[ScrapeDue, Attempt]:
    return Step(name="scraper-fetch", event=ScrapeDue, work=work, record=record, slots=slots, ack_wait=ACK_WAIT)
