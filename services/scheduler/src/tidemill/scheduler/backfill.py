"""Runs for slots of the past that somebody asks for: shown first, so many at a time, cancelled together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text

from tidemill.common.bus.parameters import word
from tidemill.common.bus.step import WHO, Answer, Command, CommandRefused, Tx
from tidemill.schedule import Schedule, instant
from tidemill.scheduler import audit
from tidemill.scheduler.admission import Admission, RunRequest
from tidemill.scheduler.commands import check_name, id_letters, who
from tidemill.scheduler.ledger import Verdict, end_runs
from tidemill.scheduler.policy import slot_run
from tidemill.scheduler.schedules import plan_of
from tidemill.scheduler.triggers import SOURCES, params_of

MOST_SLOTS = 10_000
MOST_AT_A_TIME = 100
SHOWN = 20
TICK = timedelta(microseconds=1)

PLANS = text("""
SELECT spec::text AS spec FROM scheduler.schedules WHERE source = :source AND ended_at IS NULL ORDER BY schedule
""")
ENDS = text("""
SELECT slot, CASE WHEN bool_or(state = 'complete') THEN 'complete' WHEN bool_or(finished_at IS NULL) THEN 'open'
    ELSE 'failed' END AS state
FROM scheduler.runs WHERE source = :source AND slot BETWEEN :first AND :last GROUP BY slot
""")
INSERT = text("""
INSERT INTO scheduler.backfills (backfill, source, first_slot, last_slot, concurrency, actor, requested_at)
VALUES (:backfill, :source, :first, :last, :concurrency, :actor, :now)
""")
STANDING = text("""
SELECT backfills.backfill, backfills.source, first_slot, last_slot, concurrency, backfills.actor,
       backfills.requested_at, cancelled_at, count(run) AS slots,
       count(run) FILTER (WHERE finished_at IS NOT NULL) AS ended,
       count(run) FILTER (WHERE state = 'waiting') AS waiting,
       count(run) FILTER (WHERE state = 'complete') AS complete,
       count(run) FILTER (WHERE state IN ('failed', 'blocked', 'partial', 'timed_out')) AS failed,
       count(run) FILTER (WHERE state = 'cancelled') AS cancelled
FROM scheduler.backfills LEFT JOIN scheduler.runs USING (backfill)
WHERE (CAST(:backfill AS text) = '' OR backfills.backfill = :backfill)
    AND (CAST(:source AS text) = '' OR backfills.source = :source)
GROUP BY backfills.backfill ORDER BY backfills.requested_at DESC LIMIT :shown
""")
FAILED = text("""
SELECT run, state, reason FROM scheduler.runs
WHERE backfill = :backfill AND state IN ('failed', 'blocked', 'partial', 'timed_out') ORDER BY slot LIMIT :shown
""")
CANCEL = text("""
UPDATE scheduler.backfills SET cancelled_at = :now WHERE backfill = :backfill AND cancelled_at IS NULL
""")
OPEN = text("SELECT run FROM scheduler.runs WHERE backfill = :backfill AND finished_at IS NULL ORDER BY run")

ONLY = {
    "all": ("complete", "open", "failed", ""),
    "missing": ("failed", ""),
    "failed": ("failed",),
}
"""Which slots are taken: by what became of the best of their runs; empty for those without one."""


@dataclass(frozen=True, slots=True)
class Span:
    """As it was asked for: days or times of the clock of each schedule's place, unless they say an offset."""

    first: datetime | date
    last: datetime | date

    def on(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        first = _moment(self.first, zone)
        if isinstance(self.last, datetime):
            return first, _moment(self.last, zone)
        return first, _moment(self.last + timedelta(days=1), zone) - TICK


class Backfills:
    """The commands."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="backfill",
                handle=self.begin,
                description="Runs for slots of the past; with preview nothing begins",
                parameters={
                    "source": "which",
                    "from": "the first day or time: 2026-01-01, 2026-01-01T06:00",
                    "until": "the last one, included",
                    "preview": "true: only say what would be run",
                    "concurrency": f"runs under way at the same time, 1 to {MOST_AT_A_TIME}; 1 without it",
                    "only": "all slots, those without a complete run (missing), or those whose runs failed (failed)",
                    "params": "what these runs do otherwise: texts by name",
                    "reason": "why",
                    **WHO,
                },
            ),
            Command(
                verb="backfill-status",
                handle=self.status,
                description="How far backfills are",
                parameters={"backfill": "this one alone, with what failed", "source": "those of this source"},
            ),
            Command(
                verb="backfill-cancel",
                handle=self.cancel,
                description="End all runs of a backfill that have not ended",
                parameters={"backfill": "its id", "reason": "why", **WHO},
            ),
        ]

    async def begin(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        source = word(parameters, "source")
        check_name("source", source, await tx.scalars(SOURCES))
        now = self._admission.now()
        plans = [plan_of(row.spec) for row in await tx.execute(PLANS, {"source": source})]
        if not plans:
            raise CommandRefused(f"{source} has no schedule, so there are no slots to fill", "409")
        slots = _slots(plans, _span(parameters), now)
        if not slots:
            raise CommandRefused(f"no slot of {source} lies between these times and before now")
        ends = {
            row.slot: row.state
            for row in await tx.execute(ENDS, {"source": source, "first": slots[0], "last": slots[-1]})
        }
        wanted = [slot for slot in slots if ends.get(slot, "") in _only(parameters)]
        concurrency = _concurrency(parameters)
        body = {
            "source": source,
            "slots": len(slots),
            "complete": sum(state == "complete" for state in ends.values()),
            "failed": sum(state == "failed" for state in ends.values()),
            "to_run": len(wanted),
            "concurrency": concurrency,
            "first": _text(wanted[0]) if wanted else None,
            "last": _text(wanted[-1]) if wanted else None,
        }
        if parameters.get("preview") is True:
            return Answer({**body, "shown": [_text(slot) for slot in wanted[:SHOWN]]})
        if not wanted:
            raise CommandRefused(f"nothing to do: {body['complete']} of {len(slots)} slots are complete", "409")
        return await self._begin(tx, id, parameters, body, wanted)

    async def _begin(
        self, tx: Tx, id: str, parameters: Mapping[str, Any], body: Mapping[str, Any], slots: Sequence[datetime]
    ) -> Answer:
        actor, via = who(parameters)
        source, letters = body["source"], id_letters(id)
        backfill = f"{source}-backfill-{letters}"
        await tx.execute(
            INSERT,
            {
                "backfill": backfill,
                "source": source,
                "first": slots[0],
                "last": slots[-1],
                "concurrency": body["concurrency"],
                "actor": actor,
                "now": self._admission.now(),
            },
        )
        requests = [
            RunRequest(
                run=f"{slot_run(source, slot)}-{letters}",
                source=source,
                trigger="backfill",
                slot=slot,
                params=params_of(parameters),
                backfill=backfill,
                actor=actor,
            )
            for slot in slots
        ]
        answered = await self._admission.request(tx, requests)
        after = {**body, "backfill": backfill, "reason": word(parameters, "reason")}
        await audit.record(tx, actor=actor, via=via, action="backfill.begin", target=source, after=after)
        return Answer({**body, "backfill": backfill}, answered.events)

    async def status(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        backfill = word(parameters, "backfill")
        names = {"backfill": backfill, "source": word(parameters, "source"), "shown": SHOWN}
        found = [_standing(row) for row in await tx.execute(STANDING, names)]
        if not backfill:
            return Answer({"backfills": found})
        if not found:
            raise CommandRefused(f"there is no backfill {backfill}; backfill-status without one shows the last", "404")
        failed = await tx.execute(FAILED, {"backfill": backfill, "shown": SHOWN})
        return Answer({"backfills": found, "failed": [dict(row._mapping) for row in failed]})

    async def cancel(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        backfill = word(parameters, "backfill")
        now = self._admission.now()
        found = list(await tx.execute(STANDING, {"backfill": backfill, "source": "", "shown": 1})) if backfill else []
        if not found:
            raise CommandRefused(f"there is no backfill {backfill}; backfill-status shows the last ones", "404")
        await tx.execute(CANCEL, {"backfill": backfill, "now": now})
        runs = list(await tx.scalars(OPEN, {"backfill": backfill}))
        events = await end_runs(tx, [Verdict(run, "cancelled", "backfill_cancelled", now) for run in runs])
        actor, via = who(parameters)
        after = {"cancelled": len(runs), "reason": word(parameters, "reason")}
        await audit.record(tx, actor=actor, via=via, action="backfill.cancel", target=backfill, after=after)
        return Answer({"backfill": backfill, "cancelled": len(runs)}, events)


def _slots(plans: Iterable[Schedule], span: Span, now: datetime) -> list[datetime]:
    found: set[datetime] = set()
    for plan in plans:
        first, last = span.on(plan.zone)
        slots = (slot for slot in plan.slots(first - TICK, min(last, now)) if plan.blacked_out(slot) is None)
        found.update(islice(slots, MOST_SLOTS + 1))
    if len(found) > MOST_SLOTS:
        raise CommandRefused(f"more than {MOST_SLOTS} slots lie between these times: ask for a part of them")
    return sorted(found)


def _span(parameters: Mapping[str, Any]) -> Span:
    first, last = (_parsed(name, word(parameters, name)) for name in ("from", "until"))
    return Span(first, last)


def _parsed(name: str, told: str) -> datetime | date:
    try:
        return date.fromisoformat(told) if len(told) <= len("2026-01-01") else datetime.fromisoformat(told)
    except ValueError:
        raise CommandRefused(f"{name} is {told!r}; write a day (2026-01-01) or a time (2026-01-01T06:00)") from None


def _moment(told: datetime | date, zone: ZoneInfo) -> datetime:
    if not isinstance(told, datetime):
        return instant(datetime.combine(told, time()), zone)
    return instant(told, zone) if told.tzinfo is None else told.astimezone(UTC)


def _only(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    only = word(parameters, "only") or "all"
    if only not in ONLY:
        raise CommandRefused(f"only is {only!r}; it may be {', '.join(ONLY)}")
    return ONLY[only]


def _concurrency(parameters: Mapping[str, Any]) -> int:
    told = parameters.get("concurrency", 1)
    if not isinstance(told, int) or isinstance(told, bool) or not 1 <= told <= MOST_AT_A_TIME:
        raise CommandRefused(f"concurrency is {told!r}; it is a whole number from 1 to {MOST_AT_A_TIME}")
    return told


def _standing(row: Any) -> dict[str, Any]:
    state = "cancelled" if row.cancelled_at else "complete" if row.ended == row.slots else "running"
    counts = ("slots", "ended", "waiting", "complete", "failed", "cancelled")
    return {
        "backfill": row.backfill,
        "source": row.source,
        "state": state,
        "first": _text(row.first_slot),
        "last": _text(row.last_slot),
        "concurrency": row.concurrency,
        "actor": row.actor,
        "requested_at": _text(row.requested_at),
        **{name: getattr(row, name) for name in counts},
        "under_way": row.slots - row.ended - row.waiting,
    }


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
