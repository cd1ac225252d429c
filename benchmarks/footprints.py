"""Points against building footprints, with classes and metres: all polygons of an OpenStreetMap extract."""

import sys
import time
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import shapely

from tidemill.common.testing import shared_data
from tidemill.listings.footprints import Box, Footprints, random_points
from tidemill.listings.metres import metres_per_degree

POINTS = 200_000
GOAL = 600_000
PEER_SAMPLE = 2_000
"""The peer asks point by point, so fewer points tell as much."""
MOVED = 0.1
"""Share of the points that a portal gives about ten metres beside their building."""
ANYWHERE = 0.1
"""Share of the points that a portal gives without care."""
ROUNDS = 3


def run() -> list[dict[str, Any]]:
    folder = shared_data()
    if folder is None:
        print("footprints: the buildings are among the development data, which are not here", file=sys.stderr)
        return []
    query = "SELECT geometry, lat, lon FROM read_parquet(?)"
    rows = duckdb.execute(query, [str(folder / "osm" / "buildings.parquet")]).fetchall()
    polygons = shapely.from_wkb([row[0] for row in rows])
    middles = np.array([row[1:] for row in rows])
    chance = np.random.default_rng(20250718)
    exact = middles[chance.integers(0, len(middles), POINTS)]
    beside = exact + chance.normal(0, 10, exact.shape) / np.column_stack(metres_per_degree(exact[:, 0]))
    usual = exact.copy()
    moved, anywhere = np.split(chance.permutation(POINTS)[: int(POINTS * (MOVED + ANYWHERE))], [int(POINTS * MOVED)])
    usual[moved] = beside[moved]
    usual[anywhere] = np.column_stack(random_points(Box(47.0485, 9.4762, 47.2643, 9.6313), len(anywhere), 1))
    footprints = Footprints(polygons)
    return [
        _row("footprints, points of a portal", footprints, polygons, usual, GOAL),
        _row("footprints, all points inside", footprints, polygons, exact, None),
        _row("footprints, all points about 10 m beside", footprints, polygons, beside, None),
    ]


def _row(name: str, footprints: Footprints, polygons: Any, points: Any, goal: int | None) -> dict[str, Any]:
    ours = max(_rate(lambda: footprints.check(*points.T), len(points)) for _ in range(ROUNDS))
    tree, sample = shapely.STRtree(polygons), points[:PEER_SAMPLE]
    peer = _rate(
        lambda: [tree.query(shapely.Point(east, north), predicate="within") for north, east in sample], len(sample)
    )
    ready = shapely.points(points[:, ::-1])
    limit = max(_rate(lambda: tree.query(ready, predicate="intersects"), len(points)) for _ in range(ROUNDS))
    measured = {"name": name, "ours": round(ours), "peer": round(peer), "limit": round(limit), "unit": "points/CPU s"}
    return {**measured, "goal": goal and f">= {goal:,}", "ok": None if goal is None else ours >= goal}


def _rate(work: Callable[[], object], count: int) -> float:
    started = time.process_time()
    work()
    return count / (time.process_time() - started)
