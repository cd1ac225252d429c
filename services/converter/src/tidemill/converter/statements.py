"""What the statements of a batch do to the versions of one dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tidemill.common.bus.step import Tx
from tidemill.converter.history import NOTHING, Revision, Sighting, Span, revise
from tidemill.converter.subjects import Statement, Subject
from tidemill.converter.versions import (
    Currents,
    KnownVersion,
    Moment,
    Opened,
    fetch_arrival,
    fetch_ids,
    fetch_moment,
    find_by_id,
    find_sightings,
    find_versions,
    insert_records,
    insert_sightings,
    insert_versions,
    reopen_versions,
    supersede_versions,
    update_records,
    vacate_records,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a document, for one dataset."""

    dataset: int
    document: int
    part: int
    run: str
    origin: Literal["stored", "reconvert", "gone"] = "stored"
    """Of a document that takes the place of one converted before, and of what is gone, everything is decided from all
    that was stated."""


@dataclass(slots=True)
class Writing:
    """What will be written."""

    opened: Opened = field(default_factory=Opened)
    reopened: list[tuple[int, int, datetime]] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    new: Currents = field(default_factory=Currents)
    changed: Currents = field(default_factory=Currents)
    contents: list[tuple[int, datetime, int]] = field(default_factory=list)
    """(place, valid time, content) of every statement."""
    counts: Counter[str] = field(default_factory=Counter)

    def state(self, one: Statement, content: int) -> None:
        self.contents.append((one.place, one.valid_at, content))

    def place(self, subject: Subject, version: int, record: int, content: int, span: Span) -> None:
        """Make this version the record's current one."""
        currents = self.changed if subject.known else self.new
        currents.add(subject.key, record, version, content, span.content, span.valid_from)


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing statements came to."""

    counts: Counter[str]
    """new, changed, unchanged, history, gone."""
    opened: Opened
    """The versions that were inserted."""


async def store_statements(tx: Tx, part: Part, subjects: Sequence[Subject]) -> Stored:
    """Write what is new in them, and count. The dataset's lock is held.

    Most records are as they were, or are newer than everything stated so far: their current version alone decides.
    The rest is decided from all that was ever stated about them.
    """
    writing = Writing()
    newer, late = _sort_out(subjects, writing) if part.origin == "stored" else ([], list(subjects))
    if newer or late:
        moment = await fetch_moment(tx, part.dataset, part.document, len(newer))
        ids = iter(moment.ids)
        for subject in newer:
            if subject.known is None or _is_newest(subject.stated[0].valid_at, moment):
                _open_newest(subject, next(ids), writing)
            else:
                late.append(subject)
        if late:
            await _revise(tx, part, late, writing)
        await _write(tx, part, moment.recorded_at, writing)
    stated = [(valid_at, content) for _, valid_at, content in sorted(writing.contents)]
    await insert_sightings(tx, part.dataset, part.document, part.part, stated)
    return Stored(writing.counts, writing.opened)


async def take_back_statements(tx: Tx, part: Part, records: Sequence[int]) -> None:
    """Decide anew about records that a document states no longer, from what is left. The dataset's lock is held."""
    versions = await find_versions(tx, part.dataset, records)
    earlier = await _find_earlier(tx, part, versions)
    moment = await fetch_moment(tx, part.dataset, part.document, 0)
    writing, vacated = Writing(), []
    revised = []
    for key, known in await find_by_id(tx, part.dataset, records):
        holding = [version for version in versions[known.id] if version.holds]
        if any(one.content != NOTHING for one in earlier.get(known.id, ())):
            spans = [Span(version.valid_from, version.hash) for version in holding]
            revised.append((Subject(key, known), versions[known.id], revise(spans, earlier[known.id])))
        else:
            writing.superseded += [version.id for version in holding]
            vacated.append(known.id)
    ids = iter(await fetch_ids(tx, sum(len(revision.opened) for _, _, revision in revised)))
    for subject, found, revision in revised:
        _apply(subject, found, revision, ids, writing)
    await _write(tx, part, moment.recorded_at, writing)
    await vacate_records(tx, part.dataset, vacated)


def _sort_out(subjects: Sequence[Subject], writing: Writing) -> tuple[list[Subject], list[Subject]]:
    newer, late = [], []
    for subject in subjects:
        known, one = subject.known, subject.stated[0]
        if len(subject.stated) > 1:
            late.append(subject)
        elif known is None or (known.hash != one.record.hash and known.valid_from < one.valid_at):
            newer.append(subject)
        elif known.hash == one.record.hash and known.valid_from <= one.valid_at:
            writing.counts["unchanged"] += 1
            writing.state(one, known.content)
        else:
            late.append(subject)
    return newer, late


def _is_newest(valid_at: datetime, moment: Moment) -> bool:
    """Nothing that was stated before can come after this, or at its time, except from its own document."""
    elsewhere, here = moment.newest_elsewhere, moment.newest_here
    return (elsewhere is None or elsewhere < valid_at) and (here is None or here <= valid_at)


def _open_newest(subject: Subject, version: int, writing: Writing) -> None:
    one = subject.stated[0]
    record = subject.known.id if subject.known else version
    writing.opened.add(version, record, version, one.valid_at, one.record)
    writing.place(subject, version, record, version, Span(one.valid_at, one.record.hash))
    writing.state(one, version)
    writing.counts["changed" if subject.known else "new"] += 1


async def _revise(tx: Tx, part: Part, late: Sequence[Subject], writing: Writing) -> None:
    versions = await find_versions(tx, part.dataset, [subject.known.id for subject in late if subject.known])
    earlier = await _find_earlier(tx, part, versions)
    received_at, sha256, page = await fetch_arrival(tx, part.document)
    revised = []
    for subject in late:
        record = subject.known.id if subject.known else 0
        sightings = list(earlier.get(record, ()))
        for one in subject.stated:
            rank = (received_at, sha256, part.document, part.part, True, one.place)
            sightings.append(Sighting(one.valid_at, rank, one.record.hash, page))
        known = versions.get(record, [])
        holding = [Span(version.valid_from, version.hash) for version in known if version.holds]
        revised.append((subject, known, revise(holding, sightings)))
    ids = iter(await fetch_ids(tx, sum(len(one.opened) + len(subject.stated) for subject, _, one in revised)))
    for subject, known, revision in revised:
        _apply(subject, known, revision, ids, writing)


async def _find_earlier(tx: Tx, part: Part, versions: dict[int, list[KnownVersion]]) -> dict[int, list[Sighting]]:
    """What was stated before, by record."""
    owners = {version.content: (record, version.hash) for record, known in versions.items() for version in known}
    earlier: dict[int, list[Sighting]] = {}
    for seen in await find_sightings(tx, part.dataset, list(owners)) if owners else ():
        record, content = owners[seen.content]
        rank = (seen.received_at, seen.sha256, seen.document, seen.part, False, seen.place)
        earlier.setdefault(record, []).append(Sighting(seen.valid_at, rank, content, seen.page))
    return earlier


def _apply(
    subject: Subject, known: Sequence[KnownVersion], revision: Revision, ids: Iterator[int], writing: Writing
) -> None:
    contents = {version.hash: version.content for version in known}
    holding = {Span(version.valid_from, version.hash): version.id for version in known if version.holds}
    stated = {Span(one.valid_at, one.record.hash): one for one in subject.stated}
    record = subject.known.id if subject.known else 0
    for span in revision.opened:
        version = holding[span] = next(ids)
        record = record or version
        content = contents.setdefault(span.content, version)
        if span in stated:
            writing.opened.add(version, record, content, span.valid_from, stated[span].record)
        else:
            writing.reopened.append((version, content, span.valid_from))
    for one in subject.stated:
        if one.record.hash not in contents:
            version = contents[one.record.hash] = next(ids)
            writing.opened.add(version, record, version, one.valid_at, one.record, believed=False)
        writing.state(one, contents[one.record.hash])
    writing.superseded += [holding[span] for span in revision.superseded]
    current = revision.current
    if subject.known is None or (subject.known.hash, subject.known.valid_from) != (current.content, current.valid_from):
        writing.place(subject, holding[current], record, contents[current.content], current)
    _count(subject, revision, writing.counts)


def _count(subject: Subject, revision: Revision, counts: Counter[str]) -> None:
    """One change for the record; what else the batch says about it is history where it opened a version."""
    if subject.known is None:
        change = "new"
    elif subject.known.hash != revision.current.content:
        change = "gone" if revision.current.content == NOTHING else "changed"
    else:
        change = "history" if revision else "unchanged"
    counts[change] += 1
    others = len(subject.stated) - 1
    history = min(others, max(0, len(revision.opened) - 1))
    counts["history"] += history
    counts["unchanged"] += others - history


async def _write(tx: Tx, part: Part, recorded_at: datetime, writing: Writing) -> None:
    opened_by, again_by = part.origin, "reconvert" if part.origin == "reconvert" else "reopened"
    await insert_versions(tx, part.dataset, part.document, part.run, recorded_at, writing.opened, opened_by)
    await reopen_versions(tx, part.dataset, recorded_at, writing.reopened, again_by)
    await supersede_versions(tx, part.dataset, recorded_at, writing.superseded)
    await insert_records(tx, part.dataset, writing.new)
    await update_records(tx, part.dataset, writing.changed)
