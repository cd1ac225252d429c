"""Pure: a report that was given before, and now says otherwise: what differs, figure by figure."""

from collections.abc import Iterator, Mapping, Sequence

from tidemill.reporter.report import Correction, Report, SourceChanges
from tidemill.reporter.table import ColumnOf, Table, Value, ValueType

MOST = 300
"""Corrections that are listed."""
TYPES: Mapping[str, ValueType] = {
    **dict.fromkeys(("runs", "new", "changed", "unchanged", "gone", "reappeared", "skipped", "failed"), "integer"),
    "requests": "integer",
    "bytes": "bytes",
    "bytes_saved": "bytes",
    "peak_memory_bytes": "bytes",
    "duration_seconds": "duration",
    "cpu_seconds": "duration",
    "state": "text",
}


def next_edition(before: Report | None, now: Report) -> Report | None:
    """The report to keep: the first one, or a further edition with its corrections. None where nothing differs."""
    if before is None:
        return now
    if before.made_from == now.made_from:
        return None
    if before.as_of is not None:
        return now.model_copy(update={"edition": before.edition + 1, "goes_on": True})
    corrections = tuple(find_corrections(before, now))[:MOST]
    return now.model_copy(update={"edition": before.edition + 1, "corrections": corrections})


def find_corrections(before: Report, now: Report) -> Iterator[Correction]:
    yield from _sources(before.changes, now.changes)
    for part in ("breakdowns", "quality", "politeness"):
        yield from _tables(getattr(before, part), getattr(now, part))
    yield from _missing(before, now)
    for name in ("quarantined", "rejected"):
        was, told = getattr(before.trust, name), getattr(now.trust, name)
        if was != told:
            yield Correction(where="Trust", name=name, type="integer", before=was, after=told)
    if before.trust.verdict != now.trust.verdict:
        yield Correction(where="Trust", name="verdict", before=before.trust.verdict, after=now.trust.verdict)


def _sources(before: Sequence[SourceChanges], now: Sequence[SourceChanges]) -> Iterator[Correction]:
    were, are = ({one.source: one for one in several} for several in (before, now))
    for source in sorted({*were, *are}):
        for name, type in TYPES.items():
            was, told = (getattr(one[source], name) if source in one else None for one in (were, are))
            if was != told:
                yield Correction(
                    where="Changes", name=f"{source}: {name.replace('_', ' ')}", type=type, before=was, after=told
                )


def _tables(before: Sequence[Table], now: Sequence[Table]) -> Iterator[Correction]:
    were, are = ({table.title: table for table in several} for several in (before, now))
    for title in dict.fromkeys([*were, *are]):
        old, new = _cells(were.get(title)), _cells(are.get(title))
        for key in sorted({*old, *new}):
            column, was = old.get(key, (None, None))
            again, told = new.get(key, (column, None))
            shown = again or column
            if was != told and shown is not None:
                name = f"{key[0]}: {shown.title}" if key[0] else shown.title
                yield Correction(where=title, name=name, type=shown.type, unit=shown.unit, before=was, after=told)


def _cells(table: Table | None) -> dict[tuple[str, str], tuple[ColumnOf, Value]]:
    """By the texts that a row begins with, and the column."""
    found: dict[tuple[str, str], tuple[ColumnOf, Value]] = {}
    if table is None:
        return found
    first = next((n for n, column in enumerate(table.columns) if column.type != "text"), len(table.columns))
    for row in table.rows:
        key = ", ".join(str(value) for value in row[:first])
        for column, value in zip(table.columns[first:], row[first:], strict=True):
            found[key, column.name] = (column, value)
    return found


def _missing(before: Report, now: Report) -> Iterator[Correction]:
    were, are = ([(one.source, one.why) for one in report.missing] for report in (before, now))
    for source, why in were:
        if (source, why) not in are:
            yield Correction(where="Missing", name=source, before=why, after=None)
    for source, why in are:
        if (source, why) not in were:
            yield Correction(where="Missing", name=source, before=None, after=why)
