"""What a person may tell the reporter: make this report, as things are now."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.reporter.days import day_of, meant_day
from tidemill.reporter.gathering import Gathering
from tidemill.reporter.store import Subject, ask_for

RUN = text("""
SELECT source, coalesce(slot, requested_at) AS at, finished_at FROM scheduler.runs WHERE run = :run
""")


def build_command(gathering: Callable[[], Gathering], now: Callable[[], datetime]) -> Command:
    """`build`: answered when the wish is written; the report follows."""

    async def build(tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        wanted = str(parameters.get("about", ""))
        zone = gathering().zone
        today = day_of(now(), zone)
        day = meant_day(wanted, today)
        about = Subject("day", day.isoformat(), day) if day else await _run(tx, wanted, gathering())
        if day and day > today:
            raise CommandRefused(f"{wanted} has not begun yet in {zone.key}")
        asked_at = await ask_for(tx, about, forced=True)
        body = {"kind": about.kind, "about": about.subject, "asked_at": asked_at.isoformat()}
        return Answer(body, change=Change("report.build", f"{about.kind} {about.subject}"))

    return Command(
        verb="build",
        handle=build,
        description="Make the report on a day or a run as things are now; a further edition, if it says otherwise",
        parameters={"about": "a day as 2025-06-17, today, yesterday, or the id of a run", **WHO},
    )


async def _run(tx: Tx, wanted: str, gathering: Gathering) -> Subject:
    if not wanted:
        raise CommandRefused("say what the report is about: a day as 2025-06-17, today, yesterday, or the id of a run")
    row = (await tx.execute(RUN, {"run": wanted})).first()
    if row is None:
        raise CommandRefused(f"{wanted!r} is neither a day like 2025-06-17 nor a run", "404")
    if row.finished_at is None:
        raise CommandRefused(f"{wanted} has not ended yet", "409")
    return Subject("run", wanted, day_of(row.at, gathering.zone), row.source)
