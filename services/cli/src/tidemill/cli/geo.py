"""`tidemill geo`: addresses and buildings to place records by, and how well records match them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import actor, ask
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from tidemill.cli.geo_files import Box, Written
    from tidemill.converter.geodata import Reference

KINDS = ("addresses", "buildings")
ANSWER_SECONDS = 60.0
EXTENSIONS = (".gz", ".bz2", ".csv", ".parquet", ".geoparquet", ".pbf", ".osm")

Kind = Annotated[str | None, typer.Option("--kind", help=f"{' or '.join(KINDS)}; else what the file holds.")]
Name = Annotated[str | None, typer.Option("--name", help="To replace it by later; else the file's.")]
Bbox = Annotated[
    str | None,
    typer.Option("--bbox", metavar="W,S,E,N", help="Only what lies in this box, in degrees: 24.8,60.1,25,60.3"),
]


def register(app: typer.Typer) -> None:
    geo = typer.Typer(help="Addresses and buildings to place records by.", no_args_is_help=True)
    geo.command("import")(import_)
    geo.command("list")(list_)
    geo.command()(remove)
    geo.command()(check)
    app.add_typer(geo, name="geo")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv, .csv.gz, GeoParquet or .osm.pbf.")],
    kind: Kind = None,
    name: Name = None,
    bbox: Bbox = None,
    city: Annotated[str, typer.Option("--city", help="Of addresses that name none.")] = "",
    attribution: Annotated[str, typer.Option("--attribution", help="Whose data they are, as they want it said.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Under which they may be used.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Read addresses or buildings, keep them in the archive, and have all records placed by them. The same file again
    changes nothing; another of the same name takes its place."""
    from tidemill.cli.geo_files import OSM_ATTRIBUTION, OSM_LICENCE, UnreadableGeodata, rewrite

    if kind not in (None, *KINDS):
        fail(f"no kind {kind!r}; there are: {', '.join(KINDS)}")
    within = _box(bbox) if bbox else None
    if ".osm" in file.name:
        attribution, licence = attribution or OSM_ATTRIBUTION, licence or OSM_LICENCE
    said = {
        "name": name or _stem(file),
        "file": file.name,
        "attribution": attribution,
        "licence": licence,
        "author": actor(),
    }
    with TemporaryDirectory(prefix="tidemill-geo-") as folder:
        try:
            written = rewrite(file, Path(folder), kind, within, city)
        except UnreadableGeodata as error:
            fail(str(error))
        except OSError as error:
            fail(f"{error.filename or file} cannot be read: {error.strerror or error}")
        empty = [one.kind for one in written if one.box is None]
        if empty or not written:
            left = "; ".join(f"{reason} {count}" for one in written for reason, count in one.left_out.items())
            fail(
                f"{file.name} has no {' and no '.join(empty) or 'addresses or buildings'} to use ({left or 'no rows'})"
            )
        sums = _archive(written, assignments)
    answers = []
    for one, sha256 in zip(written, sums, strict=True):
        assert one.box is not None
        box = [one.box.south, one.box.west, one.box.north, one.box.east]
        facts = {"kind": one.kind, "sha256": sha256, "rows": one.rows, "counts": one.counts(), "box": box}
        answers.append(ask("geo_import", said | facts, assignments, service="converter", seconds=ANSWER_SECONDS))
    if output is Output.JSON:
        print(json.dumps(answers, ensure_ascii=False, indent=1))
        return
    for one, answer in zip(written, answers, strict=True):
        _tell_imported(one, answer)
    if not attribution:
        print("nothing is said of whose data this is: --attribution and --licence do")


def list_(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """What was imported, whose data it is, and how far records are placed by it."""
    references, progress = asyncio.run(_fetch_state(database_url(assignments)))
    if output is Output.JSON:
        rows = [
            {**asdict(one.imported), "author": one.author, "imported_at": one.imported_at.isoformat()}
            for one in references
        ]
        print(json.dumps({"references": rows, "enrichers": progress}, ensure_ascii=False, indent=1))
        return
    if references:
        names = ("kind", "name", "rows", "box (S,W,N,E)", "licence", "attribution", "file", "imported")
        print_table(
            [Column(name, right=name == "rows") for name in names],
            [_cells(one) for one in references],
            ("kind", "name", "rows", "licence", "attribution"),
        )
    else:
        print("nothing is imported: `tidemill geo import FILE`")
    for one in progress:
        failed = f", {one['failed']} cannot be made" if one["failed"] else ""
        print(f"{one['enricher']} of {one['dataset']}: {one['made']} of {one['rows']} are made with it{failed}")


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `geo list` shows it.")],
    kind: Kind = None,
    assignments: Assignments = None,
) -> None:
    """Use an import no longer; records are placed again without it."""
    removed = []
    for one in [kind] if kind else KINDS:
        said = {"kind": one, "name": name, "author": actor()}
        if ask("geo_remove", said, assignments, service="converter", seconds=ANSWER_SECONDS)["removed"]:
            removed.append(one)
    if not removed:
        fail(f"there are no {kind or 'addresses or buildings'} {name!r}; see `tidemill geo list`")
    print(f"removed {' and '.join(removed)} {name}")


def check(
    source: Annotated[str, typer.Option("--source", help="Only listings of this source.")] = "",
    city: Annotated[str, typer.Option("--city", help="Only listings of this city.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """How many points of listings stand in or near a building, next to what random points would give."""
    from tidemill.cli.geo_check import as_json, measure, print_rates
    from tidemill.common.archive import ArchiveUnavailable, CorruptArchive, NotArchived
    from tidemill.common.service import archive_url

    config = read_config(assignments)
    try:
        rates = asyncio.run(measure(database_url(assignments), archive_url(config), source, city))
    except (ArchiveUnavailable, CorruptArchive, NotArchived, ValueError) as error:
        fail(str(error))
    if not rates.cities:
        fail("no listing is like that" if source or city else "there are no listings yet")
    if output is Output.JSON:
        print(json.dumps(as_json(rates), ensure_ascii=False, indent=1))
    else:
        print_rates(rates)


def _archive(written: Sequence[Written], assignments: list[str] | None) -> list[str]:
    """The SHA-256 of each file, which is in the archive then."""
    from tidemill.common.archive import Archive, ArchiveUnavailable
    from tidemill.common.service import archive_url

    url = archive_url(read_config(assignments))

    async def put() -> list[str]:
        async with Archive.open(url) as archive:
            return [(await archive.put_file(one.path)).sha256 for one in written]

    try:
        return asyncio.run(put())
    except (ArchiveUnavailable, ValueError) as error:
        fail(str(error))


async def _fetch_state(url: str) -> tuple[list[Reference], list[dict[str, Any]]]:
    from tidemill.converter.enriched import fetch_progress
    from tidemill.converter.geodata import fetch_references

    async with open_store(url) as connection:
        return await fetch_references(connection), await fetch_progress(connection)


def _box(text: str) -> Box:
    from tidemill.cli.geo_files import Box

    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        fail(f"--bbox takes four numbers, west,south,east,north: 24.8,60.1,25.0,60.3, not {text!r}")
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        fail(f"--bbox is west,south,east,north in degrees, with west < east and south < north, not {text!r}")
    return Box(west, south, east, north)


def _stem(file: Path) -> str:
    name = file.name
    while name.endswith(EXTENSIONS) and Path(name).stem:
        name = Path(name).stem
    return name


def _tell_imported(written: Written, answer: Mapping[str, Any]) -> None:
    counts = written.counts()
    state = "records are placed by it from now on" if answer["changed"] else "as it was"
    print(f"{written.kind} {answer['name']}: {written.rows:,} rows, {state}")
    if counts["cities"]:
        most = [f"{name} {count:,}" for name, count in list(counts["cities"].items())[:5]]
        print(f"  {len(counts['cities'])} cities: {', '.join(most)}{' …' if len(counts['cities']) > 5 else ''}")
    for reason, count in counts["left_out"].items():
        print(f"  left out, {reason.replace('_', ' ')}: {count:,}")


def _cells(one: Reference) -> list[str]:
    it = one.imported
    box = ",".join(f"{edge:.3f}" for edge in it.box)
    return [
        it.kind,
        it.name,
        f"{it.rows:,}",
        box,
        it.licence or "not said",
        it.attribution or "not said",
        it.file,
        f"{one.imported_at:%Y-%m-%d %H:%M}",
    ]
