"""Pure: the tables of a report beside those of datasets: quality, costs, politeness, names."""

from collections.abc import Iterator, Mapping, Sequence

from tidemill.reporter.catalogue import OF_RUNS
from tidemill.reporter.facts import NAMES, Facts, Row
from tidemill.reporter.measured import Measured
from tidemill.reporter.statements import Reported
from tidemill.reporter.table import ColumnOf, Table, Value, ValueType

TITLES = {measure.name: measure for measure in OF_RUNS}
COSTS: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("runs", "Runs", "integer"),
    ("duration_seconds", "Duration, all runs", "duration"),
    ("longest_seconds", "Longest run", "duration"),
    ("cpu_seconds", "CPU time", "duration"),
    ("peak_memory_bytes", "Peak memory", "bytes"),
    ("requests", "Requests", "integer"),
    ("bytes", "Received", "bytes"),
    ("bytes_saved", "Saved", "bytes"),
)
ASKED: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("host", "Host", "text"),
    ("requests", "Requests", "integer"),
    ("bytes", "Received", "bytes"),
    ("not_modified", "Nothing new (304)", "integer"),
    ("bytes_saved", "Saved by them", "bytes"),
    ("robots_denials", "Forbidden by robots.txt", "integer"),
    ("retry_after_obeyed", "Retry-After obeyed", "integer"),
)
OF_DAYS_ALONE = ("bytes_saved", "retry_after_obeyed")
CHECKS: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("check", "Check", "text"),
    ("severity", "Severity", "text"),
    ("runs", "Runs", "integer"),
    ("records", "Records", "integer"),
    ("message", "What it says", "text"),
)
REJECTED: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("reason", "Reason", "text"),
    ("count", "Rows", "integer"),
    ("example", "One of them", "text"),
)
READ: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("kind", "Rows", "text"),
    ("rows", "How many", "integer"),
)
HELD: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("new", "Held back by these runs", "integer"),
    ("held", "Waiting in all", "integer"),
)
USUAL: Sequence[tuple[str, str, ValueType]] = (
    ("source", "Source", "text"),
    ("measure", "Measure", "text"),
    ("value", "Value", "decimal"),
    ("usual", "Usual", "decimal"),
    ("difference", "Difference", "percent"),
    ("basis", "Held against", "text"),
)
NAMED: Sequence[tuple[str, str, ValueType]] = (
    ("scope", "Where", "text"),
    ("printed", "As printed", "text"),
    ("name", "Taken for", "text"),
    ("kind", "Kind", "text"),
    ("confidence", "Confidence", "percent"),
    ("method", "How", "text"),
)


def quality(facts: Facts) -> Iterator[Table]:
    runs = [{**row, "check": row["name"], "records": None} for row in facts.checks]
    records = [{**row, "check": row["name"], "runs": None} for row in facts.record_checks]
    yield from table("Checks that did not pass", CHECKS, [*runs, *records])
    read = [{**row, "kind": _kind(row["kind"])} for row in facts.read]
    yield from table("Rows of documents", READ, read, "Seen are those accepted, rejected and ignored.")
    yield from table("Rows that could not become records", REJECTED, facts.rejected)
    yield from table("Records held in quarantine", HELD, [row for row in facts.held if row["new"] or row["held"]])


def performance(facts: Facts) -> Iterator[Table]:
    saved = bytes_saved(facts)
    yield from table(
        "What runs cost", COSTS, [{**row, "bytes_saved": saved.get(row["source"], 0)} for row in facts.sources]
    )
    note = "The median of the same weekday, moved along the trend; see anomalies in the documentation."
    yield from table("Held against the past", USUAL, [_usual(one) for one in facts.measured if _telling(one)], note)


def politeness(facts: Facts) -> Iterator[Table]:
    note = "Counted by the day of each source's budget."
    columns = ASKED
    if facts.about.kind == "run":
        note = "By this run, without index pages. What 304 saved and Retry-After are kept by the day: see its report."
        columns = [column for column in ASKED if column[0] not in OF_DAYS_ALONE]
    yield from table("What was asked of hosts", columns, facts.asked, note)


def names(facts: Facts) -> Iterator[Table]:
    known = {one.reported.name: one.reported for one in facts.datasets}
    for (dataset, field), rows in facts.names.items():
        note = f"The {NAMES} least sure; there are more." if len(rows) > NAMES else "The least sure first."
        yield from table(f"{_title(known, dataset)}: {field.replace('_', ' ')}", NAMED, rows[:NAMES], note)


def _kind(kind: str) -> str:
    return kind.strip() if kind.startswith(" ") else f"ignored: {kind.replace('_', ' ')}"


def bytes_saved(facts: Facts) -> dict[str, int]:
    saved: dict[str, int] = {}
    for row in facts.asked:
        saved[row["source"]] = saved.get(row["source"], 0) + row.get("bytes_saved", 0)
    return saved


def table(
    title: str, columns: Sequence[tuple[str, str, ValueType]], rows: Sequence[Row], note: str = ""
) -> Iterator[Table]:
    """One, or none where there are no rows."""
    if rows:
        yield Table(
            title=title,
            note=note,
            columns=tuple(ColumnOf(name=name, title=said, type=type) for name, said, type in columns),
            rows=tuple(tuple(row[name] for name, _, _ in columns) for row in rows),
        )


def _title(known: Mapping[str, Reported], dataset: str) -> str:
    return known[dataset].title if dataset in known else dataset


def _telling(one: Measured) -> bool:
    return one.judgement is not None and one.name in TITLES and bool(one.value or one.judgement.expected)


def _usual(one: Measured) -> dict[str, Value]:
    said = one.judgement
    assert said is not None
    return {
        "source": one.source,
        "measure": TITLES[one.name].title,
        "value": one.value,
        "usual": round(said.expected, 3),
        "difference": round(one.value / said.expected - 1, 4) if said.expected else None,
        "basis": said.basis,
    }
