"""Source files: where data comes from and what it becomes, one YAML file each."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from tidemill.common.config.checks import AT_PAGES, Check, each_once
from tidemill.common.config.content import SOURCES, Content, Files, chosen_environment, is_settings
from tidemill.common.config.downloading import Download
from tidemill.common.config.errors import ConfigError, Origin, Problem, dotted
from tidemill.common.config.layers import Layer
from tidemill.common.config.patterns import Selection, common_file, matching
from tidemill.common.config.politeness import Politeness
from tidemill.common.config.scheduling import Run, Schedule, Schedules
from tidemill.common.config.scraping import Scrape
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import ByteSize, Duration, size_text
from tidemill.common.config.validate import unknown_choice, validated
from tidemill.extract import PageRules

OptionsError = Callable[[Mapping[str, Any]], str | None]
"""A converter's judgement of `convert.options`: what is wrong with them, or None."""

Pattern = Annotated[str, StringConstraints(min_length=1)]
Lane = Literal["hi", "lo"]


class Priority(Settings):
    """Files that overtake, or wait."""

    pattern: Pattern
    """Files it holds for, for instance `*urgent*`."""
    lane: Lane
    """`hi` overtakes `lo`; `lo` still advances."""


class Watch(Settings):
    """A folder whose files are taken, each once."""

    folder: Path
    """Relative to `data_dir`, and inside it; or absolute, for instance a network share."""
    include: Annotated[tuple[Pattern, ...], Field(min_length=1)] = ("*",)
    """Files to take: `*` is any run of characters, `?` any one; upper and lower case are the same. A pattern with `/`
    is about the path, one without about the name alone."""
    exclude: tuple[Pattern, ...] = ("*.part", "~$*", ".*", "@eaDir/*")
    """Files to leave, whatever `include` says. Unfinished downloads and hidden files, unless you say otherwise."""
    recursive: bool = True
    """Whether files in sub-folders are taken too; the sub-folder becomes a tag of the document."""
    method: Literal["auto", "native", "polling"] = "auto"
    """`native` is told by the system, `polling` looks every `poll_every`, `auto` tries at start what works there."""
    poll_every: Duration = timedelta(seconds=2)
    """How often polling looks."""
    stable_for: Duration = timedelta(seconds=2)
    """How long size and time of a file must have been still before it is taken."""
    rescan_every: Duration = timedelta(minutes=5)
    """How often the whole folder is read again, for events that were missed."""
    min_size: ByteSize = 1
    """Smaller files are refused."""
    max_size: ByteSize = 200_000_000
    """Larger files are refused."""
    priority: tuple[Priority, ...] = ()
    """The first pattern that fits decides; a file that none fits is `lo`."""
    after: Literal["leave", "move", "delete"] = "leave"
    """What becomes of a file that is safe in the archive: left alone, moved to `processed/`, deleted."""

    @field_validator("folder")
    @classmethod
    def _stays_inside(cls, folder: Path) -> Path:
        if not folder.is_absolute() and Path(os.path.normpath(folder)).parts[:1] == ("..",):
            raise ValueError(f"{folder} leads out of data_dir; write the absolute path if that is meant")
        return folder

    @field_validator("poll_every", "rescan_every")
    @classmethod
    def _passes(cls, pause: timedelta) -> timedelta:
        if pause <= timedelta(0):
            raise ValueError("must be longer than 0s")
        return pause

    @model_validator(mode="after")
    def _sizes_are_in_order(self) -> "Watch":
        if self.min_size > self.max_size:
            raise ValueError(f"min_size {size_text(self.min_size)} is more than max_size {size_text(self.max_size)}")
        return self

    def rejection(self, path: str) -> str | None:
        """Why a file (path below the folder, with `/`) is not for us, by its name; None if it is."""
        if matching(self.include, path) is None:
            return "not included"
        excluded = matching(self.exclude, path)
        return None if excluded is None else f"excluded by {excluded}"

    def lane(self, path: str) -> Lane:
        return next((rule.lane for rule in self.priority if matching([rule.pattern], path)), "lo")

    def selection(self) -> Selection:
        return Selection(self.include, self.exclude, self.recursive)


class Limits(Settings):
    """What one document may use. Beyond it the conversion is ended, and the document says so."""

    memory: Annotated[ByteSize, Field(gt=0)] = 512_000_000
    """Of the worker process."""
    cpu: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=60)
    """CPU time."""
    time: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=120)
    """Time on the clock."""
    pages: Annotated[int, Field(gt=0)] = 200
    """Pages of a document; longer ones are refused before they are read."""


class Convert(Settings):
    """What makes records of the documents."""

    with_: Annotated[str, Field(alias="with")]
    """Name of an installed converter; `tidemill config check` lists them."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the converter, which checks them."""
    limits: Limits = Limits()


class Licence(Settings):
    """Under what terms the data is had; it stands in governance reports and exports."""

    name: str = ""
    """For instance `ODbL 1.0`, or `terms of use`."""
    url: str = ""
    """Where the terms are."""
    attribution: str = ""
    """What must be said where the data is shown: `© OpenStreetMap contributors`."""


class SourceFile(Settings):
    """One source: `sources/<source>.yaml`."""

    source: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    """Its name, in lower case with dashes, the same as the file's. It stays: records and subjects carry it."""
    title: str = ""
    """For people."""
    watch: Watch | None = None
    download: Download | None = None
    """In place of `watch`."""
    scrape: Scrape | None = None
    """In place of `watch` or `download`."""
    extract: PageRules | None = None
    """What is on a page: read by the scraper, for what changed, and by the converter, for records."""
    licence: Licence = Licence()
    politeness: Politeness = Politeness()
    convert: Convert | None = None
    """Without it documents are stored and not converted."""
    checks: Annotated[tuple[Check, ...], AfterValidator(each_once)] = ()
    """What is expected of its records and runs."""
    schedule: Schedules = ()
    """Without it runs begin by hand, by `run.after`, or by a file that comes."""
    run: Run = Run()

    @property
    def convert_options(self) -> dict[str, Any]:
        """What the converter is given: its options, and the rules for pages where there are some."""
        options = dict(self.convert.options) if self.convert else {}
        if self.extract is not None:
            options["extract"] = self.extract.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return options

    @property
    def checks_of_scraper(self) -> tuple[Check, ...]:
        """Those that the scraper judges, before anything is declared gone."""
        return tuple(check for check in self.checks if self.scrape is not None and check.check in AT_PAGES)

    @property
    def checks_of_converter(self) -> tuple[Check, ...]:
        scraper = self.checks_of_scraper
        return tuple(check for check in self.checks if check not in scraper)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """When it is due: as it says, and within the window in which a new file is expected."""
        window = self.download.window if self.download else None
        return self.schedule if window is None else (*self.schedule, window.schedule())

    @model_validator(mode="after")
    def _comes_one_way(self) -> "SourceFile":
        ways = [way for way in ("watch", "download", "scrape") if getattr(self, way) is not None]
        if len(ways) > 1:
            raise ValueError(f"has {' and '.join(ways)}; make {len(ways)} sources of it")
        return self

    @model_validator(mode="after")
    def _knows_what_is_on_pages(self) -> "SourceFile":
        if self.scrape is not None and self.extract is None:
            raise ValueError("scrapes pages and does not say what is on them; write extract.fields")
        return self

    @model_validator(mode="after")
    def _checks_what_there_is(self) -> "SourceFile":
        """Of a source that scrapes, its scraper knows some things before anything is declared gone."""
        for check in self.checks:
            if check.check == "failures" and self.scrape is None:
                raise ValueError(f"check {check.called} is for sources that scrape; take it out")
            if self.convert is None and (self.scrape is None or check.check not in AT_PAGES):
                raise ValueError(f"check {check.called} is about records, and without convert there are none")
            fields = self.extract.fields if self.extract else {}
            if self.scrape is not None and check.check == "coverage" and check.field not in fields:
                raise ValueError(
                    f"check {check.called}: extract has no field {check.field}. Valid fields: {', '.join(fields)}"
                )
        return self

    @model_validator(mode="after")
    def _has_what_is_carried(self) -> "SourceFile":
        if self.scrape is not None and self.extract is not None:
            search = self.scrape.search
            known = {*search.carry, *search.each}
            if unknown := sorted(self.extract.carried - known):
                valid = ", ".join(sorted(known)) or "none; write scrape.search.carry"
                raise ValueError(f"extract has carried: {unknown[0]}, which no entry carries. Valid names: {valid}")
        return self

    @model_validator(mode="after")
    def _has_runs_to_begin(self) -> "SourceFile":
        if self.watch is not None and (self.schedule or self.run.after):
            raise ValueError(
                "watches a folder, and its files are taken when they come: take out schedule and run.after"
            )
        return self


@dataclass(frozen=True)
class Sources(Mapping[str, SourceFile]):
    """All sources, by name, with absolute folders."""

    by_name: Mapping[str, SourceFile] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    origins: Mapping[str, Mapping[str, Origin]] = field(default_factory=dict)
    """By source and dotted key: where each value comes from."""
    version: int = 0
    """Number of the configuration they are part of; 0: they were read from a folder, and are no version."""

    def __getitem__(self, name: str) -> SourceFile:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)


def load_sources(
    folder: Path,
    data_dir: Path | None = None,
    *,
    converters: Mapping[str, OptionsError] | None = None,
    content: Content | None = None,
    environment: str | None = None,
    version: int = 0,
) -> Sources:
    """Read and check `folder/*.yaml`, or the source files of `content`. Raises ConfigError with all that is wrong.

    `data_dir` (default: `data` beside the folder) is what watched folders are relative to. Converters and their options
    are checked where the installed ones are given. `environment` (default: TIDEMILL_ENV) chooses the overlays.
    """
    folder = folder.resolve()
    data_dir = (folder.parent / "data" if data_dir is None else data_dir).resolve()
    environment = chosen_environment() if environment is None else environment
    files = source_files(folder, content)
    found = list(files.problems())
    read: dict[str, _Read] = {}
    for name in files:
        try:
            layer = files.read(name, environment)
            source = _with_absolute_folder(validated(SourceFile, layer), data_dir)
        except ConfigError as error:
            found += error.problems
            continue
        read[source.source] = _Read(source, folder / PurePosixPath(name).name, layer)
        found += _name_problems(read[source.source])
        found += _own_folder_problems(read[source.source], data_dir)
        found += _convert_problems(read[source.source], converters)
    found += _overlaps(read.values())
    found += _after_problems(read)
    if found:
        raise ConfigError(found)
    return Sources(
        by_name={name: each.source for name, each in read.items()},
        files={name: each.file for name, each in read.items()},
        origins={name: each.layer.setting_origins(each.source) for name, each in read.items()},
        version=version,
    )


def source_files(folder: Path, content: Content | None) -> Files:
    """The source files and their overlays."""
    if content is None:
        return Files.in_folder(folder, SOURCES, f"{folder.name}/")
    return Files.of({name: text for name, text in content.items() if not is_settings(name)})


@dataclass(frozen=True, slots=True)
class _Read:
    source: SourceFile
    file: Path
    layer: Layer

    def problem(self, path: tuple[str, ...], message: str) -> Problem:
        return Problem(self.layer.origin(path), dotted(path), message)


def _with_absolute_folder(source: SourceFile, data_dir: Path) -> SourceFile:
    if source.watch is None:
        return source
    folder = Path(os.path.normpath(data_dir / source.watch.folder))
    return source.model_copy(update={"watch": source.watch.model_copy(update={"folder": folder})})


def _name_problems(read: _Read) -> Iterator[Problem]:
    if read.source.source != read.file.stem:
        yield read.problem(
            ("source",), f"is {read.source.source}, but the file is {read.file.name}; give both the same name"
        )


def _convert_problems(read: _Read, converters: Mapping[str, OptionsError] | None) -> Iterator[Problem]:
    convert = read.source.convert
    if convert is None or converters is None:
        return
    if convert.with_ not in converters:
        yield read.problem(("convert", "with"), unknown_choice(convert.with_, converters))
        return
    wrong = converters[convert.with_](read.source.convert_options)
    if wrong:
        yield read.problem(("convert", "options"), wrong)


OWN_FOLDERS = ("archive", "limits", "nats", "partial", "postgres", "run")
"""What Tidemill keeps below data_dir; whoever watched it would take the database apart."""


def _own_folder_problems(each: _Read, data_dir: Path) -> Iterator[Problem]:
    if each.source.watch is None:
        return
    watched = each.source.watch.folder
    for own in (data_dir / name for name in OWN_FOLDERS):
        if own.is_relative_to(watched) or watched.is_relative_to(own):
            yield each.problem(
                ("watch", "folder"), f"{watched} holds or lies in Tidemill's own {own}; watch a folder of its own"
            )
            return


def _after_problems(read: Mapping[str, _Read]) -> Iterator[Problem]:
    after = {name: set(each.source.run.after) for name, each in read.items()}
    for name, each in read.items():
        for upstream in each.source.run.after:
            if upstream not in read:
                yield each.problem(("run", "after"), unknown_choice(upstream, read))
            elif name in _upstream_of(upstream, after):
                yield each.problem(("run", "after"), f"{upstream} runs after {name} itself; take one of the two out")


def _upstream_of(source: str, after: Mapping[str, set[str]]) -> set[str]:
    """The source, and all whose runs lead to runs of it."""
    found: set[str] = set()
    waiting = {source}
    while waiting:
        found |= waiting
        waiting = {upstream for each in waiting for upstream in after.get(each, ())} - found
    return found


def _overlaps(read: Iterable[_Read]) -> Iterator[Problem]:
    watched = [(each, each.source.watch) for each in read if each.source.watch is not None]
    for (one, watch), (other, other_watch) in combinations(watched, 2):
        path = _common(watch, other_watch)
        if path is not None:
            message = f"would take {path}, which {other.source.source} takes too; set them apart by include and exclude"
            yield one.problem(("watch", "include"), message)


def _common(one: Watch, other: Watch) -> Path | None:
    """A file that both would take."""
    outer, inner = (one, other) if other.folder.is_relative_to(one.folder) else (other, one)
    if not inner.folder.is_relative_to(outer.folder):
        return None
    between = inner.folder.relative_to(outer.folder).as_posix()
    path = common_file(outer.selection(), inner.selection(), "" if between == "." else between)
    return None if path is None else outer.folder / path
