"""Pure: tables of a dataset by group, with what changed, figures, and values that moved."""

from collections.abc import Iterator, Mapping, Sequence

from tidemill.plugin import Aggregate, Counted, Figure, Movement, Tally
from tidemill.reporter.facts import DatasetFacts, Row, figures_by
from tidemill.reporter.statements import changes_by, grouped
from tidemill.reporter.table import ColumnOf, Table, Value, ValueType

GROUPS = 200
"""Rows of one table; the greatest."""
CHANGES = (("new", "New"), ("changed", "Changed"), ("gone", "Gone"), ("reappeared", "Back again"))
TYPES: Mapping[Aggregate, ValueType] = {"count": "integer", "distinct": "integer", "share": "percent"}
NOTHING: Row = {name: 0 for name, _ in CHANGES}


def tables_of(facts: DatasetFacts) -> Iterator[Table]:
    """By source, and by each breakdown; nothing of a dataset without records and changes."""
    yield from _table(facts, "source", "source", "Source")
    for n, one in enumerate(facts.reported.breakdowns):
        yield from _table(facts, f"g{n}", one.name, one.title)
    for n, movement in enumerate(facts.reported.dataset.report.movements):
        yield from _moved(facts, n, movement)
    for tally in facts.reported.tallies:
        yield from _tallied(tally, facts.tallies.get(tally.name, {}))


def _tallied(tally: Tally, counted: Counted) -> Iterator[Table]:
    """The greatest groups first, by the first count."""
    first = next(iter(tally.columns))
    groups = sorted(counted, key=lambda group: (-counted[group][first], group))
    if groups:
        yield Table(
            title=tally.title,
            note=_note(groups) or "Of what is new or changed.",
            columns=(
                ColumnOf(name="group", title=tally.group),
                *(ColumnOf(name=name, title=title, type="integer") for name, title in tally.columns.items()),
            ),
            rows=tuple((group, *(counted[group][name] for name in tally.columns)) for group in groups[:GROUPS]),
        )


def _table(facts: DatasetFacts, column: str, name: str, title: str) -> Iterator[Table]:
    reported = facts.reported
    figures = {
        row[column] or "": row for row in facts.figures if row["grouped"] == grouped(figures_by(reported), (column,))
    }
    changes = {
        row[column] or "": row for row in facts.changes if row["grouped"] == grouped(changes_by(reported), (column,))
    }
    groups = sorted({*figures, *changes}, key=lambda group: (-_records(figures, group), group))
    if not groups:
        return
    shown = [(n, one) for n, one in enumerate(reported.figures) if any(_known(row, n) for row in figures.values())]
    columns = (
        ColumnOf(name=name, title=title),
        ColumnOf(name="records", title="Records", type="integer"),
        *(ColumnOf(name=each, title=said, type="integer") for each, said in CHANGES),
        *(column_of(one) for _, one in shown),
        ColumnOf(name="quality", title="Mean quality", type="percent"),
    )
    rows = [_row(group, figures.get(group), changes.get(group, NOTHING), shown) for group in groups[:GROUPS]]
    yield Table(title=f"{reported.title} by {title.lower()}", note=_note(groups), columns=columns, rows=tuple(rows))


def _by(rows: Sequence[Row], grouping: int, column: str) -> dict[str, Row]:
    return {row[column] or "": row for row in rows if row["grouped"] == grouping}


def column_of(figure: Figure) -> ColumnOf:
    type = TYPES.get(figure.aggregate, "decimal")
    return ColumnOf(name=figure.name, title=figure.title, type=type, unit=figure.unit)


def _row(group: str, figures: Row | None, changes: Row, shown: Sequence[tuple[int, Figure]]) -> tuple[Value, ...]:
    values: list[Value] = [None] * len(shown)
    if figures is not None:
        values = [_value(figures[f"v{n}"], one) for n, one in shown]
    return (
        group or "(none)",
        figures["records"] if figures is not None else 0,
        *(changes[name] for name, _ in CHANGES),
        *values,
        figures["quality"] if figures is not None else None,
    )


def _value(value: float | None, figure: Figure) -> Value:
    return round(value) if value is not None and TYPES.get(figure.aggregate) == "integer" else value


def _known(row: Row, n: int) -> bool:
    return row[f"v{n}"] is not None and (row[f"v{n}"] != 0 or row["records"] > 0)


def _records(figures: Mapping[str, Row], group: str) -> int:
    return int(figures[group]["records"]) if group in figures else 0


def _note(groups: Sequence[str]) -> str:
    return f"The {GROUPS} greatest of {len(groups)}." if len(groups) > GROUPS else ""


def _moved(facts: DatasetFacts, n: int, movement: Movement) -> Iterator[Table]:
    """By the first breakdown, and in all; nothing where nothing moved."""
    reported = facts.reported
    by = changes_by(reported)
    column = "g0" if reported.breakdowns else "source"
    moved = [
        row for row in facts.changes if row["grouped"] == grouped(by, (column,)) and row[f"rose{n}"] + row[f"fell{n}"]
    ]
    whole = [row for row in facts.changes if row["grouped"] == grouped(by, ())]
    if not moved:
        return
    in_unit = f", in {movement.unit}" if movement.unit else ""
    title = reported.breakdowns[0].title if reported.breakdowns else "Source"
    yield Table(
        title=f"{reported.title}: {movement.title.lower()} moved",
        note=f"Of records that changed, from one version to the next{in_unit}.",
        columns=(
            ColumnOf(name="group", title=title),
            ColumnOf(name="rose", title="Rose", type="integer"),
            ColumnOf(name="fell", title="Fell", type="integer"),
            ColumnOf(name="median_change", title="Median change", type="percent"),
        ),
        rows=tuple(
            (name, row[f"rose{n}"], row[f"fell{n}"], row[f"moved{n}"])
            for name, row in [*((row[column] or "(none)", row) for row in moved), *(("all", row) for row in whole)]
        ),
    )
