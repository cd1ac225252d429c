"""Remembers what came of attempts, and tells of it: a group of them with few statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidemill.common.bus.step import Done, Outgoing, Tx
from tidemill.common.events import DocumentFailed, ScrapeDue
from tidemill.common.http.holding import LOUD, forget_holds, note_held
from tidemill.common.telemetry.metrics import PAGES, Metrics
from tidemill.scraper import policy, store
from tidemill.scraper.outcomes import Attempt, Claimed, HeldBack, Listed, Superseded
from tidemill.scraper.policy import Trouble
from tidemill.scraper.settle import Settled, Tally, settle
from tidemill.scraper.tables import holds

LOOK_AGAIN = timedelta(seconds=10)
"""At a host of which nobody knows when it may be asked."""
Scraped = Done[ScrapeDue, Attempt]


@dataclass(frozen=True, slots=True)
class Result:
    """An attempt that counts, and what it comes to."""

    done: Scraped
    claimed: Claimed
    tally: Tally
    settled: Settled


async def record_attempts(tx: Tx, results: Sequence[Scraped], *, metrics: Metrics) -> list[Outgoing]:
    """Each outcome once, whoever else had the same job: the job's row decides."""
    attempts = {
        (done.event.run, done.event.item): done
        for done in sorted(results, key=lambda done: (done.event.source, done.event.item, done.event.run))
        if not isinstance(done.result.outcome, Superseded)
    }
    tallies = await store.count_attempts(tx, list(attempts.values()))
    ours = {key: done for key, done in attempts.items() if key in tallies}
    outgoing = [event for done in ours.values() if (event := await _held_back(tx, done)) is not None]
    settled = [
        Result(done, _claimed(done), tallies[key], settle(done.event, done.result, tallies[key]))
        for key, done in ours.items()
        if not isinstance(done.result.outcome, HeldBack)
    ]
    if not settled:
        return outgoing
    await _forget_holds(tx, settled)
    await store.add_pages(tx, [result.done for result in settled])
    await _remember(tx, settled)
    await store.see_targets(tx, [entry for result in settled for entry in result.settled.entries])
    await store.move_searches(tx, [result.settled.search for result in settled if result.settled.search])
    await store.note_targets(tx, [result.settled.target for result in settled if result.settled.target])
    await store.settle_jobs(tx, [(result.done.event, not result.claimed.limited, result.settled) for result in settled])
    for result in settled:
        _count(metrics, result)
        outgoing += _told(result)
    await store.stop_enough(tx, {result.done.event.run for result in settled if result.claimed.limited})
    return outgoing + await _troubles(tx, settled)


def _claimed(done: Scraped) -> Claimed:
    assert done.result.claimed is not None
    return done.result.claimed


async def _remember(tx: Tx, settled: Sequence[Result]) -> None:
    """What search pages said, so that they need not be sent again."""
    for result in settled:
        done, listed = result.done, result.done.result.outcome
        if isinstance(listed, Listed):
            await store.remember_search_page(tx, done.event.source, listed.asked, listed.known, done.result.at)


def _told(result: Result) -> list[Outgoing]:
    done, settled = result.done, result.settled
    told = [done.tell(settled.event, "document")] if settled.event is not None else []
    if settled.next_url and not result.claimed.limited:
        due = done.event.model_copy(update={"url": settled.next_url})
        told.append(Outgoing(store.due_id(due, result.tally.handed + 1), due, done.traceparent))
    return told


def _count(metrics: Metrics, result: Result) -> None:
    page = result.done.result.page
    outcome = result.settled.failure or result.settled.outcome or (page.state if page else "") or "ok"
    metrics.of(PAGES, source=result.done.event.source, kind=result.done.event.kind, outcome=outcome).inc()


async def _forget_holds(tx: Tx, settled: Sequence[Result]) -> None:
    """Whoever answered now is not held by what was before."""
    began: dict[tuple[str, str], datetime] = {}
    for result in settled:
        key = (result.done.event.source, result.claimed.host)
        began[key] = max(began.get(key, result.done.result.began_at), result.done.result.began_at)
    for (source, host), at in sorted(began.items()):
        await forget_holds(tx, holds, source, host, at)


async def _held_back(tx: Tx, done: Scraped) -> Outgoing | None:
    """Later, and so everything else that waits for this host; the run stays open meanwhile. Told once per cause."""
    due, attempt = done.event, done.result
    held = attempt.outcome
    if not isinstance(held, HeldBack):
        return None
    until = max(held.until or attempt.at + LOOK_AGAIN, attempt.at + timedelta(seconds=1))
    await store.postpone(tx, due.run, due.item, until)
    if held.reason not in LOUD:
        return None
    await store.leave_host(tx, due.source, _claimed(done).host, until)
    event = await note_held(tx, holds, due.source, due.run, held, attempt.at)
    return None if event is None else done.tell(event, "held")


async def _troubles(tx: Tx, settled: Sequence[Result]) -> list[Outgoing]:
    """A host that fails several times in a row is left alone for a while; in the end the run asks it no more. Walls
    that answer 200 and refusals count alike; what the client's breaker sees by itself, it holds besides."""
    by_host: dict[tuple[str, str, str], list[Result]] = {}
    for result in sorted(settled, key=lambda result: result.done.result.at):
        event = result.done.event
        by_host.setdefault((event.source, result.claimed.host, event.run), []).append(result)
    outgoing: list[Outgoing] = []
    for (source, host, run), in_order in sorted(by_host.items()):
        troubles = [Trouble(result.settled.trouble, result.tally.attempts <= 1) for result in in_order]
        last = troubles[-1].failure
        if not last:
            await store.forget_trouble(tx, source, host)
            continue
        in_row = await store.note_trouble(tx, source, host, run, policy.in_a_row(troubles), last)
        at = in_order[-1].done.result.at
        pause = policy.host_pause(in_row)
        if pause is not None:
            await store.leave_host(tx, source, host, at + pause)
        elif in_row >= policy.STOP_AFTER:
            dropped = await store.drop_host(tx, source, host, run, last)
            outgoing += [_dropped(job, last, in_row, in_order[-1]) for job in dropped]
    return outgoing


def _dropped(job: store.Dropped, failure: str, in_row: int, result: Result) -> Outgoing:
    failed = DocumentFailed(
        source=job.source,
        run=job.run,
        item=job.item,
        name=job.name,
        url=job.url,
        failure=failure,
        detail=f"{job.host} failed {in_row} times in a row, and this run asks it no more",
        attempts=job.attempts,
        requests=job.requests,
        bytes_received=job.bytes_received,
        failed_at=result.done.result.at,
    )
    return Outgoing(f"{job.run}/{job.item}/dropped", failed, result.done.traceparent)
