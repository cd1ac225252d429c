"""Configurations that are offered: judged, kept as numbered versions, refused with all that is wrong with them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import insert, text

from tidemill.common.bus.step import Answer, Command, CommandRefused, Outgoing, Tx
from tidemill.common.config import Config, ConfigError, load_config, load_sources, settings_model
from tidemill.common.config.content import Content, digest, environments, strays
from tidemill.common.config.load import settings_files
from tidemill.common.config.secret_places import written_out
from tidemill.common.config.sources import SourceFile, source_files
from tidemill.common.config.versions import Version, find_version, refusals, versions
from tidemill.common.events import ConfigApplied, ConfigRefused
from tidemill.common.service import find_services
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import CONFIGS_OFFERED, Metrics
from tidemill.scheduler import audit

log = get_logger(__name__)

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.config', 0))")
SETTLE = text("UPDATE config.refusals SET settled_at = now() WHERE settled_at IS NULL")
WAYS = ("cli", "bus", "file")
KEPT_REFUSALS = 100

WHO = {
    "actor": "who changes it",
    "via": f"the way it came: {', '.join(WAYS)}",
    "comment": "why, for the history",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A configuration that somebody wants to be the active one."""

    content: Content
    actor: str
    via: str
    comment: str
    dry_run: bool = False
    rolls_back_to: int | None = None
    """The version whose content it is."""


class ConfigVersions:
    """The commands that change the configuration. What is offered is judged as `now` was read: relative paths begin
    in its folder, its environment's overlays are laid over it."""

    def __init__(self, now: Config, metrics: Metrics) -> None:
        self._now = now
        self._metrics = metrics

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="config_apply",
                handle=self._apply,
                description="Make these files the active configuration; what is wrong with them is answered",
                parameters={
                    "files": "texts by name: tidemill.yaml, sources/demo.yaml, overlays",
                    "dry_run": "true: only say what would change",
                    **WHO,
                },
            ),
            Command(
                verb="config_rollback",
                handle=self._roll_back,
                description="Make the content of an older version the active configuration, as a new version",
                parameters={"version": "its number", **WHO},
            ),
        ]

    async def _apply(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        files = parameters.get("files")
        if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
            raise CommandRefused('files is missing: {"tidemill.yaml": "…", "sources/demo.yaml": "…"}')
        for name, content in files.items():
            if not _is_text(name) or not _is_text(content):
                raise CommandRefused(f"{name!r} is no text that can be kept: it holds a zero byte or half a character")
        return await self._offer(tx, id, Offer(files, *_who(parameters), dry_run=bool(parameters.get("dry_run"))))

    async def _roll_back(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        number = parameters.get("version")
        if not isinstance(number, int) or isinstance(number, bool):
            raise CommandRefused(
                'version is the number of a kept one: {"version": 3}; `tidemill config history` lists them'
            )
        kept = await find_version(tx, number)
        if kept is None:
            raise CommandRefused(f"there is no version {number}; `tidemill config history` lists them", "404")
        actor, via, comment = _who(parameters)
        comment = comment or f"back to version {number}"
        return await self._offer(tx, id, Offer(kept.content, actor, via, comment, rolls_back_to=number))

    async def _offer(self, tx: Tx, id: str, offer: Offer) -> Answer:
        await tx.execute(LOCK)
        active = await find_version(tx)
        wrong = await asyncio.to_thread(problems_of, offer.content, self._now)
        changes = changed_files(active.content if active else {}, offer.content)
        number = active.version if active else 0
        if offer.dry_run:
            state = "refused" if wrong else "would be applied" if changes else "unchanged"
            return Answer({"state": state, "version": number, "changes": changes, "problems": wrong})
        if wrong:
            return await self._refuse(tx, id, offer, number, wrong)
        await tx.execute(SETTLE)
        if active and not changes:
            return Answer({"state": "unchanged", "version": number, "changes": {}, "problems": []})
        return await self._keep(tx, offer, active, changes)

    async def _keep(self, tx: Tx, offer: Offer, active: Version | None, changes: Mapping[str, str]) -> Answer:
        before = active.version if active else 0
        number, sha256, now = before + 1, digest(offer.content), datetime.now(UTC)
        await tx.execute(
            insert(versions).values(
                version=number,
                created_at=now,
                author=offer.actor,
                via=offer.via,
                comment=offer.comment,
                sha256=sha256,
                content=dict(offer.content),
            )
        )
        await audit.record(
            tx,
            actor=offer.actor,
            via=offer.via,
            action="config.rollback" if offer.rolls_back_to else "config.apply",
            target=f"version {number}",
            before={"version": before, "sha256": active.sha256 if active else ""},
            after={"version": number, "sha256": sha256, "changes": dict(changes), "comment": offer.comment},
        )
        self._metrics.of(CONFIGS_OFFERED, outcome="applied").inc()
        log.info("configuration applied", version=number, actor=offer.actor, via=offer.via, changes=dict(changes))
        event = ConfigApplied(version=number, actor=offer.actor, applied_at=now)
        return Answer(
            {"state": "applied", "version": number, "changes": changes, "problems": []},
            [Outgoing(f"config-{number}", event)],
        )

    async def _refuse(self, tx: Tx, id: str, offer: Offer, number: int, wrong: Sequence[str]) -> Answer:
        now = datetime.now(UTC)
        await tx.execute(
            insert(refusals).values(
                refused_at=now,
                author=offer.actor,
                via=offer.via,
                version=number,
                sha256=digest(offer.content),
                problems=list(wrong),
            )
        )
        await tx.execute(
            text("DELETE FROM config.refusals WHERE id <= (SELECT max(id) FROM config.refusals) - :kept"),
            {"kept": KEPT_REFUSALS},
        )
        await audit.record(
            tx,
            actor=offer.actor,
            via=offer.via,
            action="config.apply",
            target=f"version {number + 1}",
            before={"version": number},
            after={"sha256": digest(offer.content)},
            result=f"refused: {'; '.join(wrong)}",
        )
        self._metrics.of(CONFIGS_OFFERED, outcome="refused").inc()
        log.warning("configuration refused", stays=number, actor=offer.actor, via=offer.via, problems=list(wrong))
        event = ConfigRefused(version=number, actor=offer.actor, problems=tuple(wrong), refused_at=now)
        return Answer(
            {"state": "refused", "version": number, "changes": {}, "problems": wrong},
            [Outgoing(f"config-refused-{id}", event)],
        )


def problems_of(content: Content, now: Config) -> list[str]:
    """All that forbids making this the active configuration: in this environment, and in each it has overlays for."""
    models = {spec.name: spec.settings for spec in find_services()}
    found = dict.fromkeys(map(str, strays(content)))
    for name in sorted({now.environment, *environments(content)}):
        found |= dict.fromkeys(_problems_in(name, content, now.folder, models))
    return list(found)


def _problems_in(environment: str, content: Content, folder: Path, models: Mapping[str, type[BaseModel]]) -> list[str]:
    environ = {"TIDEMILL_ENV": environment}
    wrong: list[str] = []
    sources_dir, data_dir = folder / "sources", folder / "data"
    try:
        common = load_config(folder, services=models, environ=environ, content=content).common
        sources_dir, data_dir = common.sources_dir, common.data_dir
    except ConfigError as error:
        wrong += map(str, error.problems)
    try:
        load_sources(sources_dir, data_dir, content=content, environment=environment)
    except ConfigError as error:
        wrong += map(str, error.problems)
    if wrong:
        return wrong
    settings, sources = settings_files(folder, content), source_files(sources_dir, content)
    placed = [*written_out(settings_model(models), settings.read("tidemill.yaml", environment))]
    for name in sources:
        placed += written_out(SourceFile, sources.read(name, environment))
    return [*map(str, placed)]


def changed_files(before: Content, after: Content) -> dict[str, str]:
    """Name of each file that is not the same, to `added`, `changed` or `removed`."""
    changes = {}
    for name in sorted({*before, *after}):
        if name not in before:
            changes[name] = "added"
        elif name not in after:
            changes[name] = "removed"
        elif before[name] != after[name]:
            changes[name] = "changed"
    return changes


def _is_text(text: str) -> bool:
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _who(parameters: Mapping[str, Any]) -> tuple[str, str, str]:
    """Actor, way, comment."""
    via = str(parameters.get("via") or "bus")
    if via not in WAYS:
        raise CommandRefused(f"via is {via}; it is one of {', '.join(WAYS)}")
    return str(parameters.get("actor") or "unknown"), via, str(parameters.get("comment") or "")
