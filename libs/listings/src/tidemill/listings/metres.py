"""Distances on the ground from degrees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEMI_MAJOR_M = 6_378_137.0
ECCENTRICITY_SQUARED = 0.00669437999014
"""Of the WGS 84 ellipsoid (NIMA TR8350.2, table 3.3)."""


def metres_per_degree(latitude: Any) -> tuple[Any, Any]:
    """(metres per degree of latitude, of longitude) at a latitude in degrees, a number or an array.

    From the radii of curvature in the meridian, M = a(1-e²)/W³, and in the prime vertical, N = a/W, with
    W = √(1-e² sin²φ) (Snyder, Map Projections, USGS Professional Paper 1395, equations 4-18 to 4-20).
    """
    radians = np.radians(latitude)
    w = np.sqrt(1 - ECCENTRICITY_SQUARED * np.sin(radians) ** 2)
    meridian = SEMI_MAJOR_M * (1 - ECCENTRICITY_SQUARED) / w**3
    return np.radians(meridian), np.radians(SEMI_MAJOR_M / w * np.cos(radians))


def distance_m(latitude: Any, longitude: Any, other_latitude: Any, other_longitude: Any) -> Any:
    """Metres between two points in degrees, numbers or arrays.

    Equirectangular at the middle latitude: below 10 km and 70° of latitude within 0.1 % of the geodesic.
    """
    north, east = metres_per_degree((np.asarray(latitude) + other_latitude) / 2)
    return np.hypot((np.asarray(other_latitude) - latitude) * north, (np.asarray(other_longitude) - longitude) * east)
