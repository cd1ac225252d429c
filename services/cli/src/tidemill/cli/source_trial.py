"""`tidemill source test`: one page, what the rules find on it, and nothing stored."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, cell, print_table

if TYPE_CHECKING:
    from tidemill.common.config.sources import SourceFile
    from tidemill.extract import Judgement, Link, Page

LINKS_SHOWN = 10
RAW_SHOWN = 60
UNWELL = 1
"""Exit status: the page is no success by these rules."""
REFUSED_FROM = 400
"""HTTP status."""


@dataclass(frozen=True, slots=True)
class Got:
    """A page, from the site or from a file."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    context: Mapping[str, str] = field(default_factory=dict)

    def page(self) -> Page:
        from tidemill.extract import Page

        page = Page.of_bytes(self.content, url=self.url, status=self.status, headers=self.headers)
        page.context = dict(self.context)
        return page


def test(
    name: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a source.")],
    url: Annotated[str, typer.Option(help="Ask for this page, once and politely.")] = "",
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Read a saved page; needs no network.")] = None,
    status: Annotated[int, typer.Option(help="The HTTP status that the saved page came with.")] = 200,
    search: Annotated[bool, typer.Option("--search", help="It is a search page: show its entries.")] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Show what a source's rules find on one page: each field with its value, its rule and the raw text, the page's
    state, and the records that it becomes. Stores nothing.

    Without --url and --page the first search page is asked for, and then the page of its first entry. Exit status 1
    when the page is no success.
    """
    from tidemill.cli.source import find_source, read_sources

    source = find_source(read_sources(assignments), name)
    if source.extract is None:
        fail(f"{name} reads no pages: it has no `extract`. `tidemill convert FILE` tries a converter on a file")
    if search and source.scrape is None:
        fail(f"{name} searches nothing: it has no `scrape`")
    if page is not None:
        try:
            got = Got(url or _example_url(source), status, {}, page.read_bytes())
        except OSError as error:
            fail(f"{page} cannot be read: {error.strerror}")
        found = [_of_search(source, got) if search else _of_page(source, got)]
    elif url:
        got = asyncio.run(fetch(source, url))
        found = [_of_search(source, got) if search else _of_page(source, got)]
    else:
        found = asyncio.run(_first_of_each(source, only_search=search))
    if output is Output.JSON:
        typer.echo(json.dumps(found if len(found) > 1 else found[0], indent=2, ensure_ascii=False))
    else:
        for one in found:
            _print(one)
    raise typer.Exit(0 if all(one["ok"] for one in found) else UNWELL)


async def _first_of_each(source: SourceFile, *, only_search: bool) -> list[dict[str, Any]]:
    """The first search page, and the page of its first entry."""
    from tidemill.extract import begin, starts

    if source.scrape is None:
        fail(f"{source.source} searches nothing: give --url or --page")
    start = next(iter(starts(source.scrape.search)))
    searched = await fetch(source, begin(source.scrape.search, start).url)
    shown = _of_search(source, searched)
    if only_search or not shown["entries"]:
        return [shown]
    first = shown["entries"][0]
    got = await fetch(source, first["url"], first.get("carried", {}))
    return [shown, _of_page(source, got)]


async def fetch(source: SourceFile, url: str, context: Mapping[str, str] | None = None) -> Got:
    """Ask for a page as the scraper does: robots.txt, rate, guard. What prevents it is told, and ends the command."""
    from tidemill.cli.asking_sites import open_fetch
    from tidemill.cli.running import read_config
    from tidemill.common.http import BadStatus, FetchFailure, Held, Usage

    common = read_config().common
    async with open_fetch(common.data_dir, common.redis_url) as fetcher:
        try:
            got = await fetcher.page(source, url, Usage())
        except BadStatus as answer:
            return Got(url, answer.status, {}, b"", context or {})
        except FetchFailure as failure:
            fail(f"{url}: {failure.slug}: {failure.detail}")
        except Held as held:
            fail(f"{url} is not asked for: {held.reason}: {held.detail}")
    assert got is not None  # Nothing was known of it, so it cannot be unchanged.
    return Got(got.url, got.status, got.headers, got.content, context or {})


def _example_url(source: SourceFile) -> str:
    """An address on the site, so that relative links lead somewhere."""
    return source.scrape.search.url[0].split("{")[0] if source.scrape else ""


def _of_page(source: SourceFile, got: Got) -> dict[str, Any]:
    from tidemill.extract import extract_items, judge, plain

    assert source.extract is not None
    page = got.page()
    records = extract_items(page, source.extract)
    first = records[0] if records else None
    judgement = judge(page, source.extract, first)
    return {
        "kind": "page",
        "url": got.url,
        "status": got.status,
        "bytes": len(got.content),
        **_judged(judgement),
        "coverage": round(sum(one.coverage for one in records) / len(records), 3) if records else 0.0,
        "fields": [
            {
                "field": name,
                "type": source.extract.fields[name].type,
                "required": source.extract.fields[name].required,
                "value": plain(one.value),
                "rule": one.rule,
                "raw": one.raw,
                "problems": list(one.problems),
            }
            for name, one in (first.fields if first else {}).items()
        ],
        "items": len(records),
        "content_hash": first.content_hash if first else "",
        **_converted(source, got),
    }


def _judged(judgement: Judgement) -> dict[str, Any]:
    return {
        "ok": judgement.ok,
        "state": judgement.state,
        "why": [str(why) for why in judgement.why],
    }


def _converted(source: SourceFile, got: Got) -> dict[str, Any]:
    """What the source's converter makes of it."""
    from tidemill.plugin import Document, Refusal, Rejected
    from tidemill.plugin import Record as Stored
    from tidemill.plugin.conformance import find_converter

    if source.convert is None:
        return {"records": [], "rejected": []}
    document = Document(
        content=io.BytesIO(got.content),
        sha256=hashlib.sha256(got.content).hexdigest(),
        size_bytes=len(got.content),
        name="",
        received_at=datetime.now(UTC),
        source=source.source,
        url=got.url,
        context=got.context,
    )
    stored, rejected = [], []
    refused = ""
    try:
        for item in find_converter(source.convert.with_).convert(document, source.convert_options):
            if isinstance(item, Stored):
                stored.append({"dataset": item.dataset, "key": item.key, "quality": item.quality, "data": item.data})
            elif isinstance(item, Rejected):
                rejected.append({"reason": item.reason, "detail": item.detail, "raw": item.raw})
    except Refusal as refusal:
        refused = f"{refusal.outcome}: {refusal}"
    return {"records": stored, "rejected": rejected, **({"refused": refused} if refused else {})}


def _of_search(source: SourceFile, got: Got) -> dict[str, Any]:
    from tidemill.extract import Position, advance, begin, canonical, starts

    assert source.scrape is not None
    scrape = source.scrape
    first_pages = (begin(scrape.search, start) for start in starts(scrape.search))
    position = next((first for first in first_pages if first.url == got.url), Position(got.url, got.url))
    step = advance(scrape.search, position, got.page())
    refused = [f"the site answered {got.status}"] if got.status >= REFUSED_FROM else []
    return {
        "kind": "search",
        "url": got.url,
        "status": got.status,
        "bytes": len(got.content),
        "ok": not refused and (bool(step.links) or (step.complete and step.position.found == 0)),
        "found": step.position.found,
        "entries": [{**_entry(link), "identity": canonical(link.url, scrape.urls)} for link in step.links],
        "next": step.position.url if step.stop is None else None,
        "stop": step.stop.value if step.stop else None,
        "problems": [*refused, *dict.fromkeys(step.problems)],
    }


def _entry(link: Link) -> dict[str, Any]:
    carried = dict(getattr(link, "carried", {}))
    shown = {"url": link.url, "key": link.key, "hint": link.hint, "carried": carried}
    return {name: value for name, value in shown.items() if value}


def _print(found: Mapping[str, Any]) -> None:
    typer.secho(f"{found['kind']} {found['url'] or '(saved)'}  {found['status']}, {found['bytes']:,} bytes", bold=True)
    _print_search(found) if found["kind"] == "search" else _print_page(found)
    typer.echo()


def _print_search(found: Mapping[str, Any]) -> None:
    counted = "" if found["found"] is None else f" of {found['found']:,} that the site counts"
    typer.echo(f"{len(found['entries'])} entries{counted}")
    for entry in found["entries"][:LINKS_SHOWN]:
        more = "".join(
            f"  {name} {value}" for name, value in entry.items() if name not in ("url", "identity", "carried")
        )
        typer.echo(f"  {entry['url']}{more}")
    if len(found["entries"]) > LINKS_SHOWN:
        typer.echo(f"  … and {len(found['entries']) - LINKS_SHOWN} more")
    typer.echo(f"next: {found['next']}" if found["next"] else f"ends here: {found['stop']}")
    for problem in found["problems"]:
        typer.secho(f"! {problem}", fg="red")


def _print_page(found: Mapping[str, Any]) -> None:
    why = f" ({'; '.join(found['why'])})" if found["why"] else ""
    typer.secho(f"state: {found['state']}{why}", fg=None if found["ok"] else "red")
    columns = [
        Column("field", whole=True),
        Column("value", most=60),
        Column("type"),
        Column("rule", most=60),
        Column("raw", most=RAW_SHOWN),
    ]
    rows = [
        [
            one["field"] + (" *" if one["required"] else ""),
            cell(one["value"]),
            one["type"],
            one["rule"] or "",
            one["raw"] or "",
        ]
        for one in found["fields"]
    ]
    lacking = [n for n, one in enumerate(found["fields"]) if one["value"] is None and one["required"]]
    if rows:
        print_table(columns, rows, ("field", "value", "rule", "raw"), alarming=lacking)
    for one in found["fields"]:
        for problem in one["problems"]:
            typer.secho(f"! {one['field']}: {problem}", fg="red")
    items = f", {found['items']} items" if found["items"] != 1 else ""
    typer.echo(f"* required; {found['coverage']:.0%} of the fields have a value{items}")
    if found.get("refused"):
        typer.secho(f"the converter refuses it: {found['refused']}", fg="red")
    for record in found["records"]:
        typer.echo(f"becomes {record['dataset']} {record['key']} (quality {record['quality']:.2f})")
        for name, value in record["data"].items():
            if value is not None:
                typer.echo(f"  {name}: {cell(value)}")
    for row in found["rejected"]:
        typer.secho(f"! rejected: {row['reason']}: {row['detail']}", fg="red")
