"""Points that are evenly distributed on the unit sphere."""

import math

import numpy as np
from jaxtyping import Float

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def fibonacci_sphere(
    count: int, *, step: float = GOLDEN_ANGLE, start: float = 0.0, offset: float = 0.0
) -> Float[np.ndarray, "point 3"]:
    """Distribute points evenly on the unit sphere, from near +Y down to near -Y.

    Point i lies in the middle of the i-th of `count` bands of equal height, hence of equal area, at the azimuth
    `step * (i + start) + offset` about the Y axis. No point lies on a pole, and any number of points is possible.

    Args:
        count: Number of points.
        step: Azimuth between consecutive points: the golden angle; or 2π times the golden ratio or its inverse, which
            turn the other way.
        start: Azimuth of the first point, in steps.
        offset: Angle that is added to all azimuths. An angle that is no simple fraction of a turn keeps the points off
            the axes.

    Reference:
        González, Measurement of areas on a sphere using Fibonacci and latitude-longitude lattices (2010),
        for points offset by half a band.
    """
    index = np.arange(count)
    height = 1 - (2 * index + 1) / count
    radius = np.sqrt(1 - height**2)
    azimuth = step * (index + start) + offset
    return np.stack([radius * np.cos(azimuth), height, radius * np.sin(azimuth)], axis=-1)
