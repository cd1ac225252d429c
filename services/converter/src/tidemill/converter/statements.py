"""What the statements of a batch do to the versions of one dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidemill.common.bus.step import Tx
from tidemill.converter.history import NOTHING, Revision, Sighting, Span, revise
from tidemill.converter.subjects import Statement, Subject
from tidemill.converter.versions import (
    Currents,
    KnownVersion,
    Moment,
    Opened,
    Part,
    fetch_arrival,
    fetch_ids,
    fetch_moment,
    find_by_id,
    find_sightings,
    find_versions,
    insert_records,
    insert_sightings,
    insert_versions,
    joined,
    reopen_versions,
    supersede_versions,
    update_records,
    vacate_records,
)


@dataclass(slots=True)
class Writing:
    """What will be written because of one part."""

    by: Part
    opened: Opened = field(default_factory=Opened)
    reopened: list[tuple[int, int, datetime]] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    new: Currents = field(default_factory=Currents)
    changed: Currents = field(default_factory=Currents)
    contents: list[tuple[int, datetime, int]] = field(default_factory=list)
    """(place, valid time, content) of every statement."""
    counts: Counter[str] = field(default_factory=Counter)

    def open(self, version: int, record: int, content: int, one: Statement, *, believed: bool = True) -> None:
        self.opened.add(self.by, version, record, content, one.valid_at, one.record, believed=believed)

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


Stating = tuple[Part, Sequence[Subject]]


async def store_statements(tx: Tx, part: Part, subjects: Sequence[Subject]) -> Stored:
    """Write what is new in them, and count. The dataset's lock is held."""
    return (await store_together(tx, [(part, subjects)]))[0]


async def store_together(tx: Tx, stating: Sequence[Stating]) -> list[Stored]:
    """What several parts state of one dataset, each of other records than the others.

    Most records are as they were, or are newer than everything stated so far: their current version alone decides.
    The rest is decided from all that was ever stated about them.
    """
    dataset = stating[0][0].dataset
    writings = [Writing(part) for part, _ in stating]
    sorted_out = [_sort_out(subjects, writing) for (_, subjects), writing in zip(stating, writings, strict=True)]
    if any(newer or late for newer, late in sorted_out):
        documents = list({part.document for part, _ in stating})
        moment = await fetch_moment(tx, dataset, documents, sum(len(newer) for newer, _ in sorted_out))
        ids = iter(moment.ids)
        for (newer, late), writing in zip(sorted_out, writings, strict=True):
            late += [subject for subject in newer if not _open_newest(subject, moment, ids, writing)]
            if late:
                await _revise(tx, writing.by, late, writing)
        await _write(tx, dataset, moment.recorded_at, writings)
    stated = [
        (writing.by, valid_at, content) for writing in writings for _, valid_at, content in sorted(writing.contents)
    ]
    await insert_sightings(tx, dataset, stated)
    return [Stored(writing.counts, writing.opened) for writing in writings]


async def take_back_statements(tx: Tx, part: Part, records: Sequence[int]) -> None:
    """Decide anew about records that a document states no longer, from what is left. The dataset's lock is held."""
    versions = await find_versions(tx, part.dataset, records)
    earlier = await _find_earlier(tx, part, versions)
    moment = await fetch_moment(tx, part.dataset, [part.document], 0)
    writing, vacated = Writing(part), []
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
    await _write(tx, part.dataset, moment.recorded_at, [writing])
    await vacate_records(tx, part.dataset, vacated)


def _sort_out(subjects: Sequence[Subject], writing: Writing) -> tuple[list[Subject], list[Subject]]:
    if writing.by.origin != "stored":
        return [], list(subjects)
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


def _is_newest(valid_at: datetime, moment: Moment, document: int) -> bool:
    """Nothing that was stated before can come after this, or at its time, except from its own document."""
    elsewhere, here = moment.newest[document]
    return (elsewhere is None or elsewhere < valid_at) and (here is None or here <= valid_at)


def _open_newest(subject: Subject, moment: Moment, ids: Iterator[int], writing: Writing) -> bool:
    """False where it may not be the newest after all."""
    one = subject.stated[0]
    if subject.known is not None and not _is_newest(one.valid_at, moment, writing.by.document):
        return False
    version = next(ids)
    record = subject.known.id if subject.known else version
    writing.open(version, record, version, one)
    writing.place(subject, version, record, version, Span(one.valid_at, one.record.hash))
    writing.state(one, version)
    writing.counts["changed" if subject.known else "new"] += 1
    return True


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
            writing.open(version, record, content, stated[span])
        else:
            writing.reopened.append((version, content, span.valid_from))
    for one in subject.stated:
        if one.record.hash not in contents:
            version = contents[one.record.hash] = next(ids)
            writing.open(version, record, version, one, believed=False)
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


async def _write(tx: Tx, dataset: int, recorded_at: datetime, writings: Sequence[Writing]) -> None:
    origin = writings[0].by.origin
    await insert_versions(tx, dataset, recorded_at, joined([one.opened for one in writings]), origin)
    reopened = [again for one in writings for again in one.reopened]
    await reopen_versions(tx, dataset, recorded_at, reopened, "reconvert" if origin == "reconvert" else "reopened")
    await supersede_versions(tx, dataset, recorded_at, [id for one in writings for id in one.superseded])
    await insert_records(tx, dataset, joined([one.new for one in writings]))
    await update_records(tx, dataset, joined([one.changed for one in writings]))
