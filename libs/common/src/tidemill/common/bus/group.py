"""Group commit: many outcomes in one transaction, then their events are published, then their messages answered."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from opentelemetry.trace import Span
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.dead_letters import DeadLetters
from tidemill.common.bus.inbox import Inbox
from tidemill.common.bus.outbox import Outbox, row_of
from tidemill.common.bus.outcome import Again, Dead, Finished, Item, Outcome, Recorded
from tidemill.common.bus.publish import Row
from tidemill.common.bus.retry import Retries, judge
from tidemill.common.bus.step import Done, Outgoing, Step, Tx
from tidemill.common.bus.supervise import describe
from tidemill.common.bus.transient import is_timeout, is_transient
from tidemill.common.telemetry.metrics import (
    DEAD_LETTERED,
    DUPLICATES_SUPPRESSED,
    GROUP_COMMIT_SIZE,
    HANDLED,
    RECORD_SECONDS,
    RETRIES,
)
from tidemill.common.telemetry.tracing import Telemetry, fail

log = structlog.get_logger(__name__)
_details = logging.getLogger(__name__)
"""Asked first whether anybody wants to know: this happens for every event."""

ENOUGH = 64
MOST = 256
WITHIN = 0.05
LONGEST = 0.25
"""A group that grows is let grow: each of its statements costs the same for one outcome and for many. Whatever the step
has patience for, no longer where something of the first of several lanes waits in it."""
TICK = 0.005
ROOM = 2 * MOST
"""Outcomes that may wait; whoever brings more waits, and keeps a slot occupied meanwhile."""
PUBLISHING = 3
"""Groups that may be published while the next ones are committed."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
UNRECORDABLE_PAUSE = 60.0


class TooSlow(Exception):
    """`record` ran into the statement timeout: it would again, so this is a failure and no passing trouble."""


class Group:
    """Of one step. `finished` is told of every item whose message was answered."""

    def __init__(
        self,
        step: Step[Any, Any],
        *,
        engine: AsyncEngine,
        inbox: Inbox,
        retries: Retries,
        dead_letters: DeadLetters,
        outbox: Outbox,
        telemetry: Telemetry,
        finished: Callable[[Item], None],
        more_to_come: Callable[[], bool],
    ) -> None:
        self._step = step
        self._engine = engine
        self._inbox = inbox
        self._retries = retries
        self._dead_letters = dead_letters
        self._outbox = outbox
        self._telemetry = telemetry
        self._metrics = telemetry.metrics
        self._finished = finished
        self._more_to_come = more_to_come
        self._waiting: asyncio.Queue[Outcome] = asyncio.Queue(ROOM)
        self._publishing = asyncio.Semaphore(PUBLISHING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[int, Outcome] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.problem: str | None = None

    async def put(self, outcome: Outcome) -> None:
        """Hand over; waits while there is no room."""
        self._enter(outcome)
        try:
            await self._waiting.put(outcome)
        except asyncio.CancelledError:
            self._leave(outcome)
            raise

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        while True:
            group = await self._gather()
            try:
                await self._commit(group)
            except Exception:
                await self._let_go(group)
                raise

    async def drained(self) -> None:
        """Return when everything that was handed over is committed, published and answered."""
        await self._idle.wait()

    async def _gather(self) -> list[Outcome]:
        """What comes until nothing has joined for 50 ms, or the step's patience ends; sooner when it is enough, or
        nothing else is at work that could join."""
        group: list[Outcome] = []
        weight, patience = 0, self._step.patience.total_seconds()
        outcome: Outcome | None = await self._waiting.get()
        began = asyncio.get_running_loop().time()
        while outcome is not None:
            group.append(outcome)
            weight += outcome.weight
            if self._is_urgent(outcome):
                patience = min(patience, LONGEST)
            outcome = await self._next(weight, began + patience)
        return group

    async def _next(self, weight: int, until: float) -> Outcome | None:
        """What joins a group of this weight; None when it is to wait no longer."""
        if weight < MOST and not self._waiting.empty():
            return self._waiting.get_nowait()
        if weight >= ENOUGH:
            return None
        if not self._more_to_come():
            await asyncio.sleep(TICK)
            if self._waiting.empty() and not self._more_to_come():
                return None
        try:
            async with asyncio.timeout(min(WITHIN, until - asyncio.get_running_loop().time())):
                return await self._waiting.get()
        except TimeoutError:
            return None

    def _is_urgent(self, outcome: Outcome) -> bool:
        return outcome.item.message.lane is not None and outcome.item.message.lane == self._step.lanes[0]

    async def _commit(self, group: list[Outcome]) -> None:
        """Until it is done. The moment's errors are waited out and count nothing; on an error of the data everyone is
        committed alone, so that only the culprit fails."""
        pause = FIRST_PAUSE
        while True:
            try:
                fresh, rows = await self._transact(group)
                break
            except Exception as error:  # noqa: BLE001 Sorted below, and never swallowed.
                if is_transient(error):
                    self._say(f"nothing can be recorded: {describe(error)}")
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
                elif len(group) > 1:
                    for outcome in group:
                        await self._commit([outcome])
                    return
                else:
                    await self._refused(group[0], error)
                    return
        self._say(None)
        for outcome in group:
            if outcome.settled is not None and not outcome.settled.done():
                outcome.settled.set_result(None)
        await self._publishing.acquire()
        task = asyncio.create_task(self._publish_and_answer(group, fresh, rows))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _transact(self, group: Sequence[Outcome]) -> tuple[set[str], list[Row]]:
        """One transaction; returns the keys that were not handled before, and what is to be published."""
        step = self._step
        spans = self._begin_spans(group)
        try:
            with self._metrics.of(RECORD_SECONDS, consumer=step.name).time():
                async with self._engine.begin() as tx:
                    keys = {outcome.key for outcome in group if outcome.key is not None}
                    fresh = await self._inbox.claim(tx, step.name, keys) if keys else set()
                    first = _first_of_each_key(group, fresh)
                    rows: list[Row] = []
                    if results := sorted((o.done for o in first if isinstance(o, Recorded)), key=lambda done: done.id):
                        rows += map(row_of, await self._record(tx, results))
                    if failed := [outcome for outcome in first if isinstance(outcome, Again)]:
                        await self._retries.save(tx, step.name, failed)
                    if dead := [outcome for outcome in first if isinstance(outcome, Dead)]:
                        rows += await self._dead_letters.bury(tx, step.name, dead)
                    if recovered := [o.item.id for o in first if _ends_retries(o)]:
                        await self._retries.forget(tx, step.name, recovered)
                    return fresh, await self._outbox.insert(tx, rows)
        except BaseException as error:
            for span in spans:
                fail(span, error)
            raise
        finally:
            for span in spans:
                span.end()

    async def _record(self, tx: Tx, results: Sequence[Done[Any, Any]]) -> Sequence[Outgoing]:
        try:
            return await self._step.record(tx, results)
        except Exception as error:
            if is_timeout(error):
                raise TooSlow(f"{len(results)} results of {self._step.name}: {describe(error)}") from error
            raise

    def _begin_spans(self, group: Sequence[Outcome]) -> list[Span]:
        """One per event, in the event's own trace: a batch must not hide whose work it was."""
        return [
            self._telemetry.begin(
                f"{self._step.name} record", parent=outcome.item.span.get_span_context(), group_size=len(group)
            )
            for outcome in group
            if outcome.item.span is not None and outcome.item.span.is_recording()
        ]

    async def _refused(self, outcome: Outcome, error: Exception) -> None:
        """`record` cannot take this one. Whoever waits for it decides; else it is a failed attempt."""
        with outcome.item.lines():
            log.warning("not recorded", consumer=self._step.name, error=describe(error))
        if outcome.settled is not None:
            if not outcome.settled.done():
                outcome.settled.set_exception(error)
            self._leave(outcome)
        elif isinstance(outcome, (Recorded, Finished)):
            failure = judge(outcome.item, error, self._step.retry)
            self._enter(failure)
            self._leave(outcome)
            await self._commit([failure])
        else:
            with outcome.item.lines():
                log.error("a failure cannot be recorded; its event comes again", consumer=self._step.name)
            await outcome.item.nak(UNRECORDABLE_PAUSE)
            self._finish(outcome.item, "unrecordable")
            self._leave(outcome)

    async def _let_go(self, group: Sequence[Outcome]) -> None:
        """After an error of ours: nobody may wait for this group, and its events come again."""
        for outcome in group:
            if id(outcome) in self._open:
                if outcome.settled is not None and not outcome.settled.done():
                    outcome.settled.cancel()
                await outcome.item.nak(UNRECORDABLE_PAUSE)
                self._finish(outcome.item, "unrecordable")
                self._leave(outcome)

    async def _publish_and_answer(self, group: Sequence[Outcome], fresh: set[str], rows: Sequence[Row]) -> None:
        try:
            await self._outbox.publish(rows)
            first = {id(outcome) for outcome in _first_of_each_key(group, fresh)}
            for outcome in group:
                await self._answer(outcome, is_first=id(outcome) in first)
        finally:
            # Whatever happened, what is recorded is not kept alive any longer: if it comes again, the inbox knows it.
            for outcome in group:
                if not (isinstance(outcome, Recorded) and not outcome.done.last):
                    self._finished(outcome.item)
                self._leave(outcome)
            self._publishing.release()
        self._metrics.of(GROUP_COMMIT_SIZE, consumer=self._step.name).observe(len(group))

    async def _answer(self, outcome: Outcome, *, is_first: bool) -> None:
        item = outcome.item
        if isinstance(outcome, Recorded) and not outcome.done.last:
            return  # the event is still at work
        if isinstance(outcome, Again) and not outcome.from_table:
            await item.nak(outcome.pause.total_seconds())
        else:
            await item.ack()
        label = _outcome_label(outcome) if is_first else "duplicate"
        self._finish(item, label)
        consumer = self._step.name
        if not is_first:
            self._metrics.of(DUPLICATES_SUPPRESSED, layer="inbox").inc()
        elif isinstance(outcome, Dead):
            self._metrics.of(DEAD_LETTERED, consumer=consumer, reason=outcome.reason).inc()
            with item.lines():
                log.error("given up", consumer=consumer, reason=outcome.reason, error=outcome.error)
        elif isinstance(outcome, Again) and outcome.counted:
            self._metrics.of(RETRIES, consumer=consumer).inc()
            with item.lines():
                log.warning("will be tried again", consumer=consumer, attempt=item.attempt, error=outcome.error)
        elif _details.isEnabledFor(logging.DEBUG):
            with item.lines():
                log.debug("handled", consumer=consumer, outcome=label, attempt=item.attempt)

    def _finish(self, item: Item, label: str) -> None:
        self._metrics.of(HANDLED, consumer=self._step.name, outcome=label).inc()
        if item.span is not None:
            item.span.set_attribute("outcome", label)
            item.span.end()
        self._finished(item)

    def _enter(self, outcome: Outcome) -> None:
        self._open[id(outcome)] = outcome
        self._idle.clear()

    def _leave(self, outcome: Outcome) -> None:
        self._open.pop(id(outcome), None)
        if not self._open:
            self._idle.set()

    def _say(self, problem: str | None) -> None:
        if problem and not self.problem:
            log.warning(problem, consumer=self._step.name)
        elif self.problem and not problem:
            log.info("recording again", consumer=self._step.name)
        self.problem = problem


def _first_of_each_key(group: Sequence[Outcome], fresh: set[str]) -> list[Outcome]:
    """Without what was recorded before, here or by another process; two of one key in a group are one."""
    seen: set[str] = set()
    first = []
    for outcome in group:
        key = outcome.key
        if key is None:
            first.append(outcome)
        elif key in fresh and key not in seen:
            seen.add(key)
            first.append(outcome)
    return first


def _ends_retries(outcome: Outcome) -> bool:
    past = outcome.item.past
    if isinstance(outcome, Again) or (isinstance(outcome, Recorded) and not outcome.done.last):
        return False
    return bool(past.attempts or past.deliveries)


def _outcome_label(outcome: Outcome) -> str:
    match outcome:
        case Recorded():
            return "recorded"
        case Again(counted=True):
            return "failed"
        case Again():
            return "postponed"
        case Dead():
            return "dead"
        case _:
            return "dropped"
