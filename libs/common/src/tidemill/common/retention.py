"""What goes after its time: each service says it of its own tables, and removes it in slices."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.control import Control
from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.common.config.settings import RetentionSettings
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import RETENTION_REMOVED, Metrics

log = get_logger(__name__)

SLICE = 5_000
LOOK_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Going:
    """What a layer would lose."""

    items: int
    bytes: int = 0
    """Zero where they cannot be told."""
    oldest: datetime | None = None
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One kind of thing that is kept for a while."""

    name: str
    """As in the section `retention`."""
    find: Callable[[AsyncConnection, datetime], Awaitable[Going]]
    """What is older than the moment, and referred to by nothing newer."""
    remove: Callable[[Tx, datetime, int], Awaitable[int]]
    """Remove at most so many of what `find` finds, and answer how many that were."""


def rows_layer(name: str, table: str, time: str, *, where: str = "true", example: str = "''") -> Layer:
    """Rows of one table, by the column that says their time. `where` and `example` are SQL over the table's row `t`."""
    found = text(f"""
        SELECT count(*), coalesce(sum(pg_column_size(t.*)), 0), min(t.{time}),
            (SELECT array_agg(e) FROM (
                SELECT {example} AS e FROM {table} t WHERE t.{time} < :before AND {where} ORDER BY t.{time} LIMIT 3) s)
        FROM {table} t WHERE t.{time} < :before AND {where}
    """)
    gone = text(f"""
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(
            SELECT t.ctid FROM {table} t WHERE t.{time} < :before AND {where} LIMIT :slice))
    """)

    async def find(connection: AsyncConnection, before: datetime) -> Going:
        row = (await connection.execute(found, {"before": before})).one()
        return Going(row[0], row[1], row[2], tuple(filter(None, row[3] or ())))

    async def remove(tx: Tx, before: datetime, slice: int) -> int:
        return (await tx.execute(gone, {"before": before, "slice": slice})).rowcount

    return Layer(name=name, find=find, remove=remove)


def dead_letters_layer(schema: str) -> Layer:
    """Of every service: dead letters that somebody has dealt with."""
    return rows_layer("dead_letters", f"{schema}.dead_letters", "handled_at", example="t.reason || ' ' || t.event_id")


@dataclass(frozen=True, slots=True)
class Retention:
    """The commands `retention_preview` and `retention_remove` of one service, and its nightly round."""

    service: str
    layers: Sequence[Layer]
    settings: RetentionSettings
    engine: AsyncEngine
    control: Control
    metrics: Metrics

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="retention_preview",
                handle=self.preview,
                description="Tell what is older than it is kept, by layer; removes nothing",
                parameters={"at": "As if it were this moment (ISO 8601); now without it"},
            ),
            Command(
                verb="retention_remove",
                handle=self.remove,
                description="Remove a slice of what a preview told; again until nothing is removed",
                parameters={"layer": "Name of the layer", "before": "The moment that the preview named for it", **WHO},
            ),
        ]

    async def preview(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        at = _moment(parameters, "at") if parameters.get("at") else datetime.now(UTC)
        told = {}
        for layer in self.layers:
            keep = self.settings.keep(layer.name)
            if keep is None:
                told[layer.name] = {"kept": "for ever"}
                continue
            before = at - keep
            going = await layer.find(tx, before)
            told[layer.name] = {"kept": f"{keep.days} days", "before": before.isoformat(), **asdict(going)}
        return Answer({"service": self.service, "at": at.isoformat(), "layers": told})

    async def remove(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        name, before = parameters.get("layer"), _moment(parameters, "before")
        layer = next((one for one in self.layers if one.name == name), None)
        keep = self.settings.keep(layer.name) if layer else None
        if layer is None or keep is None:
            going = [one.name for one in self.layers if self.settings.keep(one.name) is not None]
            raise CommandRefused(f"{self.service} removes nothing of {name!r}, only of: {', '.join(going) or 'none'}")
        if before > datetime.now(UTC) - keep:
            raise CommandRefused(f"{name} is kept for {keep.days} days (retention.{name}); {before} is later than that")
        removed = await layer.remove(tx, before, SLICE)
        self.metrics.of(RETENTION_REMOVED, layer=layer.name).inc(removed)
        after = {"before": before.isoformat(), "removed": removed}
        change = Change("retention.remove", f"{self.service} {name}", after=after) if removed else None
        return Answer({"layer": name, "removed": removed}, change=change)

    async def run(self) -> None:
        """Every night, until cancelled. Replicas take turns by a lock; what is gone is gone for all of them."""
        due = self._next(datetime.now(UTC))
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = datetime.now(UTC)
            if due is None or now < due:
                continue
            await self.control.wait_until_allowed()
            await self.round(now)
            due = self._next(now)

    async def round(self, now: datetime) -> Mapping[str, int]:
        """Remove all that is too old now; by layer, how much that was."""
        removed = {}
        for layer in self.layers:
            keep = self.settings.keep(layer.name)
            if keep is None:
                continue
            removed[layer.name] = 0
            while count := await self._slice(layer, now - keep):
                removed[layer.name] += count
            if removed[layer.name]:
                log.info("too old, and gone", layer=layer.name, items=removed[layer.name], before=now - keep)
        return removed

    async def _slice(self, layer: Layer, before: datetime) -> int:
        async with self.engine.begin() as tx:
            lock = f"tidemill.retention.{self.service}.{layer.name}"
            if not await tx.scalar(text("SELECT pg_try_advisory_xact_lock(hashtextextended(:l, 0))"), {"l": lock}):
                return 0
            removed = await layer.remove(tx, before, SLICE)
        self.metrics.of(RETENTION_REMOVED, layer=layer.name).inc(removed)
        return removed

    def _next(self, now: datetime) -> datetime | None:
        return self.settings.schedule().next_slot(now)


def _moment(parameters: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(parameters.get(name)))
    except ValueError:
        raise CommandRefused(f"{name} is a time like 2025-08-15T06:00:00Z, not {parameters.get(name)!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
