"""What else begins a run: people, by a message or a command, and runs of other sources that are complete."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.control import Control
from tidemill.common.bus.parameters import word
from tidemill.common.bus.step import WHO, Answer, Command, CommandRefused, Delivery, Done, Outgoing, Poison, Step, Tx
from tidemill.common.config.validate import unknown_choice
from tidemill.common.events import RunFinished, Triggered
from tidemill.common.telemetry.logs import get_logger
from tidemill.scheduler import audit
from tidemill.scheduler.admission import Admission, RunRequest, UnknownSource, lock_sources
from tidemill.scheduler.commands import check_name, id_letters, who
from tidemill.scheduler.policy import failures_after

RETRY = (timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))

SOURCES = text("SELECT source FROM scheduler.sources WHERE ended_at IS NULL")
AFTER = text("""
SELECT source, run->'after' AS after FROM scheduler.sources
WHERE ended_at IS NULL AND jsonb_exists_any(run->'after', :upstream)
""")
IN_GROUPS = text("""
SELECT DISTINCT waiting.source FROM scheduler.runs AS waiting
WHERE waiting.state = 'waiting' AND (waiting.source = ANY(:sources) OR waiting.concurrency_group IN (
    SELECT ended.concurrency_group FROM scheduler.runs AS ended WHERE ended.run = ANY(:runs)))
""")
COUNT_FAILURES = text("UPDATE scheduler.sources SET failures = :failures WHERE source = :source")
FAILURES = text("SELECT source, failures FROM scheduler.sources WHERE source = ANY(:sources)")

log = get_logger(__name__)


class Triggers:
    """The step for `tidemill.trigger.<source>`, the command `run`, and what follows from the end of a run."""

    def __init__(
        self, control: Control, admission: Admission, nothing_to_ask: Callable[[str], str] = lambda source: ""
    ) -> None:
        """`nothing_to_ask`: why a source has no runs that could be asked for; empty where it has."""
        self._control = control
        self._admission = admission
        self._nothing_to_ask = nothing_to_ask

    def steps(self) -> list[Step[Any, Any]]:
        return [
            Step(name="scheduler-trigger", event=Triggered, work=_triggered, record=self._begin, retry=RETRY),
            Step(
                name="scheduler-ended",
                event=RunFinished,
                work=_ended,
                record=self._follow_up,
                retry=RETRY,
                bookkeeping=True,
            ),
        ]

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="run",
                handle=self.run,
                description="Begin a run of a source now; answers its id and state",
                parameters={
                    "source": "which",
                    "params": "what this run does otherwise: texts by name",
                    "reason": "why",
                    **WHO,
                },
            )
        ]

    async def run(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        source = word(parameters, "source")
        check_name("source", source, await tx.scalars(SOURCES))
        if why := self._nothing_to_ask(source):
            raise CommandRefused(why, "409")
        if held := self._control.paused(source):
            raise CommandRefused(f"{source} is held ({held}): `tidemill resume` lets it go on", "409")
        actor, via = who(parameters)
        params = params_of(parameters)
        request = RunRequest(
            run=f"{source}-{id_letters(id)}", source=source, trigger="manual", params=params, actor=actor
        )
        answered = await self._admission.request(tx, [request])
        decision = answered.decisions[request.run]
        if decision.what == "drop":
            raise CommandRefused(
                f"not begun: {decision.detail}, and {source} says `overlap: skip`; wait for its end, or cancel it",
                "409",
            )
        state = "requested" if decision.what == "begin" else "waiting"
        await self._audit(tx, request, state, via, word(parameters, "reason"))
        return Answer({"run": request.run, "state": state, "reason": decision.detail}, answered.events)

    async def _begin(self, tx: Tx, results: Sequence[Done[Triggered, None]]) -> list[Outgoing]:
        for done in results:
            if why := self._nothing_to_ask(done.event.source):
                raise Poison(why)
        requests = {
            done.id: RunRequest(
                run=f"{done.event.source}-{id_letters(done.delivery.id)}",
                source=done.event.source,
                trigger="manual",
                params=done.event.params,
                actor=done.event.actor or "unknown",
            )
            for done in results
        }
        try:
            answered = await self._admission.request(tx, list(requests.values()), keep_dropped=True)
        except UnknownSource as unknown:
            raise Poison(unknown_choice(str(unknown), await tx.scalars(SOURCES))) from unknown
        for done in results:
            request = requests[done.id]
            decision = answered.decisions.get(request.run)
            if decision is not None:
                state = {"begin": "requested", "wait": "waiting", "drop": "cancelled"}[decision.what]
                await self._audit(tx, request, state, "bus", done.event.reason)
        return list(answered.events)

    async def _follow_up(self, tx: Tx, results: Sequence[Done[RunFinished, None]]) -> list[Outgoing]:
        """Runs of sources that come after, runs that waited for the end, and failures in a row."""
        events = [done.event for done in results]
        ended = {event.source for event in events}
        complete = [event for event in events if event.state == "complete" and event.trigger != "backfill"]
        after: Mapping[str, Collection[str]] = {
            row.source: row.after
            for row in await tx.execute(AFTER, {"upstream": sorted({event.source for event in complete})})
        }
        mates = await tx.scalars(IN_GROUPS, {"sources": sorted(ended), "runs": [event.run for event in events]})
        waiting = set(mates)
        await lock_sources(tx, {*ended, *after, *waiting})
        await _count_failures(tx, events)
        requests = [
            RunRequest(
                run=f"{source}-{id_letters(f'{event.run}/{source}')}",
                source=source,
                trigger="event",
                actor=f"run {event.run}",
            )
            for event in complete
            for source in after
            if event.source in after[source]
        ]
        answered = await self._admission.request(tx, requests, keep_dropped=True)
        return [*answered.events, *await self._admission.release(tx, waiting)]

    async def _audit(self, tx: Tx, request: RunRequest, state: str, via: str, reason: str) -> None:
        after = {"run": request.run, "state": state, "params": dict(request.params), "reason": reason}
        await audit.record(tx, actor=request.actor, via=via, action="run.request", target=request.source, after=after)


async def _count_failures(tx: Tx, events: Sequence[RunFinished]) -> None:
    """What a replay corrects was counted at its first end."""
    counted = [event for event in events if not event.corrected and event.trigger not in ("file", "backfill")]
    known = {row.source: row.failures for row in await tx.execute(FAILURES, {"sources": [e.source for e in counted]})}
    for source, failures in known.items():
        states = [event.state for event in counted if event.source == source]
        now = failures_after(failures, states)
        if now != failures:
            await tx.execute(COUNT_FAILURES, {"source": source, "failures": now})


async def _triggered(delivery: Delivery[Triggered]) -> None:
    """Nothing is slow about it."""


async def _ended(delivery: Delivery[RunFinished]) -> None:
    """Nothing is slow about it."""


def params_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    params = parameters.get("params") or {}
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        raise CommandRefused('params are texts by name, for instance {"issue": "57"}')
    return params
