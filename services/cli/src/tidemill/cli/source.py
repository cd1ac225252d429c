"""`tidemill source`: describe a source, try its rules on a page, list and judge what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli import source_new, source_trial
from tidemill.cli.running import Assignments, Output, OutputOption, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from tidemill.common.config import Sources
    from tidemill.common.config.sources import SourceFile

SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a source, as its file is called.")]


def register(app: typer.Typer) -> None:
    source = typer.Typer(help="Describe sources, try their rules, see what there is.", no_args_is_help=True)
    source.command("new")(source_new.new)
    source.command("test")(source_trial.test)
    source.command("list")(list_sources)
    source.command()(show)
    source.command()(lint)
    app.add_typer(source, name="source")


def list_sources(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """List the sources of this folder: how their data comes, when, and what becomes of it."""
    sources = read_sources(assignments)
    rows = [_row(name, source, sources) for name, source in sorted(sources.items())]
    if output is Output.JSON:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        columns = [Column(name, whole=name == "source") for name in rows[0]]
        print_table(columns, [list(row.values()) for row in rows], ("source", "comes by", "from", "becomes"))
    else:
        typer.echo("no sources: `tidemill source new` writes one")


def show(name: SourceName, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Show a source with all its values and defaults, passwords masked, and where its file is."""
    import yaml

    from tidemill.common.config.secrets import printable

    sources = read_sources(assignments)
    source = find_source(sources, name)
    values = printable(source.model_dump(mode="json", by_alias=True, exclude_none=True))
    if output is Output.JSON:
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    typer.echo(f"# {sources.files[name]}")
    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120).rstrip())


def lint(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SOURCE]…", help="These alone; without names all.")
    ] = None,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Say what is right and could be better: what breaks with the next redesign, asks too much, or cannot tell what is
    gone. Exit status 1 when something is said."""
    from tidemill.cli.source_lint import remarks

    sources = read_sources(assignments)
    chosen = [find_source(sources, name) for name in names] if names else list(sources.values())
    found = [
        {"source": source.source, "key": remark.key, "remark": remark.text}
        for source in chosen
        for remark in remarks(source)
    ]
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for one in found:
            typer.echo(f"{sources.files[one['source']].name}: {one['key']}: {one['remark']}")
        if not found:
            typer.echo(f"nothing to say about {len(chosen)} source{'' if len(chosen) == 1 else 's'}")
    raise typer.Exit(1 if found else 0)


def read_sources(assignments: Sequence[str] | None) -> Sources:
    """Those of the working folder; what is wrong with them is told, and ends the command."""
    from tidemill.cli.config import installed_converters
    from tidemill.common.config import ConfigError, load_sources

    config = read_config(assignments).common
    try:
        return load_sources(config.sources_dir, config.data_dir, converters=installed_converters())
    except ConfigError as error:
        fail("\n".join(["the sources cannot be used:", *map(str, error.problems)]))


def find_source(sources: Sources, name: str) -> SourceFile:
    """The source; ends the command where there is none."""
    if name not in sources:
        fail(f"there is no source {name!r}; there are: {', '.join(sorted(sources)) or 'none'}")
    return sources[name]


def _row(name: str, source: SourceFile, sources: Mapping[str, Any]) -> dict[str, str]:
    when = [schedule.cron or (f"every {schedule.every}" if schedule.every else "once") for schedule in source.schedules]
    return {
        "source": name,
        "title": source.title,
        "comes by": next((way for way in ("watch", "download", "scrape") if getattr(source, way)), ""),
        "from": _place(source),
        "when": ", ".join(map(str, when)),
        "becomes": source.convert.with_ if source.convert else "kept only",
    }


def _place(source: SourceFile) -> str:
    if source.watch is not None:
        return str(source.watch.folder)
    if source.scrape is not None:
        return source.scrape.search.url[0]
    download = source.download
    if download is None:
        return ""
    if download.index is not None:
        return download.index.url
    return download.template.url if download.template is not None else download.url or ""
