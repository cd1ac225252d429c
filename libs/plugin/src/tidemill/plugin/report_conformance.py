"""Checks that a test suite can run on what a dataset wants reported: `assert_reports(DATASET)`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import get_args

from tidemill.plugin.dataset import Dataset
from tidemill.plugin.enrichment import Enricher
from tidemill.plugin.reporting import Aggregate, Breakdown

RULES: Mapping[str, str] = {
    "names": "has names in lower case, each once in its dataset, and titles",
    "aggregates": "aggregates in a way that there is",
    "columns": "is made of columns of the typed view, functions and constants",
    "one expression": "is one SQL expression, without comment, parameter or end of statement",
    "parents": "takes what belongs to parents, or to children, from a dataset that is installed",
}

ORIGINS = (
    *("parent", "valid_from", "received_at", "recorded_from", "quality", "source", "document", "document_name", "page"),
    *("item", "raw", "run", "origin", "converter", "converter_version"),
)
"""Columns of every typed view besides the key; those that a model has too are called `record_…`."""
NAME_ENDINGS = ("id", "name", "kind", "confidence", "method")
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*')|(?P<quoted>"[^"]+")|(?P<number>\d+(?:\.\d+)?)|(?P<type>::\s*[a-z_]+)"""
    r"""|(?P<function>[A-Za-z_]\w*(?=\s*\())|(?P<name>[A-Za-z_]\w*)|(?P<sign>->>|->|\|\||<>|<=|>=|!=|[-+*/%<>=(),.?~])"""
    r"""|(?P<space>\s+)|(?P<other>.)""",
    re.DOTALL,
)
KEYWORDS = frozenset(
    "and or not is null true false in case when then else end between like ilike distinct from as select where".split()
)


def assert_reports(dataset: Dataset) -> None:
    """An AssertionError lists every rule that is broken."""
    breaches = find_report_breaches(dataset)
    if breaches:
        raise AssertionError("\n".join(breaches))


def find_report_breaches(dataset: Dataset) -> list[str]:
    """Each rule that the hints of a dataset break, with what showed it. That Postgres takes them, only Postgres
    tells."""
    hints = dataset.report
    columns = columns_of(dataset)
    breaches = list(_names(dataset))
    for breakdown in hints.breakdowns:
        breaches += _breakdown(breakdown, columns)
    for figure in hints.figures:
        if figure.aggregate not in get_args(Aggregate):
            breaches.append(f"aggregates: {figure.name} is aggregated as {figure.aggregate!r}")
        breaches += _expression(figure.name, figure.sql, columns)
    installed = {point.name for point in entry_points(group="tidemill.datasets")}
    for tally in hints.tallies:
        if tally.children not in installed:
            breaches.append(f"parents: {tally.name} counts {tally.children}, which is not installed")
    for movement in hints.movements:
        breaches += _expression(movement.name, movement.sql, columns)
    return breaches


def columns_of(dataset: Dataset) -> frozenset[str]:
    """Of its typed view: the model's fields, what names and installed enrichers add, and where values come from."""
    fields = set(dataset.model.model_fields)
    names = {f"{name}_{ending}" for name in dataset.names for ending in NAME_ENDINGS}
    added = {field for enricher in _enrichers(dataset) for field in enricher.model.model_fields}
    origins = {f"record_{name}" if name in fields else name for name in (*ORIGINS, "key")}
    return frozenset(fields | names | added | origins)


def _enrichers(dataset: Dataset) -> Sequence[Enricher]:
    """Those it has been given, or else the installed ones."""
    if dataset.enrichers:
        return dataset.enrichers
    loaded = [point.load() for point in entry_points(group="tidemill.enrichers")]
    return [enricher for enricher in loaded if enricher.dataset == dataset.name]


def _names(dataset: Dataset) -> Iterator[str]:
    hints = dataset.report
    groups = [(one.name, one.title) for one in hints.breakdowns]
    numbers = [(one.name, one.title) for one in hints.figures] + [(one.name, one.title) for one in hints.movements]
    tallies = [(one.name, one.title) for one in hints.tallies]
    for several in (groups, numbers, tallies):
        names = [name for name, _ in several]
        for name, title in several:
            if not NAME.fullmatch(name) or not title:
                yield f"names: {name!r} titled {title!r}; write lower case letters, digits, underscores"
        yield from (f"names: {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)


def _breakdown(breakdown: Breakdown, columns: frozenset[str]) -> Iterator[str]:
    if not breakdown.parent:
        yield from _expression(breakdown.name, breakdown.sql, columns)
        return
    found = [point.load() for point in entry_points(group="tidemill.datasets") if point.name == breakdown.parent]
    if not found:
        yield f"parents: {breakdown.name} is of {breakdown.parent}, which is not installed"
    for parent in found:
        yield from _expression(breakdown.name, breakdown.sql, columns_of(parent))


def _expression(name: str, sql: str, columns: frozenset[str]) -> Iterator[str]:
    tokens = [(one.lastgroup or "", one[0]) for one in TOKEN.finditer(sql) if one.lastgroup != "space"]
    if not tokens:
        yield f"one expression: {name} is empty"
    if "--" in sql or "/*" in sql:
        yield f"one expression: {name} holds a comment"
    known = columns | _introduced(tokens)
    for kind, token in tokens:
        if kind == "other":
            yield f"one expression: {name} holds {token!r}"
        names_column = kind == "quoted" or (kind == "name" and token.lower() not in KEYWORDS)
        if names_column and token.strip('"') not in known:
            yield f"columns: {name} names {token}, which is no column of the view"


def _introduced(tokens: Sequence[tuple[str, str]]) -> frozenset[str]:
    """Names that the expression gives itself: `AS price` or `AS price (outcome, odds)`."""
    found: set[str] = set()
    for place, (_, token) in enumerate(tokens):
        if token.lower() != "as" or place + 1 == len(tokens):
            continue
        found.add(tokens[place + 1][1])
        if tokens[place + 2 : place + 3] == [("sign", "(")]:
            for _, inner in tokens[place + 3 :]:
                if inner == ")":
                    break
                found.add(inner)
    return frozenset(found)
