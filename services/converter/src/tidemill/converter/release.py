"""Commands on records in quarantine: judged again and stated, or dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import select

from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Outgoing, Tx
from tidemill.common.checks import Failing, Times
from tidemill.common.config.checks import Check
from tidemill.common.events import RecordsStored
from tidemill.common.telemetry.metrics import QUARANTINED, Metrics
from tidemill.converter.content import CheckedRecord, check_records
from tidemill.converter.datasets import Datasets
from tidemill.converter.documents import recount_quarantined
from tidemill.converter.identity import Ref
from tidemill.converter.judging import failing_of, parent_is_held
from tidemill.converter.names import Names
from tidemill.converter.quarantine import (
    BEFORE_ALL,
    Place,
    Selection,
    Waiting,
    find_held_keys,
    hold_still,
    next_part,
    settle,
    take_held,
)
from tidemill.converter.store import RecordBatch, record_batches
from tidemill.converter.tables import documents
from tidemill.converter.versions import lock_datasets

AT_ONCE = 200
"""Records of one command: whoever has more to say says it again, with the place that the answer names."""
NOTED = 50
"""Numbers that one row of the audit chain names."""
SHOWN = 10
"""Records that an answer gives the reason of."""

MODEL = "model"
"""Name of the check that a record fails whose dataset's model has become another."""

WHICH = {
    "ids": "Numbers of records in quarantine, as the list shows them",
    "source": "Of this source",
    "check": "That this check holds",
    "run": "Of this run",
    "all": "true: whatever is held",
    "after": "Go on behind this place, as the answer before named it",
    **WHO,
}


@dataclass(slots=True)
class Sorted:
    """What goes, and what stays with what it does not pass."""

    released: list[tuple[Waiting, CheckedRecord]] = field(default_factory=list)
    kept: list[tuple[Waiting, list[Failing]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The commands. What a record is held for is decided by the checks of the moment."""

    checks: Mapping[str, Sequence[Check]]
    """Of records, by source."""
    datasets: Datasets
    names: Names
    metrics: Metrics

    def commands(self) -> list[Command]:
        force = {"force": "true: also those that checks still hold"}
        return [
            Command(
                verb="quarantine_release",
                handle=self.release,
                description="Judge held records by today's checks, and state those that pass from their documents",
                parameters={**WHICH, **force},
            ),
            Command(
                verb="quarantine_drop",
                handle=self.drop,
                description="Give held records up; they stay to be looked at",
                parameters=WHICH,
            ),
        ]

    async def release(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        taken = await _take(tx, parameters)
        force, author = _flag(parameters, "force"), _word(parameters, "actor")
        told = Sorted()
        for document, waiting in groupby(taken, key=lambda one: one.document):
            self._sort(list(waiting), await find_held_keys(tx, document), force=force, told=told)
        events = await self._state(tx, told.released, author)
        for one, failing in told.kept:
            await hold_still(tx, one.id, [each.check for each in failing], _reason(failing))
        self._count("released", [one for one, _ in told.released])
        ids = [one.id for one, _ in told.released]
        after = {"count": len(ids), "ids": ids[:NOTED], **({"force": True} if force else {})}
        body = {
            "released": len(ids),
            "held": len(told.kept),
            "kept": [
                {"id": one.id, "key": one.record.key, "reason": _reason(failing)} for one, failing in told.kept[:SHOWN]
            ],
            "after": _next(taken),
        }
        change = Change("quarantine.release", _target(parameters), after=after) if ids else None
        return Answer(body, events, change)

    async def drop(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        taken = await _take(tx, parameters)
        ids = [one.id for one in taken]
        await settle(tx, ids, "dropped", _word(parameters, "actor"))
        self._count("dropped", taken)
        after = {"count": len(ids), "ids": ids[:NOTED]}
        change = Change("quarantine.drop", _target(parameters), after=after) if ids else None
        return Answer({"dropped": len(ids), "after": _next(taken)}, change=change)

    def _sort(self, waiting: Sequence[Waiting], held: set[Ref], *, force: bool, told: Sorted) -> None:
        """Records of one document, parents first. Whatever is forced, a record has to fit its model, and needs its
        parent."""
        for one in waiting:
            checked = check_records([one.record], self.datasets)
            if checked.rejected:
                told.kept.append((one, [Failing(MODEL, "block", checked.rejected[0].detail)]))
                continue
            (record,) = checked.records
            times = Times(datetime.now(UTC), one.received_at, one.document_time)
            failing = [] if force else failing_of(record, self.checks.get(one.source, ()), times)
            failing = [each for each in failing if each.blocks]
            if record.parent is not None and record.parent in held:
                failing.append(parent_is_held(record.parent))
            if failing:
                told.kept.append((one, failing))
            else:
                told.released.append((one, record))
                held.discard((record.dataset, record.key))

    async def _state(self, tx: Tx, released: Sequence[tuple[Waiting, CheckedRecord]], author: str) -> list[Outgoing]:
        """As parts of their documents that came late."""
        if not released:
            return []
        await self.names.record(tx, await self.names.resolve([record for _, record in released]))
        await lock_datasets(tx, {record.dataset for _, record in released})
        await _refuse_superseded(tx, {one.document for one, _ in released})
        batches, owners = [], []
        for document, some in groupby(released, key=lambda pair: pair[0].document):
            pairs = list(some)
            first, part = pairs[0][0], await next_part(tx, document)
            batches.append(
                RecordBatch(
                    document=document,
                    part=part,
                    run=first.run,
                    valid_from=first.document_time,
                    records=[record for _, record in pairs],
                )
            )
            owners.append(first)
            await settle(tx, [one.id for one, _ in pairs], "released", author, part)
            await recount_quarantined(tx, document)
        events = []
        recorded = await record_batches(tx, batches, self.datasets)
        for first, batch, stored in zip(owners, batches, recorded, strict=True):
            fact = RecordsStored(
                source=first.source,
                sha256=first.sha256,
                run=first.run,
                batch=batch.part,
                records=dict(stored.changes),
            )
            events.append(Outgoing(f"quarantine/{batch.document}/{batch.part}/stored", fact))
        return events

    def _count(self, outcome: str, settled: Sequence[Waiting]) -> None:
        for one in settled:
            self.metrics.of(QUARANTINED, source=one.source, outcome=outcome).inc()


async def _take(tx: Tx, parameters: Mapping[str, Any]) -> list[Waiting]:
    selection = Selection(
        ids=tuple(_numbers(parameters, "ids")),
        source=_word(parameters, "source"),
        check=_word(parameters, "check"),
        run=_word(parameters, "run"),
    )
    if selection == Selection() and not _flag(parameters, "all"):
        raise CommandRefused("say which records: ids, source, check or run; or all: true")
    after = _place(parameters)
    taken = await take_held(tx, selection, after, AT_ONCE)
    if not taken and after == BEFORE_ALL:
        raise CommandRefused("no record in quarantine is like that", "404")
    return taken


async def _refuse_superseded(tx: Tx, ids: set[int]) -> None:
    """Its conversion was replaced while we looked: then the newer one says what there is."""
    query = select(documents.c.name).where(documents.c.id.in_(ids), documents.c.superseded_by.is_not(None))
    name = await tx.scalar(query.limit(1))
    if name is not None:
        raise CommandRefused(f"{name} was reconverted just now; look again at what is held", "409")


def _next(taken: Sequence[Waiting]) -> list[int] | None:
    """Where to go on; None where nothing is left."""
    if len(taken) < AT_ONCE:
        return None
    last = taken[-1]
    return [last.document, last.part, last.place]


def _reason(failing: Sequence[Failing]) -> str:
    return "; ".join(one.message for one in failing)


def _target(parameters: Mapping[str, Any]) -> str:
    """What was asked for, in short."""
    said = [f"{name} {parameters[name]}" for name in ("source", "check", "run") if parameters.get(name)]
    ids = _numbers(parameters, "ids")
    return ", ".join([*said, *([f"ids {' '.join(map(str, ids[:NOTED]))}"] if ids else [])]) or "all"


def _numbers(parameters: Mapping[str, Any], name: str) -> list[int]:
    value = parameters.get(name) or []
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    try:
        return [int(one) for one in (value if isinstance(value, list) else [value])]
    except (TypeError, ValueError):
        raise CommandRefused(f"{name} has to be a list of numbers, for instance [17, 18]") from None


def _place(parameters: Mapping[str, Any]) -> Place:
    numbers = _numbers(parameters, "after")
    if not numbers:
        return BEFORE_ALL
    if len(numbers) != len(BEFORE_ALL):
        raise CommandRefused("after is a place as an answer names it: [document, part, place]")
    return numbers[0], numbers[1], numbers[2]


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    return parameters.get(name) in (True, "true", "True", "1", 1)


def _word(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name) or ""
    if not isinstance(value, str) or len(value) > 200 or "\x00" in value:
        raise CommandRefused(f"{name} has to be a text of up to 200 letters")
    return value
