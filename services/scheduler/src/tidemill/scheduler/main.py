"""Opens and wires the scheduler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidemill.common.bus.topology import AUDIT_BUCKET, CONTROL_BUCKET
from tidemill.common.config import Sources
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import (
    CommandDone,
    ConfigApplied,
    ConfigRefused,
    DocumentConverted,
    DocumentFailed,
    DocumentGone,
    DocumentRefused,
    DocumentStored,
    DocumentUnchanged,
    JobDead,
    RunFinished,
    RunPlanned,
    RunRequested,
    SlotSkipped,
    Triggered,
)
from tidemill.common.service import Context, ServiceSpec, Uses, Wiring, main
from tidemill.scheduler.admission import Admission
from tidemill.scheduler.audit_head import HeadKeeper
from tidemill.scheduler.audit_step import audit_step
from tidemill.scheduler.backfill import Backfills
from tidemill.scheduler.backups import backup_commands
from tidemill.scheduler.commands import Commands
from tidemill.scheduler.config_versions import ConfigVersions
from tidemill.scheduler.control_mirror import ControlMirror
from tidemill.scheduler.firing import Firing, utc_now
from tidemill.scheduler.ledger_steps import ledger_steps
from tidemill.scheduler.limits import Limits
from tidemill.scheduler.retention import LAYERS
from tidemill.scheduler.schedules import apply_schedules
from tidemill.scheduler.settings import SchedulerSettings
from tidemill.scheduler.tables import bus, metadata
from tidemill.scheduler.timetable import Timetable
from tidemill.scheduler.triggers import Triggers

USES = Uses(
    consumes={
        "scheduler-planned": RunPlanned,
        "scheduler-stored": DocumentStored,
        "scheduler-converted": DocumentConverted,
        "scheduler-unchanged": DocumentUnchanged,
        "scheduler-refused": DocumentRefused,
        "scheduler-failed": DocumentFailed,
        "scheduler-gone": DocumentGone,
        "scheduler-dead": JobDead,
        "scheduler-trigger": Triggered,
        "scheduler-ended": RunFinished,
        "scheduler-audit": CommandDone,
    },
    publishes=(RunRequested, RunFinished, SlotSkipped, ConfigApplied, ConfigRefused),
    buckets=(CONTROL_BUCKET, AUDIT_BUCKET),
    reads=("RUNS",),
    asks=("$SRV.PING.*",),
)


@asynccontextmanager
async def open_scheduler(context: Context) -> AsyncIterator[Wiring]:
    settings = context.settings
    assert isinstance(settings, SchedulerSettings)
    sources = context.sources
    metrics = context.telemetry.metrics
    admission = Admission(
        control=context.bus.control,
        groups=settings.groups,
        data_dir=context.config.common.data_dir,
        disk_reserve=settings.disk_reserve,
        now=utc_now,
    )
    firing = Firing(context.bus, context.engine, admission, metrics)
    limits = Limits(context.bus, context.engine, admission, metrics, lease=settings.lease)
    triggers = Triggers(context.bus.control, admission, lambda source: nothing_to_ask(sources.get(source)))
    backfills = Backfills(admission)
    configurations = ConfigVersions(context.config, metrics)
    keeper = HeadKeeper(context.bus, context.engine, metrics)

    async def apply(applied: Sources) -> None:
        nonlocal sources
        async with context.bus.transaction() as tx:
            await context.bus.emit(tx, await apply_schedules(tx, applied, applied.version, utc_now()))
        sources = applied
        firing.wake()

    def converts(source: str) -> bool:
        known = sources.get(source)
        return known is None or known.convert is not None

    def configured() -> Sources:
        return sources

    commands = Commands(context.bus, admission, configured)
    mirror = ControlMirror(context.bus, metrics)

    await apply(sources)
    yield Wiring(
        steps=(*ledger_steps(converts, metrics), *triggers.steps(), audit_step()),
        commands=(
            *triggers.commands(),
            *backfills.commands(),
            *Timetable(admission).commands(),
            *commands.commands(),
            *configurations.commands(),
            *keeper.commands(),
            *backup_commands(),
        ),
        tasks=(firing.run, limits.run, mirror.run, keeper.run),
        reconfigure=apply,
        layers=LAYERS,
    )


def nothing_to_ask(source: SourceFile | None) -> str:
    """Why this source has no runs that could be asked for; empty where it has."""
    if source is None or source.watch is None:
        return ""
    return f"{source.source} takes the files that come into {source.watch.folder}: put one there, or copy it again"


SPEC = ServiceSpec(
    name="scheduler",
    version=version("tidemill-scheduler"),
    title="Fires each slot once, and keeps the run ledger",
    settings=SchedulerSettings,
    metadata=metadata,
    tables=bus,
    migrations="tidemill.scheduler.migrations",
    uses=USES,
    open=open_scheduler,
)


def run() -> None:
    main(SPEC)
