"""Remembers what came of attempts, and tells of it."""

from collections.abc import Sequence
from datetime import timedelta

from tidemill.common.bus.step import Done, Outgoing, Tx
from tidemill.common.events import (
    DocumentFailed,
    DocumentRefused,
    DocumentStored,
    DocumentUnchanged,
    DownloadDue,
    Event,
)
from tidemill.common.http.holding import LOUD, forget_holds, note_held
from tidemill.common.telemetry.metrics import DOWNLOADS, Metrics
from tidemill.downloader import policy, store
from tidemill.downloader.outcomes import Attempt, Downloaded, Failed, HeldBack, Refused, Superseded, Unchanged
from tidemill.downloader.tables import holds

LOOK_AGAIN = timedelta(seconds=10)
"""At a host of which nobody knows when it may be asked."""
Download = Done[DownloadDue, Attempt]


async def record_attempts(tx: Tx, results: Sequence[Download], *, metrics: Metrics) -> list[Outgoing]:
    """Each outcome once, whoever else had the same job: the job's row decides."""
    outgoing: list[Outgoing] = []
    for done in sorted(results, key=lambda done: (done.event.source, done.event.item, done.event.run)):
        due, attempt = done.event, done.result
        if isinstance(attempt.outcome, Superseded):
            continue
        failed = isinstance(attempt.outcome, Failed)
        tally = await store.count_attempt(tx, due.run, due.item, failed=failed, usage=attempt.usage)
        if tally is None:
            continue
        if isinstance(attempt.outcome, HeldBack):
            event = await _held_back(tx, due, attempt, attempt.outcome)
            outgoing += [done.tell(event, "held")] if event else []
            continue
        await forget_holds(tx, holds, due.source, policy.host_of(due.url), attempt.began_at)
        event = await _outcome(tx, due, attempt, tally)
        if event is not None:
            outcome = type(event).__name__.removeprefix("Document").lower()
            await store.finish(tx, due.run, due.item, outcome)
            metrics.of(DOWNLOADS, source=due.source, outcome=outcome).inc()
            outgoing.append(done.tell(event, "document"))
    return outgoing


async def _outcome(tx: Tx, due: DownloadDue, attempt: Attempt, tally: store.Tally) -> Event | None:
    """What the item came to; None when it will be tried again."""
    match attempt.outcome:
        case Downloaded() as downloaded:
            return await _downloaded(tx, due, attempt, downloaded, tally)
        case Unchanged():
            return await _unchanged(tx, due, attempt, tally)
        case Refused() as refused:
            return await _refused(tx, due, attempt, refused, tally)
        case Failed() as failed:
            return await _failed(tx, due, attempt, failed, tally)
        case other:
            raise AssertionError(f"{other} is no outcome of an item")


async def _downloaded(tx: Tx, due: DownloadDue, attempt: Attempt, downloaded: Downloaded, tally: store.Tally) -> Event:
    """New bytes are a document, and so are those that an item holds again after others; the rest are no news, under
    whatever name they come."""
    before = await store.lock_present(tx, due.source, due.item)
    now_present = downloaded.present
    changed = before is None or before.sha256 != now_present.sha256
    first_name = await store.add_document(tx, due, now_present.sha256, attempt.at, changed=changed)
    await store.note_present(tx, due.source, due.item, now_present, attempt.at, changed=changed)
    if first_name is not None:
        return _known(due, attempt, now_present.sha256, now_present.size_bytes, first_name, tally)
    return DocumentStored(
        source=due.source,
        lane=attempt.lane,
        sha256=now_present.sha256,
        size_bytes=now_present.size_bytes,
        name=due.name,
        path=due.url,
        run=due.run,
        received_at=attempt.at,
        modified_at=downloaded.modified_at,
        item=due.item,
        previous_sha256=before.sha256 if before else "",
        requests=tally.requests,
        bytes_received=tally.bytes_received,
    )


async def _unchanged(tx: Tx, due: DownloadDue, attempt: Attempt, tally: store.Tally) -> Event:
    present = await store.lock_present(tx, due.source, due.item)
    assert present is not None  # or it would not have been asked for conditionally
    await store.note_present(tx, due.source, due.item, present, attempt.at, changed=False)
    first_name = await store.get_document_name(tx, due.source, present.sha256)
    return _known(due, attempt, present.sha256, present.size_bytes, first_name, tally)


def _known(
    due: DownloadDue, attempt: Attempt, sha256: str, size_bytes: int, first_name: str, tally: store.Tally
) -> Event:
    return DocumentUnchanged(
        source=due.source,
        sha256=sha256,
        size_bytes=size_bytes,
        name=due.name,
        path=due.url,
        run=due.run,
        duplicate_of=first_name,
        received_at=attempt.at,
        item=due.item,
        requests=tally.requests,
        bytes_received=tally.bytes_received,
    )


async def _refused(tx: Tx, due: DownloadDue, attempt: Attempt, refused: Refused, tally: store.Tally) -> Event:
    reason = refused.rejection.reason
    failures = await store.note_failure(tx, due.source, due.item, reason)
    await store.rest(tx, due.source, due.item, policy.next_check(failures, attempt.at))
    return DocumentRefused(
        source=due.source,
        name=due.name,
        path=due.url,
        size_bytes=refused.size_bytes,
        run=due.run,
        reason=reason,
        detail=refused.rejection.detail,
        received_at=attempt.at,
        item=due.item,
        requests=tally.requests,
        bytes_received=tally.bytes_received,
    )


async def _failed(tx: Tx, due: DownloadDue, attempt: Attempt, failed: Failed, tally: store.Tally) -> Event | None:
    pause = policy.pause_after(tally.attempts, failed.not_before, attempt.at) if failed.retry else None
    if pause is not None:
        await store.postpone(tx, due.run, due.item, attempt.at + pause)
        return None
    failures = await store.note_failure(tx, due.source, due.item, failed.failure)
    if failed.failure != policy.NOT_PUBLISHED:
        await store.rest(tx, due.source, due.item, policy.next_check(failures, attempt.at))
    return DocumentFailed(
        source=due.source,
        run=due.run,
        item=due.item,
        name=due.name,
        url=due.url,
        failure=failed.failure,
        detail=failed.detail,
        attempts=tally.attempts,
        requests=tally.requests,
        bytes_received=tally.bytes_received,
        failed_at=attempt.at,
    )


async def _held_back(tx: Tx, due: DownloadDue, attempt: Attempt, held: HeldBack) -> Event | None:
    """Later, and so everything else that waits for this host; the run stays open meanwhile. Told once per cause."""
    until = max(held.until or attempt.at + LOOK_AGAIN, attempt.at + timedelta(seconds=1))
    await store.postpone(tx, due.run, due.item, until)
    if held.reason not in LOUD:
        return None
    await store.postpone_host(tx, due.source, policy.host_of(due.url), until)
    return await note_held(tx, holds, due.source, due.run, held, attempt.at)
