"""Tells that Postgres is away, when nothing else of the alerter can: from files, and also when it was started so."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.alerter.settings import AlerterSettings
from tidemill.common.bus.activity import to_the_second
from tidemill.common.bus.supervise import describe
from tidemill.common.channels import Emergency, Message, To, one_line
from tidemill.common.channels.cached import write_whole
from tidemill.common.config import Config
from tidemill.common.config.channels import Channel
from tidemill.common.database import open_engine
from tidemill.common.servers import Addresses
from tidemill.common.telemetry.metrics import Metrics

FOLDER = "alerter"
RUNBOOK = "docs/runbooks/database_down.md"
LOOK_SECONDS = 10.0
ANSWER_SECONDS = 5.0


class Standby(BaseModel):
    """Who is told, as the configuration said when there was a database; and what is going on."""

    model_config = ConfigDict(frozen=True)

    to: tuple[str, ...] = ()
    after: timedelta = timedelta(minutes=1)
    since: datetime | None = None
    """Since when Postgres does not answer."""
    told: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    standby: Standby
    tell: Literal["", "down", "up"] = ""


def decide(standby: Standby, problem: str | None, now: datetime) -> Step:
    """What follows from one look. Pure."""
    if problem is None:
        over = standby.model_copy(update={"since": None, "told": False})
        return Step(over, "up" if standby.told else "")
    known = standby if standby.since else standby.model_copy(update={"since": now})
    assert known.since is not None
    if known.told or now - known.since < known.after:
        return Step(known)
    return Step(known.model_copy(update={"told": True}), "down")


def message(step: Step, before: Standby, problem: str | None, now: datetime) -> Message:
    """Of one downtime the same, whoever says it."""
    since = before.since or step.standby.since or now
    id = f"database_down/{since:%Y%m%dT%H%M%S}"
    if step.tell == "down":
        return Message(
            id=f"{id}/down",
            kind="alert.firing",
            subject="[critical] Postgres cannot be reached: nothing is collected, and no other alert is told",
            text=f"Since {since:%Y-%m-%d %H:%M:%S} UTC: {problem}\n  what to do: {RUNBOOK}\n",
            severity="critical",
            at=now,
            thread=f"alerts/{id}",
        )
    minutes = (now - since).total_seconds() / 60
    return Message(
        id=f"{id}/up",
        kind="alert.resolved",
        subject=one_line(f"[resolved] Postgres is there again after {minutes:.0f} min"),
        text=f"It was away since {since:%Y-%m-%d %H:%M:%S} UTC. What came meanwhile waits in the streams.\n",
        at=now,
        thread=f"alerts/{id}",
    )


def keep(data_dir: Path, settings: AlerterSettings, channels: Mapping[str, Channel]) -> None:
    """Remember whom to tell. Raises OSError."""
    folder = data_dir / FOLDER
    known = _read(folder)
    said = known.model_copy(update={"to": settings.emergency_channels, "after": settings.emergency.after})
    if said != known or not _file(folder).is_file():
        _write(folder, said)
    Emergency(folder, Metrics(FOLDER)).keep(channels)


async def watch(config: Config, addresses: Addresses) -> None:
    """Until cancelled."""
    folder = config.common.data_dir / FOLDER
    emergency = Emergency(folder, Metrics(FOLDER))
    engine = open_engine(addresses.database_url, pool=1, application="tidemill-alerter-standby")
    asking = engine.execution_options(isolation_level="AUTOCOMMIT")
    sending = asyncio.create_task(emergency.run())
    try:
        while not sending.done():
            look(folder, emergency, await _problem(asking), datetime.now(UTC))
            await asyncio.sleep(to_the_second(LOOK_SECONDS))
        sending.result()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await engine.dispose()


def look(folder: Path, emergency: Emergency, problem: str | None, now: datetime) -> None:
    """One look, and what is told of it; stated before it is remembered, under an id that makes a repeat harmless."""
    before = _read(folder)
    step = decide(before, problem, now)
    if step.tell and before.to:
        emergency.tell(message(step, before, problem, now), [To(name) for name in before.to])
    if step.standby != before:
        _write(folder, step.standby)


async def _problem(engine: AsyncEngine) -> str | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except Exception as error:  # noqa: BLE001 - whatever it is, Postgres does not serve us
        return one_line(describe(error))
    return None


def _file(folder: Path) -> Path:
    return folder / "standby.json"


def _read(folder: Path) -> Standby:
    try:
        return Standby.model_validate_json(_file(folder).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Standby()


def _write(folder: Path, standby: Standby) -> None:
    write_whole(_file(folder), standby.model_dump_json(indent=1).encode())
