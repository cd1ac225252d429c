"""What `why` needs to know, from the tables and from who answers on the bus."""

import asyncio
import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import nats.errors
from nats.js.errors import NotFoundError
from sqlalchemy import text

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.client import CommandFailed
from tidemill.common.bus.step import Tx
from tidemill.common.config.sources import SourceFile
from tidemill.scheduler.why import Facts, Hold, RunFacts, Slot

SHOWN = 50
ANSWER_SECONDS = 0.5
SLOTS = text("""
SELECT slot, outcome, reason, detail, until FROM scheduler.slots
WHERE source = :source AND slot < :end AND COALESCE(until, slot) >= :start ORDER BY slot DESC LIMIT :shown
""")
RUNS = text("""
SELECT run, state, reason, requested_at, deadline_at, items, new, changed, unchanged, gone, reappeared, skipped, failed,
    records
FROM scheduler.runs
WHERE source = :source AND COALESCE(slot, requested_at) >= :start AND COALESCE(slot, requested_at) < :end
ORDER BY requested_at DESC LIMIT :shown
""")
DETAILS = text("""
SELECT DISTINCT ON (run, reason) run, reason, detail FROM scheduler.run_items
WHERE run = ANY(:runs) AND outcome = 'failed' ORDER BY run, reason, item
""")
SCHEDULES = text("""
SELECT schedule, next_slot, due_at FROM scheduler.schedules WHERE source = :source AND ended_at IS NULL
ORDER BY schedule
""")


def zone_of(source: SourceFile) -> tzinfo:
    """In which its days begin: that of its first schedule."""
    return ZoneInfo(source.schedules[0].zone) if source.schedules else UTC


async def fetch_facts(tx: Tx, bus: Bus, source: SourceFile, day: date, now: datetime) -> Facts:
    name, zone = source.source, zone_of(source)
    start = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    within = {"source": name, "start": start, "end": end, "shown": SHOWN}
    slots = [
        Slot(row.slot.astimezone(zone), row.outcome, row.reason, row.detail, row.until and row.until.astimezone(zone))
        for row in await tx.execute(SLOTS, within)
    ]
    rows = (await tx.execute(RUNS, within)).mappings().all()
    details: dict[str, dict[str, str]] = {}
    for run, reason, detail in await tx.execute(DETAILS, {"runs": [row["run"] for row in rows]}):
        details.setdefault(run, {})[reason] = detail
    runs = [
        RunFacts(
            **{
                **row,
                "requested_at": row["requested_at"].astimezone(zone),
                "deadline_at": row["deadline_at"] and row["deadline_at"].astimezone(zone),
                "records": sum(each["new"] + each["changed"] for each in (row["records"] or {}).values()),
            },
            details=details.get(row["run"], {}),
        )
        for row in rows
    ]
    schedules = (await tx.execute(SCHEDULES, {"source": name})).all()
    due = min((row.due_at for row in schedules if row.due_at and row.due_at <= now), default=None)
    coming = min((row.next_slot for row in schedules if row.next_slot), default=None)
    under_way = any(run.state in ("requested", "planned", "running") for run in runs)
    return Facts(
        source=name,
        start=start,
        end=end,
        now=now.astimezone(zone),
        watched=str(source.watch.folder) if source.watch else "",
        schedules=[row.schedule for row in schedules],
        next_slot=coming and coming.astimezone(zone),
        due_since=due and due.astimezone(zone),
        holds=_holds(bus, name),
        slots=slots,
        runs=runs,
        absent=await _absent(bus, _needs(source)) if under_way else (),
        fetch_held=await _fetch_held(bus, name, now) if under_way else "",
    )


def _holds(bus: Bus, source: str) -> list[Hold]:
    """Keys that hold the source, or a service, or everything."""
    found = []
    for key in sorted(bus.control.entries):
        verb, _, target = key.partition(".")
        concerned = target in ("all", f"source.{source}") or target.startswith("service.")
        if verb in ("stop", "pause") and concerned and (why := bus.control.reason(key)):
            found.append(Hold(key, why.removeprefix(key).removeprefix(": ")))
    return found


def _needs(source: SourceFile) -> list[str]:
    needs = {
        "watcher": source.watch,
        "downloader": source.download,
        "scraper": source.scrape,
        "converter": source.convert,
    }
    return [service for service, section in needs.items() if section is not None]


async def _absent(bus: Bus, services: Collection[str]) -> list[str]:
    """Those of which no replica answers."""

    async def answers(service: str) -> bool:
        try:
            await bus.request(f"$SRV.PING.{service}", {}, timeout=ANSWER_SECONDS)
        except CommandFailed:
            return False
        return True

    present = await asyncio.gather(*map(answers, services))
    return [service for service, there in zip(services, present, strict=True) if not there]


async def _fetch_held(bus: Bus, source: str, now: datetime) -> str:
    """What the downloader said last about a host it may not ask, while that holds."""
    try:
        message = await bus.last_message("RUNS", f"tidemill.run.held.{source}")
    except (NotFoundError, nats.errors.Error, OSError, TimeoutError):
        return ""
    said: Mapping[str, str] = json.loads(message)
    until = said.get("until")
    if until and datetime.fromisoformat(until) <= now:
        return ""
    when = f" until {until}" if until else ""
    return f"{said.get('host', 'its host')} is not asked{when} ({said.get('reason', '')}): {said.get('detail', '')}"
