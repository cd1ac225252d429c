"""`tidemill convert`: one file to records, without any server, within the limits that the service keeps too."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.running import fail

if TYPE_CHECKING:
    from tidemill.converter.frames import Job
    from tidemill.converter.policy import Limits
    from tidemill.converter.workers import Description, Part, Workers

CONVERTED, FAILED, REFUSED = 0, 1, 2
"""Exit status: all of it converted; a failure of ours; refused, or records of which some are known to be missing."""

PIPED_BYTES = 1_000_000_000
OPEN_HERE_ALONE = ("/dev/stdin", "/dev/fd", "/proc")
"""Another process sees its own files there."""


class Form(StrEnum):
    JSON = "json"
    JSONL = "jsonl"
    TABLE = "table"


def register(app: typer.Typer) -> None:
    app.command()(convert)


def convert(
    file: Annotated[Path, typer.Argument(help="The document; - is standard input.")],
    form: Annotated[
        Form,
        typer.Option("-o", "--output", help="json is one document, jsonl a line for each record, table for people."),
    ] = Form.JSON,
    converter: Annotated[
        str | None, typer.Option(help="An installed converter; without it the first one that recognises the file.")
    ] = None,
    url: Annotated[str, typer.Option(help="Where on the web the file was found; pages of listings need it.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For the converter, for instance items=matches.item; JSON is read."),
    ] = None,
    memory: Annotated[str, typer.Option(help="What the conversion may use, for instance 512MB.")] = "256MB",
    cpu: Annotated[str, typer.Option(help="CPU time it may use.")] = "60s",
    time: Annotated[str, typer.Option(help="Time it may take.")] = "120s",
    pages: Annotated[int, typer.Option(help="Pages it may have.")] = 200,
) -> None:
    """Convert a file and print what was found; nothing is stored.

    Exit status: 0 converted; 2 refused, or incomplete (the outcome is in the JSON, with the records that were found);
    1 a failure of ours.
    """
    from tidemill.common.config.units import parse_duration, parse_size
    from tidemill.converter.policy import Limits

    options = _options(option or [])
    try:
        limits = Limits(
            memory_bytes=parse_size(memory), cpu=parse_duration(cpu), time=parse_duration(time), pages=pages
        )
    except ValueError as error:
        fail(str(error))
    try:
        status = asyncio.run(_run(file, url, form, converter, options, limits))
    except BrokenPipeError:
        # Whoever read our output has seen enough. What Python would still write goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    raise typer.Exit(status)


def _options(assignments: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            fail(f"--option {assignment}: write KEY=VALUE")
        options[key] = value
        with suppress(ValueError):
            options[key] = json.loads(value)
    return options


@dataclass(frozen=True, slots=True)
class Conversion:
    """A file at work; `parts` ends with one that has the ending."""

    name: str
    description: Description
    job: Job
    parts: AsyncGenerator[Part]


async def _run(file: Path, url: str, form: Form, named: str | None, options: Mapping[str, Any], limits: Limits) -> int:
    from tidemill.cli.converted import print_json, print_lines, print_table
    from tidemill.converter.converters import find_converters
    from tidemill.converter.workers import Workers
    from tidemill.plugin import Outcome

    installed = find_converters()
    if named is not None and named not in installed:
        fail(f"converter {named!r} is not installed; installed: {', '.join(installed)}")
    show = {Form.JSON: print_json, Form.JSONL: print_lines, Form.TABLE: print_table}[form]
    async with AsyncExitStack() as stack:
        try:
            at_hand = stack.enter_context(_at_hand(file))
            with at_hand.open("rb") as content:
                head = content.read(1024)
                content.seek(0)
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            fail(f"{file} cannot be read: {error.strerror or error}")
        job = _job(at_hand, "stdin" if str(file) == "-" else _printable(file.name), sha256, url, options)
        candidates = [named] if named else _likely_first(head, file, list(installed))
        workers = await stack.enter_async_context(Workers(1, spare=0))
        conversion = await _first_that_recognises(workers, job, limits, {name: installed[name] for name in candidates})
        async with aclosing(conversion.parts):
            outcome = await show(conversion)
    return {Outcome.CONVERTED: CONVERTED, Outcome.CRASHED: FAILED}.get(outcome, REFUSED)


@contextmanager
def _at_hand(file: Path) -> Iterator[Path]:
    """As a file that a worker can open, more than once: what comes through a pipe, is open in this process alone, or
    has a name that is not UTF-8, is copied meanwhile."""
    if str(file).startswith(("http:/", "https:/")):
        fail(f"{file} is an address: download the file first")
    named = Path("/dev/stdin") if str(file) == "-" else file
    mode = named.stat().st_mode
    if stat.S_ISCHR(mode):
        fail(f"{file} is a device: give a file, or - with something piped into it")
    path = named.absolute()
    ours_alone = stat.S_ISFIFO(mode) or any(path.is_relative_to(place) for place in OPEN_HERE_ALONE)
    if not ours_alone and _printable(path) == str(path):
        yield named
        return
    with NamedTemporaryFile() as copy, named.open("rb") as pipe:
        while chunk := pipe.read(1024 * 1024):
            copy.write(chunk)
            if copy.tell() > PIPED_BYTES:
                fail(f"more than {PIPED_BYTES:,} bytes came through {_printable(file)}: save them to a file first")
        copy.flush()
        yield Path(copy.name)


def _printable(path: Path | str) -> str:
    """Bytes of a name that are no UTF-8 as `\\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _job(file: Path, name: str, sha256: str, url: str, options: Mapping[str, Any]) -> Job:
    from tidemill.converter.frames import Job

    return Job(
        path=str(file.absolute()),
        sha256=sha256,
        size_bytes=file.stat().st_size,
        name=name,
        received_at=datetime.now(UTC),
        url=url,
        converter="",
        options=options,
    )


def _likely_first(head: bytes, file: Path, installed: list[str]) -> list[str]:
    """The `json` converter takes any JSON, so it is asked first only where the file looks like it."""
    others = [name for name in installed if name != "json"]
    looks_like_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    if looks_like_json or file.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return ["json", *others]
    return [*others, "json"]


async def _first_that_recognises(
    workers: Workers, job: Job, limits: Limits, candidates: Mapping[str, str]
) -> Conversion:
    """Else the one that came nearest: it could read the document, or at least was asked first."""
    from dataclasses import replace

    from tidemill.converter.workers import ConverterUnusable, WorkerLost
    from tidemill.plugin import Outcome

    refused: list[tuple[Outcome, Conversion]] = []
    unusable: list[str] = []
    for name, reference in candidates.items():
        try:
            description = await workers.describe(reference, job.options)
        except (ConverterUnusable, WorkerLost) as error:
            unusable.append(str(error))
            continue
        parts = _to_the_end(workers, replace(job, converter=reference), limits)
        first = await anext(parts)
        conversion = Conversion(name, description, job, _again(first, parts))
        if first.ending is None or first.ending.outcome not in (Outcome.WRONG_TYPE, Outcome.UNRECOGNISED):
            return conversion
        await parts.aclose()  # Its worker is needed for the next.
        refused.append((first.ending.outcome, conversion))
    if not refused:
        fail("\n".join(unusable))
    # Without options those that need some were not meant.
    for sentence in unusable if job.options else ():
        typer.echo(f"tidemill: not asked: {sentence}", err=True)
    return next((one for outcome, one in refused if outcome is Outcome.UNRECOGNISED), refused[0][1])


async def _to_the_end(workers: Workers, job: Job, limits: Limits) -> AsyncGenerator[Part]:
    """The parts; a crash is an ending too."""
    from tidemill.converter.workers import ConverterCrashed, Ending, WorkerLost
    from tidemill.converter.workers import Part as LastPart
    from tidemill.plugin import Outcome

    index = 0
    try:
        async with aclosing(workers.convert(job, limits)) as parts:
            async for part in parts:
                index = part.index + 1
                yield part
    except (ConverterCrashed, WorkerLost) as error:
        yield LastPart(index, ending=Ending(Outcome.CRASHED, str(error), 0, {}, (), (), 0.0, 0))


async def _again(first: Part, rest: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    async with aclosing(rest):
        yield first
        async for part in rest:
            yield part
