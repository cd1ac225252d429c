"""Runs in, plans out; jobs in, what became of each file out."""

from datetime import timedelta

from tidemill.common.bus.rights import Uses
from tidemill.common.bus.step import Record, Step, Work
from tidemill.common.events import (
    DocumentFailed,
    DocumentRefused,
    DocumentStored,
    DocumentUnchanged,
    DownloadDue,
    FetchHeld,
    PublicationLate,
    RunPlanned,
    RunRequested,
)
from tidemill.downloader.outcomes import Attempt
from tidemill.downloader.plan import RETRIES, Plan

USES = Uses(
    consumes={"downloader-plan": RunRequested, "downloader-fetch": DownloadDue},
    publishes=(
        RunPlanned,
        DownloadDue,
        DocumentStored,
        DocumentUnchanged,
        DocumentRefused,
        DocumentFailed,
        FetchHeld,
        PublicationLate,
    ),
)
ACK_WAIT = timedelta(seconds=15)
"""After so long without a sign the work of a killed downloader goes on elsewhere."""


def plan_step(
    work: Work[RunRequested, Plan | None], record: Record[RunRequested, Plan | None]
) -> Step[RunRequested, Plan | None]:
    return Step(
        name="downloader-plan", event=RunRequested, work=work, record=record, slots=8, ack_wait=ACK_WAIT, retry=RETRIES
    )


def fetch_step(
    work: Work[DownloadDue, Attempt], record: Record[DownloadDue, Attempt], *, slots: int
) -> Step[DownloadDue, Attempt]:
    return Step(name="downloader-fetch", event=DownloadDue, work=work, record=record, slots=slots, ack_wait=ACK_WAIT)
