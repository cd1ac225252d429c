"""Where buildings are known at all: beyond, that none is near says nothing."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

CELL = 0.05
"""Degrees: 5.6 km to the north, 2.8 km to the east in Helsinki."""
COLUMNS = 10_000
"""More than there are cells around the Earth."""


class Coverage:
    """The cells of a grid that hold a point, and those around them. Immutable."""

    def __init__(self, latitudes: ArrayLike, longitudes: ArrayLike) -> None:
        latitude, longitude = np.asarray(latitudes, dtype=np.float64), np.asarray(longitudes, dtype=np.float64)
        there = np.isfinite(latitude) & np.isfinite(longitude)
        cells = np.unique(_cells(latitude[there], longitude[there]))
        around = [north * COLUMNS + east for north in (-1, 0, 1) for east in (-1, 0, 1)]
        self._cells = np.unique(np.add.outer(cells, np.array(around, dtype=np.int64)))

    def holds(self, latitudes: ArrayLike, longitudes: ArrayLike) -> NDArray[np.bool_]:
        """For each point; False for NaN."""
        latitude, longitude = np.asarray(latitudes, dtype=np.float64), np.asarray(longitudes, dtype=np.float64)
        there = np.isfinite(latitude) & np.isfinite(longitude)
        held = np.zeros(len(latitude), dtype=bool)
        held[there] = np.isin(_cells(latitude[there], longitude[there]), self._cells)
        return held


def _cells(latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.int64]:
    rows, columns = np.floor(latitudes / CELL), np.floor(longitudes / CELL)
    return rows.astype(np.int64) * COLUMNS + columns.astype(np.int64)
