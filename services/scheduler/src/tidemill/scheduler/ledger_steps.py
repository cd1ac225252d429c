"""Plans and outcomes in; how runs ended, out."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.events import (
    DocumentConverted,
    DocumentFailed,
    DocumentGone,
    DocumentRefused,
    DocumentStored,
    DocumentUnchanged,
    Event,
    JobDead,
    RunFinished,
    RunPlanned,
)
from tidemill.common.telemetry.logs import get_logger, on_behalf_of
from tidemill.common.telemetry.metrics import ITEMS, RUN_SECONDS, RUNS, Metrics
from tidemill.scheduler.ledger import record_words
from tidemill.scheduler.words import (
    Word,
    word_of_converted,
    word_of_dead,
    word_of_failed,
    word_of_gone,
    word_of_plan,
    word_of_refused,
    word_of_stored,
    word_of_unchanged,
)

E = TypeVar("E", bound=Event)

SLOTS = 256
"""Nothing is waited for but the commit: as many as one group takes."""
RETRY = (timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))

log = get_logger(__name__)


def ledger_steps(converts: Callable[[str], bool], metrics: Metrics) -> list[Step[Any, Any]]:
    """`converts`: whether something converts the documents of a source."""

    def stored(event: DocumentStored) -> Word:
        return word_of_stored(event, converts=converts(event.source))

    def step(name: str, event: type[E], read: Callable[[E], Word | None]) -> Step[E, Word | None]:
        async def work(delivery: Delivery[E]) -> Word | None:
            return read(delivery.event)

        async def record(tx: Tx, results: Sequence[Done[E, Word | None]]) -> list[Outgoing]:
            words = [replace(done.result, traceparent=done.traceparent) for done in results if done.result is not None]
            outgoing = await record_words(tx, words)
            tell(outgoing, metrics)
            return outgoing

        return Step(
            name=f"scheduler-{name}",
            event=event,
            work=work,
            record=record,
            slots=SLOTS,
            retry=RETRY,
            bookkeeping=True,
        )

    return [
        step("planned", RunPlanned, word_of_plan),
        step("stored", DocumentStored, stored),
        step("converted", DocumentConverted, word_of_converted),
        step("unchanged", DocumentUnchanged, word_of_unchanged),
        step("refused", DocumentRefused, word_of_refused),
        step("failed", DocumentFailed, word_of_failed),
        step("gone", DocumentGone, word_of_gone),
        step("dead", JobDead, word_of_dead),
    ]


OUTCOMES = ("new", "changed", "unchanged", "gone", "reappeared", "skipped", "failed")


def tell(outgoing: Collection[Outgoing], metrics: Metrics) -> None:
    """To logs and metrics, which may count a run twice if its transaction has to be repeated."""
    for one in outgoing:
        event = one.event
        if isinstance(event, RunFinished):
            if not event.corrected:
                metrics.of(RUNS, source=event.source, state=event.state).inc()
                metrics.of(RUN_SECONDS, source=event.source).observe(event.duration_seconds)
                for outcome in OUTCOMES:
                    metrics.of(ITEMS, source=event.source, outcome=outcome).inc(getattr(event, outcome))
            say = log.info if event.state == "complete" else log.warning
            with on_behalf_of(one.traceparent, run=event.run, source=event.source):
                say(
                    "run corrected" if event.corrected else "run finished",
                    state=event.state,
                    reason=event.reason,
                    items=event.items,
                    failed=event.failed,
                )
