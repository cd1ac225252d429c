"""`tidemill lineage`: where a record comes from, back to the bytes and the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tidemill.cli.reading import DatasetName, database_url, find_dataset, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail

VERSIONS = """
    SELECT r.key, v.valid_from, v.recorded_from, v.recorded_to, v.origin, v.quality, v.page, v.item, v.box, v.raw,
        v.run, v.content, v.data, d.source, d.sha256, d.name, d.path, d.received_at, d.modified_at, d.converter,
        d.converter_version, d.trace, d.outcome = 'gone' AS gone, d.reason, d.attributes, d.context,
        v.id = r.version AND v.recorded_to IS NULL AS current
    FROM converter.records r
    JOIN converter.versions v ON v.dataset = r.dataset AND v.record = r.id
    JOIN converter.documents d ON d.id = v.document
    WHERE r.dataset = :dataset AND r.key = :key
    ORDER BY v.recorded_to IS NULL DESC, v.valid_from DESC, v.recorded_from DESC
"""
RUNS = """
    SELECT run, trigger, slot, state, config_version, requested_at, finished_at FROM scheduler.runs
    WHERE run = ANY(:runs)
"""
ENRICHED = """
    SELECT content, enricher, version, reference, data, reason, made_at FROM converter.enriched
    WHERE dataset = :dataset AND content = ANY(:contents) AND version <> '' ORDER BY enricher
"""
NEAR = """
    SELECT key FROM converter.records WHERE dataset = :dataset AND strpos(lower(key), lower(:key)) > 0
    ORDER BY length(key), key LIMIT 5
"""

WIDTH = 16
"""Of names; longer ones push their value along."""

Key = Annotated[str, typer.Argument(metavar="KEY", help="As `tidemill records DATASET -o jsonl` shows it.")]
All = Annotated[bool, typer.Option("--all", help="With what was believed once and is not any more.")]


def register(app: typer.Typer) -> None:
    app.command("lineage")(lineage)


def lineage(
    dataset: DatasetName,
    key: Key,
    all: All = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Show which document, address, rule, place, converter, run, slot, configuration and trace each version of a record
    is from, and what follows from reference data."""
    versions = asyncio.run(_fetch(dataset, key, database_url(assignments)))
    shown = [one for one in versions if all or one["recorded_to"] is None]
    if output is Output.JSON:
        typer.echo(json.dumps({"dataset": dataset, "key": key, "versions": shown}, default=_plain, ensure_ascii=False))
        return
    typer.echo(f"{dataset} {key}")
    for one in shown:
        typer.echo("")
        for name, value in _lines(one):
            typer.echo(f"  {name:<{WIDTH}} {value}")
    hidden = len(versions) - len(shown)
    if hidden:
        typer.echo(f"\n{hidden} more that were believed once: --all")


async def _fetch(dataset: str, key: str, url: str) -> list[dict[str, Any]]:
    from sqlalchemy import text

    async with open_store(url) as connection:
        parameters = {"dataset": (await find_dataset(connection, dataset)).id(dataset), "key": key}
        versions = [row._asdict() for row in await connection.execute(text(VERSIONS), parameters)]
        if not versions:
            near = ", ".join((await connection.scalars(text(NEAR), parameters)).all())
            fail(f"{dataset} has no record {key!r}{'; there are: ' + near if near else ''}")
        has_runs = await connection.scalar(text("SELECT to_regclass('scheduler.runs') IS NOT NULL"))
        found = await connection.execute(text(RUNS), {"runs": [one["run"] for one in versions]}) if has_runs else ()
        runs = {row.run: row._asdict() for row in found}
        contents = {"dataset": parameters["dataset"], "contents": [one["content"] for one in versions]}
        added = [row._asdict() for row in await connection.execute(text(ENRICHED), contents)]
    for one in versions:
        one["run"] = runs.get(one["run"], {"run": one["run"]})
        one["url"] = one["path"] if one["path"].startswith(("http://", "https://")) else ""
        one["fields"] = _origins(one["raw"])
        content = one.pop("content")
        one["enriched"] = [
            {name: value for name, value in each.items() if name != "content"}
            for each in added
            if each["content"] == content
        ]
    return versions


def _origins(raw: str) -> dict[str, dict[str, Any]]:
    """Rule and raw text by field, where the converter says them; see `tidemill.extract.documents.origins`."""
    try:
        said = json.loads(raw) if raw.startswith("{") else {}
    except ValueError:
        return {}
    found = isinstance(said, dict) and all(isinstance(one, dict) and "rule" in one for one in said.values())
    return said if found else {}


def _lines(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    run = one["run"]
    ended = f", to {one['recorded_to']:%Y-%m-%d %H:%M:%S}" if one["recorded_to"] else ""
    state = "current" if one["current"] else "once believed" if ended else "earlier"
    place = [
        f"page {one['page']}" if one["page"] is not None else "",
        f"item {one['item']}" if one["item"] is not None else "",
        f"box {', '.join(f'{edge:.1f}' for edge in one['box'])}" if one["box"] else "",
    ]
    lines = [
        ("valid from", f"{one['valid_from']:%Y-%m-%d %H:%M:%S %Z} ({state})"),
        ("recorded", f"{one['recorded_from']:%Y-%m-%d %H:%M:%S %Z}{ended}, {one['origin']}"),
        *_said(one),
        ("", one["sha256"]),
        ("from", one["path"]),
        ("place", ", ".join(filter(None, place))),
        ("converter", f"{one['converter']} {one['converter_version']}"),
        ("run", " ".join(filter(None, (run["run"], run.get("trigger", ""), run.get("state", ""))))),
        ("slot", f"{run['slot']:%Y-%m-%d %H:%M:%S %Z}" if run.get("slot") else ""),
        ("config", f"version {run['config_version']}" if run.get("config_version") else ""),
        ("trace", one["trace"]),
    ]
    lines += [
        (
            each["enricher"],
            f"version {each['version']}: {each['reason'] or json.dumps(each['data'], ensure_ascii=False)}",
        )
        for each in one["enriched"]
    ]
    return [(name, value) for name, value in lines if value]


def _said(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the document says, and by which rules; or that it is gone."""
    at = f"{one['received_at']:%Y-%m-%d %H:%M:%S %Z}"
    if one["gone"]:
        detail = one["attributes"].get("detail")
        return [("gone", f"since {at}: {one['reason']}{f' ({detail})' if detail else ''}")]
    data = dict(one["data"] or {})
    fields = []
    for name, told in one["fields"].items():
        value = f"{json.dumps(data.pop(name), ensure_ascii=False)}  " if name in data else ""
        fields.append((name, f"{value}by {told['rule']}{_read_from(told)}"))
    rest = json.dumps(data, ensure_ascii=False) if data else ""
    raw = "" if one["fields"] else one["raw"].replace("\n", " ")
    carried = ", ".join(f"{name}: {said}" for name, said in one["context"].items())
    return [
        *fields,
        ("data", rest),
        ("raw", raw),
        ("led to by", carried),
        ("document", f"{one['name']}, received {at}"),
    ]


def _read_from(told: Mapping[str, Any]) -> str:
    return f", from {' '.join(told['raw'].split())!r}" if "raw" in told else ""


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
