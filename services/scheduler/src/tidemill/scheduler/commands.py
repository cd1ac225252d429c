"""What a person may tell the scheduler about running things: stop, pause, resume, cancel, retry, and how it stands."""

import difflib
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import nats.errors
from sqlalchemy import text

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.parameters import moment, word
from tidemill.common.bus.step import WHO, Answer, Command, CommandRefused, Tx
from tidemill.common.config.sources import SourceFile
from tidemill.common.service import service_names
from tidemill.scheduler import audit, control_mirror
from tidemill.scheduler.admission import Admission, RunRequest, UnknownSource
from tidemill.scheduler.ledger import Verdict, end_runs
from tidemill.scheduler.runs import FINAL
from tidemill.scheduler.standing import find_standing
from tidemill.scheduler.why import explain
from tidemill.scheduler.why_facts import fetch_facts, zone_of

T = TypeVar("T")

MOST_ITEM_BYTES = 500_000
TARGET = {
    "source": "a source",
    "service": "a service, on all replicas",
    "all": "true: everything",
}
FIND_RUN = text("""
SELECT run, source, trigger, slot, state, params, config_version FROM scheduler.runs WHERE run = :run
""")
NEAR_RUNS = text("""
SELECT run FROM scheduler.runs WHERE run LIKE :like ORDER BY requested_at DESC LIMIT 5
""")
UNDONE = text("""
SELECT item FROM scheduler.run_items WHERE run = :run AND (outcome = 'failed' OR outcome = '') ORDER BY item
""")
SOURCES = text("SELECT source FROM scheduler.sources WHERE ended_at IS NULL")


class Commands:
    """The handlers. Stop, pause and cancel are keys of the control bucket, which every process obeys by itself: they
    hold also while no scheduler runs."""

    def __init__(self, bus: Bus, admission: Admission, sources: Callable[[], Mapping[str, SourceFile]]) -> None:
        self._bus = bus
        self._control = bus.control
        self._admission = admission
        self._sources = sources

    def commands(self) -> list[Command]:
        hold = {**TARGET, "reason": "why", "until": "when it ends by itself: 2h, or a time", **WHO}
        return [
            Command(
                verb="stop",
                handle=self.stop,
                description="Emergency stop: work in flight is given back, nothing new begins, until resumed",
                parameters=hold,
            ),
            Command(
                verb="pause",
                handle=self.pause,
                description="Nothing new begins, what is in flight is finished, until resumed",
                parameters=hold,
            ),
            Command(
                verb="resume",
                handle=self.resume,
                description="Take back stop and pause of this target",
                parameters={**TARGET, "reason": "why", **WHO},
            ),
            Command(
                verb="cancel",
                handle=self.cancel,
                description="End a run; what waits for it is dropped",
                parameters={"run": "its id", "reason": "why", **WHO},
            ),
            Command(
                verb="retry",
                handle=self.retry,
                description="A new run of what an ended one left undone, or of all of it",
                parameters={
                    "run": "its id",
                    "failed_only": "false: all of its items again; without it only those that failed or never came",
                    **WHO,
                },
            ),
            Command(
                verb="status",
                handle=self.status,
                description="What is held, what is under way, what comes next",
                parameters={"source": "this one alone", "run": "this run alone"},
            ),
            Command(
                verb="why",
                handle=self.why,
                description="Why there is no data of a source on a day",
                parameters={"source": "the source", "date": "2026-03-01, today or yesterday; without it today"},
            ),
        ]

    async def stop(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        return await self._hold(tx, "stop", parameters)

    async def pause(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        return await self._hold(tx, "pause", parameters)

    async def resume(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        target = await self._target(tx, parameters)
        await control_mirror.lock(tx)
        actor, via = who(parameters)
        freed = []
        for key in (f"stop.{target}", f"pause.{target}"):
            before = await self._held(key)
            if before is None:
                continue
            await self._remove(key)
            await control_mirror.drop_key(tx, key)
            await audit.record(tx, actor=actor, via=via, action="control.resume", target=key, before=before)
            freed.append(key)
        others = (f"{verb}.{held}" for verb in ("stop", "pause") for held in ("all", target))
        still = (why for key in others if key not in freed and (why := self._control.reason(key)))
        return Answer({"resumed": freed, "still_held_by": next(still, "")})

    async def cancel(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        run = await self._run(tx, parameters)
        if run.state in FINAL:
            return Answer({"run": run.run, "state": run.state, "cancelled": False})
        actor, via = who(parameters)
        reason = word(parameters, "reason") or "asked for"
        key = f"cancel.run.{run.run}"
        await control_mirror.lock(tx)
        await self._set(tx, key, {"reason": reason, "actor": actor}, actor)
        events = await end_runs(tx, [Verdict(run.run, "cancelled", "asked", datetime.now(UTC))])
        await audit.record(
            tx,
            actor=actor,
            via=via,
            action="run.cancel",
            target=run.run,
            before={"state": run.state},
            after={"state": "cancelled", "reason": reason},
        )
        return Answer({"run": run.run, "state": "cancelled", "cancelled": True}, events)

    async def retry(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        run = await self._run(tx, parameters)
        if run.state not in FINAL:
            raise CommandRefused(f"{run.run} is {run.state}: cancel it first, or wait for its end", "409")
        if run.trigger == "file":
            raise CommandRefused(
                f"{run.run} is a file that came by itself: `tidemill dead-letters replay --source {run.source}` has "
                "its conversion tried again, `tidemill reconvert` has it done anew",
                "409",
            )
        failed_only = parameters.get("failed_only", True) is not False
        items = list(await tx.scalars(UNDONE, {"run": run.run})) if failed_only else []
        if sum(len(item.encode()) for item in items) > MOST_ITEM_BYTES:
            raise CommandRefused(
                f"{len(items)} items of {run.run} failed, more than a message holds; failed_only: false takes all again"
            )
        if failed_only and run.state == "complete":
            raise CommandRefused(f"{run.run} is complete: nothing of it failed; failed_only: false takes all again")
        actor, via = who(parameters)
        request = RunRequest(
            run=f"{run.source}-{id_letters(id)}",
            source=run.source,
            trigger="retry",
            slot=run.slot,
            params=run.params,
            only_items=items,
            retry_of=run.run,
            actor=actor,
        )
        try:
            answered = await self._admission.request(tx, [request])
        except UnknownSource as unknown:
            raise CommandRefused(f"there is no source {unknown} any more", "404") from unknown
        decision = answered.decisions[request.run]
        if decision.what == "drop":
            raise CommandRefused(f"not begun ({decision.reason}): {decision.detail}", "409")
        state = "requested" if decision.what == "begin" else "waiting"
        await audit.record(
            tx,
            actor=actor,
            via=via,
            action="run.retry",
            target=run.run,
            after={"run": request.run, "state": state, "items": len(items)},
        )
        body = {"run": request.run, "state": state, "retry_of": run.run, "items": len(items), "reason": decision.detail}
        return Answer(body, answered.events)

    async def status(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        source = word(parameters, "source")
        if source:
            await self._check_source(tx, source)
        if word(parameters, "run"):
            await self._run(tx, parameters)
        held = [
            {"key": key, **dict(control_mirror.said(value))}
            for key, value in sorted(self._control.entries.items())
            if not key.startswith("cancel.")
        ]
        standing = await find_standing(tx, source, word(parameters, "run"), self._control.paused)
        return Answer({"held": held, **standing})

    async def why(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        name = word(parameters, "source")
        if not name:
            raise CommandRefused('say which source: {"source": "demo"}')
        source = self._sources().get(name)
        if source is None:
            await self._check_source(tx, name)
            raise CommandRefused(f"{name} is known to this scheduler by name only; ask again in a moment", "503")
        now = datetime.now(zone_of(source))
        asked = day(word(parameters, "date"), now)
        answers = explain(await fetch_facts(tx, self._bus, source, asked, now))
        return Answer({"source": name, "answers": [asdict(answer) for answer in answers]})

    async def _hold(self, tx: Tx, verb: str, parameters: Mapping[str, Any]) -> Answer:
        target = await self._target(tx, parameters)
        actor, via = who(parameters)
        key = f"{verb}.{target}"
        value = {"reason": word(parameters, "reason"), "actor": actor, "until": until(parameters, datetime.now(UTC))}
        value = {name: told for name, told in value.items() if told}
        await control_mirror.lock(tx)
        before = await self._held(key)
        await self._set(tx, key, value, actor)
        await audit.record(tx, actor=actor, via=via, action=f"control.{verb}", target=key, before=before, after=value)
        return Answer({"key": key, **value})

    async def _held(self, key: str) -> Any:
        """What the key says now; None where it is not set."""
        bucket = await self._speaking(self._control.bucket())
        return dict(control_mirror.said(bucket.entries[key])) if bucket and key in bucket.entries else None

    async def _set(self, tx: Tx, key: str, value: Mapping[str, Any], actor: str) -> None:
        told = json.dumps(value, ensure_ascii=False)
        await self._speaking(self._control.put(key, told))
        await control_mirror.save_key(tx, key, told, actor)

    async def _remove(self, key: str) -> None:
        await self._speaking(self._control.remove(key))

    async def _speaking(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise CommandRefused(f"the control bucket cannot be reached: {error!r}; try again", "503") from error

    async def _target(self, tx: Tx, parameters: Mapping[str, Any]) -> str:
        named = [name for name in TARGET if parameters.get(name)]
        if len(named) != 1:
            raise CommandRefused('say what: {"source": "demo"}, {"service": "converter"} or {"all": true}')
        (kind,) = named
        if kind == "all":
            return "all"
        name = word(parameters, kind)
        if kind == "source":
            await self._check_source(tx, name)
        else:
            check_name(kind, name, service_names())
        return f"{kind}.{name}"

    async def _check_source(self, tx: Tx, name: str) -> None:
        check_name("source", name, {*self._sources(), *await tx.scalars(SOURCES)})

    async def _run(self, tx: Tx, parameters: Mapping[str, Any]) -> Any:
        name = word(parameters, "run")
        if not name:
            raise CommandRefused('say which run: {"run": "demo-20260301T060000Z"}; `tidemill runs list` shows them')
        row = (await tx.execute(FIND_RUN, {"run": name})).first()
        if row is None:
            raise CommandRefused(await self._no_run(tx, name), "404")
        return row

    async def _no_run(self, tx: Tx, name: str) -> str:
        like = name.replace("\\", "").replace("%", "").replace("_", "")[:40]
        near = list(await tx.scalars(NEAR_RUNS, {"like": f"{like}%"})) if like else []
        hint = f"did you mean {', '.join(near)}?" if near else "`tidemill runs list` shows the last ones"
        return f"there is no run {name}; {hint}"


def who(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Actor and way."""
    return word(parameters, "actor") or "unknown", word(parameters, "via") or "bus"


def until(parameters: Mapping[str, Any], now: datetime) -> str:
    """When it ends; empty for never."""
    ends = moment(parameters, "until", now)
    return ends.isoformat(timespec="seconds") if ends else ""


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if name in names:
        return
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names) or 'none'}"
    raise CommandRefused(f"there is no {kind} {name}; {hint}", "404")


def day(told: str, now: datetime) -> date:
    """Of a word or a date; `now` says where today is."""
    if told in ("", "today"):
        return now.date()
    if told == "yesterday":
        return (now - timedelta(days=1)).date()
    try:
        return date.fromisoformat(told)
    except ValueError:
        raise CommandRefused(f"date is {told!r}; write 2026-03-01, today or yesterday") from None


def id_letters(id: str) -> str:
    """Of a command's id, what goes into the id of its run."""
    return hashlib.sha256(id.encode()).hexdigest()[:8]
