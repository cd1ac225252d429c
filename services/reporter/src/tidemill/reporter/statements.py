"""SQL over the typed views: what records say at a moment, in figures by group; what runs changed, and how values moved.

The history view alone is read: of the documents received until the moment, or brought by the runs that are asked about,
what each record says by the newest of them. Parameters of all: `until`, `runs`.

Sums and means are worked out in `numeric`: in floating point they depend on the order of rows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from tidemill.plugin import Breakdown, Dataset, Figure, Tally

GROUP_LETTERS = 200
"""A longer name of a group is cut."""
AGGREGATES = {
    "count": "count({0})",
    "distinct": "count(DISTINCT {0})",
    "per": "count({0})::numeric / nullif(count(DISTINCT {0}), 0)",
    "sum": "sum({0}::numeric)",
    "mean": "avg({0}::numeric)",
    "median": "percentile_cont(0.5) WITHIN GROUP (ORDER BY {0}::float8)::numeric",
    "least": "min({0}::numeric)",
    "most": "max({0}::numeric)",
    "share": "avg(({0})::integer::numeric)",
}


@dataclass(frozen=True, slots=True)
class Reported:
    """A dataset, with those of its parents and children, as SQL knows them."""

    dataset: Dataset
    parents: Sequence[Dataset] = ()

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def title(self) -> str:
        return self.dataset.title or self.dataset.name

    @property
    def breakdowns(self) -> Sequence[Breakdown]:
        """Those whose parents are installed."""
        known = {parent.name for parent in self.parents}
        return [one for one in self.dataset.report.breakdowns if not one.parent or one.parent in known]

    @property
    def known(self) -> dict[str, Dataset]:
        return {parent.name: parent for parent in self.parents}

    @property
    def tallies(self) -> Sequence[Tally]:
        """Those whose children are installed."""
        return [one for one in self.dataset.report.tallies if one.children in self.known]

    @property
    def figures(self) -> Sequence[Figure]:
        return self.dataset.report.figures


def find_reported() -> list[Reported]:
    """The installed datasets, by name."""
    known: dict[str, Dataset] = {point.name: point.load() for point in entry_points(group="tidemill.datasets")}
    return [Reported(known[name], list(known.values())) for name in sorted(known)]


def history_view(dataset: str) -> str:
    domain, thing = dataset.split(".")
    return f'"{domain}"."{thing}_history"'


def origin(dataset: Dataset, name: str) -> str:
    """A column that every view has; where the model has a field of that name, ours is called otherwise."""
    return f'h."{f"record_{name}" if name in dataset.model.model_fields else name}"'


def figures_sql(reported: Reported, *, of_source: bool, by: Sequence[Sequence[str]]) -> str:
    """One row for each group of each grouping in `by` (of `source`, `g0`, `g1` …): which grouping, the groups, records,
    mean quality, and the figures in their order. With `of_source` there is a parameter `source`, too."""
    dataset, breakdowns = reported.dataset, reported.breakdowns
    selected = [f"({_escaped(figure.sql)}) AS f{n}" for n, figure in enumerate(reported.figures)]
    selected += [f"{_group(one.sql)} AS b{n}" for n, one in enumerate(breakdowns) if not one.parent]
    groups = [
        f"coalesce({'p' if one.parent else 's'}{n if one.parent else ''}.b{n}, '') AS g{n}"
        for n, one in enumerate(breakdowns)
    ]
    named, sets, order = _grouping(by)
    values = [
        f"round({AGGREGATES[one.aggregate].format(f'f{n}')}, 6)::float8" for n, one in enumerate(reported.figures)
    ]
    return f"""
WITH s AS ({_state(dataset, selected, of_source=of_source)})
SELECT {named}, count(*) AS records,
    round(avg(quality::numeric), 6)::float8 AS quality{"".join(f", {value} AS v{n}" for n, value in enumerate(values))}
FROM (
    SELECT s.*{"".join(f", {group}" for group in groups)} FROM s{"".join(_parents(reported))} WHERE NOT s.gone
) told GROUP BY GROUPING SETS ({sets}) ORDER BY {order}
"""


def grouped(by: Sequence[Sequence[str]], names: Sequence[str]) -> int:
    """What GROUPING says of rows that are grouped by these names, one grouping of `by`."""
    used = _used(by)
    return sum(0 if name in names else 1 << (len(used) - 1 - place) for place, name in enumerate(used))


def _used(by: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in by for name in names))


def _grouping(by: Sequence[Sequence[str]]) -> tuple[str, str, str]:
    """What is selected, grouped and ordered by. A column without group is NULL."""
    used = _used(by)
    sets = ", ".join(f"({', '.join(names)})" for names in by)
    order = ", ".join(f"{name} NULLS FIRST" for name in used)
    return f"GROUPING({', '.join(used)}) AS grouped, {', '.join(used)}", sets, f"grouped, {order}"


def changes_by(reported: Reported) -> list[tuple[str, ...]]:
    """The groupings of `changes_sql`."""
    return [(), ("source",), *((f"g{n}",) for n in range(len(reported.breakdowns)))]


def changes_sql(reported: Reported) -> str:
    """One row for each group of each breakdown, by source, and in all: which grouping, the groups, versions that are
    new, changed, gone, back again, and of each movement how many rose, fell, and the median change as a share.
    One more parameter: `since`; no version of these runs was recorded earlier."""
    dataset, breakdowns, moves = reported.dataset, reported.breakdowns, reported.dataset.report.movements
    selected = [f"({_escaped(one.sql)})::numeric AS m{n}" for n, one in enumerate(moves)]
    selected += [f"{_group(one.sql)} AS b{n}" for n, one in enumerate(breakdowns) if not one.parent]
    lagged = [f"lag(m{n}) OVER w AS w{n}" for n in range(len(moves))]
    # What is gone says nothing any more: it counts where it was.
    lagged += [f"coalesce(b{n}, lag(b{n}) OVER w, '') AS c{n}" for n, one in enumerate(breakdowns) if not one.parent]
    groups = [
        f"coalesce(p{n}.b{n}, '') AS g{n}" if one.parent else f"s.c{n} AS g{n}" for n, one in enumerate(breakdowns)
    ]
    named, sets, order = _grouping(changes_by(reported))
    moved = [
        f"count(*) FILTER (WHERE m{n} > w{n}) AS rose{n}, count(*) FILTER (WHERE m{n} < w{n}) AS fell{n}, "
        f"round((percentile_cont(0.5) WITHIN GROUP (ORDER BY (m{n} / w{n} - 1)::float8)"
        f" FILTER (WHERE m{n} <> w{n} AND w{n} <> 0))::numeric, 6)::float8 AS moved{n}"
        for n in range(len(moves))
    ]
    return f"""
WITH touched AS (
    SELECT DISTINCT {origin(dataset, "key")} AS k FROM {history_view(reported.name)} h
    WHERE {origin(dataset, "run")} = ANY(:runs) AND {origin(dataset, "recorded_from")} >= :since
), s AS (
    SELECT v.*, lag(gone) OVER w AS was_gone, row_number() OVER w AS place{"".join(f", {one}" for one in lagged)}
    FROM (
        SELECT {_origins(dataset)}{"".join(f", {one}" for one in selected)} FROM {history_view(reported.name)} h
        WHERE {_within(dataset)} AND {origin(dataset, "key")} IN (SELECT k FROM touched)
    ) v WINDOW w AS (PARTITION BY k ORDER BY valid_from, recorded_from)
)
SELECT {named},
    count(*) FILTER (WHERE NOT gone AND place = 1) AS new,
    count(*) FILTER (WHERE NOT gone AND place > 1 AND NOT was_gone) AS changed,
    count(*) FILTER (WHERE gone) AS gone,
    count(*) FILTER (WHERE NOT gone AND was_gone) AS reappeared{"".join(f", {one}" for one in moved)}
FROM (SELECT s.*{"".join(f", {group}" for group in groups)} FROM s{"".join(_parents(reported))}
    WHERE s.run = ANY(:runs) AND s.origin IN ('stored', 'gone', 'reconvert')) told
GROUP BY GROUPING SETS ({sets}) ORDER BY {order}
"""


def names_sql(dataset: Dataset, field: str) -> str:
    """Printed names of what runs stated anew, and what they stand for, the least sure first. More parameters:
    `since`, `most`."""
    name = dataset.names[field]
    return f"""
SELECT DISTINCT h."{name.raw}" AS printed, h."{name.scope}" AS scope, h."{field}_name" AS name,
    h."{field}_kind" AS kind, round(h."{field}_confidence"::numeric, 6)::float8 AS confidence,
    h."{field}_method" AS method
FROM {history_view(dataset.name)} h
WHERE {origin(dataset, "run")} = ANY(:runs) AND {origin(dataset, "recorded_from")} >= :since
    AND {_within(dataset)} AND h."{name.raw}" IS NOT NULL
ORDER BY 5 NULLS FIRST, 2, 1, 3 LIMIT :most
"""


def families_sql(dataset: Dataset, children: Dataset) -> str:
    """Fields of each record that the runs changed, or of whose children they changed one, and of its children as they
    are printed. One more parameter: `since`."""
    touched = f"""{origin(dataset, "run")} = ANY(:runs) AND {origin(dataset, "recorded_from")} >= :since"""
    below = f"""{origin(children, "run")} = ANY(:runs) AND {origin(children, "recorded_from")} >= :since"""
    key, child = origin(dataset, "key"), origin(children, "key")
    return f"""
WITH touched AS (
    SELECT {key} AS k FROM {history_view(dataset.name)} h WHERE {touched}
    UNION SELECT {origin(children, "parent")} FROM {history_view(children.name)} h WHERE {below}
), p AS (
    SELECT DISTINCT ON ({key}) {key} AS k, h."gone" AS gone, {_fields(dataset)} AS data
    FROM {history_view(dataset.name)} h WHERE {_within(dataset)} AND {key} IN (SELECT k FROM touched)
    ORDER BY {key}, {origin(dataset, "valid_from")} DESC, {origin(dataset, "recorded_from")} DESC
), c AS (
    SELECT DISTINCT ON ({child}) {child} AS k, {origin(children, "parent")} AS parent, h."gone" AS gone,
        {origin(children, "page")} AS page, {origin(children, "box")} AS box, {_fields(children)} AS data
    FROM {history_view(children.name)} h
    WHERE {_within(children)} AND {origin(children, "parent")} IN (SELECT k FROM touched)
    ORDER BY {child}, {origin(children, "valid_from")} DESC, {origin(children, "recorded_from")} DESC
)
SELECT p.data::text AS record, coalesce(f.children, '[]')::text AS children FROM p LEFT JOIN (
    SELECT parent, jsonb_agg(data ORDER BY page, box[2], k) AS children FROM c WHERE NOT gone GROUP BY parent
) f ON f.parent = p.k WHERE NOT p.gone ORDER BY p.k
"""


def _fields(dataset: Dataset) -> str:
    """Of the model. Two at a time: a function takes a hundred arguments."""
    objects = [f"""jsonb_build_object('{name}', h."{name}")""" for name in dataset.model.model_fields]
    return f"({' || '.join(objects)})"


def _state(dataset: Dataset, selected: Sequence[str], *, of_source: bool) -> str:
    """What every record says, or that it is gone."""
    key = origin(dataset, "key")
    of = f" AND {origin(dataset, 'source')} = :source" if of_source else ""
    return f"""
    SELECT DISTINCT ON ({key}) {_origins(dataset)}, {origin(dataset, "quality")} AS quality
        {"".join(f", {one}" for one in selected)}
    FROM {history_view(dataset.name)} h WHERE {_within(dataset)}{of}
    ORDER BY {key}, {origin(dataset, "valid_from")} DESC, {origin(dataset, "recorded_from")} DESC
"""


def _within(dataset: Dataset) -> str:
    """What was received until the moment, and whatever the runs brought."""
    return f"({origin(dataset, 'received_at')} <= :until OR {origin(dataset, 'run')} = ANY(:runs))"


def _origins(dataset: Dataset) -> str:
    columns = {"k": "key", "p": "parent", "gone": "gone"}
    columns |= {name: name for name in ("source", "run", "origin", "valid_from", "recorded_from")}
    return ", ".join(f"{origin(dataset, column)} AS {name}" for name, column in columns.items())


def _parents(reported: Reported) -> list[str]:
    """A join for each breakdown by what a parent says."""
    known = {parent.name: parent for parent in reported.parents}
    joins = []
    for n, one in enumerate(reported.breakdowns):
        if one.parent:
            of = known[one.parent]
            key = origin(of, "key")
            joins.append(f""" LEFT JOIN (
        SELECT DISTINCT ON ({key}) {key} AS k, {_group(one.sql)} AS b{n} FROM {history_view(of.name)} h
        WHERE {_within(of)} AND NOT {origin(of, "gone")}
        ORDER BY {key}, {origin(of, "valid_from")} DESC, {origin(of, "recorded_from")} DESC
    ) p{n} ON p{n}.k = s.p""")
    return joins


def _group(sql: str) -> str:
    return f"left(({_escaped(sql)})::text, {GROUP_LETTERS})"


def _escaped(sql: str) -> str:
    """SQLAlchemy would take `'1:1'` for a parameter."""
    return re.sub(r"(?<!:):(?=\w)", r"\:", sql)
