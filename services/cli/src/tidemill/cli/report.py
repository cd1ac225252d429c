"""`tidemill report`: what a day or a run brought, and how far it can be trusted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.files import written_whole
from tidemill.cli.governance import day as parse_day
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.report_send import Sent, as_values, find_sent, in_short, print_sent, send
from tidemill.cli.running import Assignments, Output, OutputOption, copyable, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.reporter.report import Report
    from tidemill.reporter.table import Table

SHOWN = 30
ROWS = 20
BUILD_SECONDS = 600.0
LOOK_SECONDS = 0.3
LIST = """
SELECT kind, subject, edition, source, day, complete, verdict, anomalies, summary, sha256, size_bytes, made_at
FROM reporter.reports r
WHERE (:kind = '' OR kind = :kind) AND (:source = '' OR source = :source)
    AND (CAST(:since AS date) IS NULL OR day >= :since)
    AND (:all OR edition = (SELECT max(n.edition) FROM reporter.reports n
        WHERE n.kind = r.kind AND n.subject = r.subject))
ORDER BY day DESC, kind, made_at DESC, edition DESC LIMIT :limit
"""
FIND = """
SELECT content FROM reporter.reports
WHERE (:about = '' AND kind = 'day' OR subject = :about) AND (:edition = 0 OR edition = :edition)
ORDER BY day DESC, edition DESC LIMIT 1
"""
NEAR = """
SELECT DISTINCT subject, day FROM reporter.reports WHERE strpos(subject, :about) > 0 OR kind = 'day'
ORDER BY day DESC, subject LIMIT 5
"""
ANSWER = "SELECT done_at, edition, problem FROM reporter.due WHERE kind = :kind AND subject = :about"


class Shown(StrEnum):
    TABLE = "table"
    JSON = "json"
    HTML = "html"
    PDF = "pdf"
    XLSX = "xlsx"
    CSV = "csv"
    MAIL = "mail"


About = Annotated[
    str,
    typer.Argument(
        metavar="[DAY|RUN]", help="A day as 2025-06-17, today, yesterday, or the id of a run; the newest day without."
    ),
]
Form = Annotated[
    Shown,
    typer.Option(
        "-o", "--output", help="table for people, json for programs; html, pdf, xlsx, csv (a zip), mail: files."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there.")]


def register(app: typer.Typer) -> None:
    reports = typer.Typer(help="What days and runs brought, and how far it can be trusted.", no_args_is_help=True)
    reports.command("list")(list_reports)
    reports.command()(show)
    reports.command()(build)
    reports.command("files")(files)
    reports.command()(send)
    app.add_typer(reports, name="report")


def list_reports(
    kind: Annotated[str, typer.Option(help="day or run.")] = "",
    source: Annotated[str, typer.Option(help="Runs of this source.")] = "",
    since: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DAY", help="Of this day or later, as 2025-06-17.")
    ] = None,
    editions: Annotated[bool, typer.Option("--editions", help="Also those that were corrected later.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """List reports, the newest first."""
    if kind not in ("", "day", "run"):
        fail(f"there are reports of a day and of a run, not of {kind!r}")
    chosen = {"kind": kind, "source": source, "since": since, "all": editions, "limit": limit}
    url = database_url(assignments)
    found = asyncio.run(_find(url, chosen))
    sent = find_sent(url, [one["subject"] for one in found])
    folder = _folder(assignments)
    kept = [_find_files(folder, one["kind"], one["subject"], one["edition"]) for one in found]
    if output is Output.JSON:
        told = [
            {**one, "sent": as_values(sent.get(_edition(one), ())), "files": [str(file) for file in files]}
            for one, files in zip(found, kept, strict=True)
        ]
        typer.echo(json.dumps(told, default=_plain, ensure_ascii=False, indent=1))
    elif found:
        _print_list(found, sent, kept)
    else:
        typer.echo("no reports; `tidemill report build DAY` makes one")


def show(
    about: About = "",
    edition: Annotated[int, typer.Option(min=0, help="This one; the last without.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="So many of each table; the other forms have all.")] = ROWS,
    output: Form = Shown.TABLE,
    out: Out = None,
    assignments: Assignments = None,
) -> None:
    """Show a report."""
    from tidemill.reporter.report import Report

    url = database_url(assignments)
    report = Report.from_json(asyncio.run(_get(url, _meant(about, assignments), edition)))
    if output is Shown.TABLE:
        _print_report(report, rows)
        sent = find_sent(url, [report.subject])
        print_sent(sent.get((report.kind, report.subject, report.edition), ()))
        _print_files(report, _find_files(_folder(assignments), report.kind, report.subject, report.edition))
    else:
        _write(report, output, out)


def build(
    about: Annotated[
        str, typer.Argument(metavar="DAY|RUN", help="A day as 2025-06-17, today, yesterday, or the id of a run.")
    ],
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Make a report as things are now, also on a day that is not over; where it says otherwise than before, it is a
    further edition."""
    made = built(about, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(made))
    else:
        subject = made["about"]
        typer.echo(
            copyable(
                f"the report on {subject} is made, edition {made['edition']}: `tidemill report show {subject}`; as"
                f" files: `tidemill report files {subject}`"
            )
        )


def files(
    about: About = "",
    edition: Annotated[int, typer.Option(min=0, help="This one; the last without.")] = 0,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Into this folder; below data/reports without.")
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Write a report as files, in every form: JSON, HTML, PDF, XLSX, CSV and mail."""
    for file in write_all(about, assignments, edition=edition, to=to):
        typer.echo(str(file))


def built(about: str, assignments: list[str] | None) -> dict[str, Any]:
    """What was made: `kind`, `about` (a day as 2025-06-17, or a run), `edition`."""
    answer = ask("build", said(about=about), assignments, service="reporter")
    made = asyncio.run(_wait(database_url(assignments), answer))
    if made["problem"]:
        fail(f"the report on {answer['about']} cannot be made: {made['problem']}")
    return {**answer, "edition": made["edition"]}


def write_all(about: str, assignments: list[str] | None, *, edition: int = 0, to: Path | None = None) -> list[Path]:
    """Each form of the report, in a folder that is made where it is missing."""
    from tidemill.reporter.forms import Form as Rendered
    from tidemill.reporter.forms import file_name, folder_name
    from tidemill.reporter.render import render
    from tidemill.reporter.report import Report

    content = asyncio.run(_get(database_url(assignments), _meant(about, assignments), edition))
    report = Report.from_json(content)
    folder = to or _folder(assignments) / folder_name(report.id)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for form in Rendered:
        file = folder / file_name(report.id, report.edition, form)
        with written_whole(file) as out:
            out.write(render(report, form))
        written.append(file)
    return written


def _find_files(folder: Path, kind: str, subject: str, edition: int) -> list[Path]:
    """Those that `write_all` put there."""
    from tidemill.reporter.forms import Form as Rendered
    from tidemill.reporter.forms import file_name, folder_name

    id = f"{kind}-{subject}"
    named = (folder / folder_name(id) / file_name(id, edition, form) for form in Rendered)
    return [file for file in named if file.exists()]


def _folder(assignments: list[str] | None) -> Path:
    """Where reports are written, unless somebody says otherwise."""
    folder = read_config(assignments).common.data_dir / "reports"
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _meant(about: str, assignments: list[str] | None) -> str:
    """`today` and `yesterday` are days of the zone of reports."""
    from tidemill.reporter.days import day_of, meant_day, utc_now
    from tidemill.schedule import find_zone

    if about not in ("today", "yesterday"):
        return about
    config = read_config(assignments, services=True, only=("reporter",))
    day = meant_day(about, day_of(utc_now(), find_zone(config.service("reporter").zone)))
    return str(day)


async def _find(url: str, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    from sqlalchemy import text

    async with open_store(url) as connection:
        await _require(connection)
        return [dict(row) for row in (await connection.execute(text(LIST), chosen)).mappings()]


async def _get(url: str, about: str, edition: int) -> str:
    from sqlalchemy import text

    async with open_store(url) as connection:
        await _require(connection)
        content: str | None = await connection.scalar(text(FIND), {"about": about, "edition": edition})
        if content is None:
            near = ", ".join((await connection.scalars(text(NEAR), {"about": about})).all())
            what = f"of {about}" if about else "of a day"
            which = f", edition {edition}" if edition else ""
            fail(f"there is no report {what}{which}{'; there are: ' + near if near else ''}")
    return content


async def _wait(url: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Until the wish is answered: it may be a matter of a minute, over millions of records."""
    from sqlalchemy import text

    asked_at = datetime.fromisoformat(answer["asked_at"])
    deadline = time.monotonic() + BUILD_SECONDS
    async with open_store(url) as connection:
        while True:
            row = (await connection.execute(text(ANSWER), dict(answer))).mappings().one()
            await connection.rollback()
            if row["problem"] or (row["done_at"] is not None and row["done_at"] >= asked_at):
                return dict(row)
            if time.monotonic() > deadline:
                fail(f"it is not made after {BUILD_SECONDS / 60:.0f} minutes; `tidemill doctor` may say why")
            await asyncio.sleep(LOOK_SECONDS)


async def _require(connection: AsyncConnection) -> None:
    from sqlalchemy import text

    if not await connection.scalar(text("SELECT to_regclass('reporter.reports') IS NOT NULL")):
        fail("the database has no tables of the reporter yet: run `tidemill migrate`, or start `tidemill up`")


def _write(report: Report, form: Shown, out: Path | None) -> None:
    from tidemill.reporter.forms import Form as Rendered
    from tidemill.reporter.forms import file_name
    from tidemill.reporter.render import render

    content = render(report, Rendered(form.value))
    if out is None and form is not Shown.JSON:
        out = Path(file_name(report.id, report.edition, Rendered(form.value)))
        typer.echo(str(out), err=True)
    with written_whole(out) as file:
        file.write(content)
        if out is None:
            file.write(b"\n")


def _edition(one: Mapping[str, Any]) -> tuple[str, str, int]:
    return one["kind"], one["subject"], one["edition"]


def _print_list(found: Sequence[Mapping[str, Any]], sent: Sent, kept: Sequence[Sequence[Path]]) -> None:
    columns = [
        Column("day", whole=True),
        Column("about", most=60),
        Column("edition", right=True),
        Column("verdict"),
        Column("unusual", right=True),
        Column("sent", most=40),
        Column("files", whole=True),
        Column("summary", most=120),
    ]
    rows = [
        [
            one["day"].isoformat(),
            one["subject"] if one["kind"] == "run" else "the day",
            str(one["edition"]),
            one["verdict"] + ("" if one["complete"] else ", incomplete"),
            str(one["anomalies"] or ""),
            in_short(sent.get(_edition(one), ())),
            f"{files[0].parent}/" if files else "",
            one["summary"],
        ]
        for one, files in zip(found, kept, strict=True)
    ]
    alarming = [n for n, one in enumerate(found) if one["verdict"] == "untrusted"]
    print_table(columns, rows, ("day", "about", "verdict", "summary", "files", "unusual", "sent"), alarming=alarming)


def _print_report(report: Report, most: int) -> None:
    corrected = " (corrected)" if report.corrected else ""
    edition = f", edition {report.edition}{corrected}" if report.edition > 1 else ""
    typer.secho(f"{report.subject}{edition}: {report.trust.verdict}", bold=True)
    typer.echo(report.summary)
    for reason in report.trust.reasons:
        typer.echo(f"  {reason}")
    for table in _tables(report):
        typer.secho(f"\n{table.title}", bold=True)
        if table.note:
            typer.echo(table.note)
        _print_table(table, report.zone, most)


def _print_files(report: Report, files: Sequence[Path]) -> None:
    if not files:
        typer.echo(copyable(f"\nAs files: `tidemill report files {report.subject}`"))
        return
    typer.secho("\nFiles", bold=True)
    for file in files:
        typer.echo(str(file))


def _tables(report: Report) -> list[Table]:
    """All of it, in the order of reading."""
    from tidemill.reporter.renderings.telling import sections

    return [table for section in sections(report) for table in section.tables]


def _print_table(table: Table, zone: str, most: int) -> None:
    from tidemill.reporter.renderings.figures import figure

    numbers = ("integer", "decimal", "percent", "money", "duration", "bytes")
    columns = [Column(one.title, right=one.type in numbers, most=60) for one in table.columns]
    rows = [
        [figure(value, one.type, one.unit, zone) for one, value in zip(table.columns, row, strict=True)]
        for row in table.rows[:most]
    ]
    left_out = print_table(columns, rows, [columns[0].name])
    if left_out:
        typer.echo(f"no room for: {', '.join(left_out)}")
    if len(table.rows) > most:
        typer.echo(f"… {len(table.rows) - most} more rows: --rows shows them")


def _plain(value: Any) -> str:
    return str(value.isoformat())
