"""Distance fields on points, and the operators that combine them.

A field is negative inside, zero exactly on its surface, and 1-Lipschitz: it changes at most as fast as the point moves.
Its absolute value is therefore a lower bound of the distance to the surface. If `exact` is true the value is the
distance at points outside the solid. Inside, a union gives only a lower bound, because the nearest surface of one part
may lie hidden within another.

In this package points are stored with the axis first, `(3, point)`, unlike in the other packages: each coordinate is
then contiguous, which halves the time of the arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

Columns = Float[np.ndarray, "3 point"]
Distances = Float[np.ndarray, " point"]
Corner = Float[np.ndarray, "3"]

AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, eq=False)
class Field:
    """A signed distance function with a bounding box.

    Attributes:
        distance: Maps points to signed distances, negative inside.
        low: Low corner of a box that contains the solid; the box need not be tight.
        high: High corner of this box.
        exact: Whether the value is the distance outside the solid, rather than a lower bound of it.
    """

    distance: Callable[[Columns], Distances]
    low: Corner
    high: Corner
    exact: bool

    def moved(self, x: float, y: float, z: float) -> Self:
        """Translate by a vector. Preserves exactness."""
        shift = np.array([x, y, z], dtype=float)
        inner = self.distance

        def distance(points: Columns) -> Distances:
            return inner(points - shift[:, None])

        return type(self)(distance, self.low + shift, self.high + shift, self.exact)

    def rotated(self, axis: str, angle: float) -> Self:
        """Rotate counter-clockwise about the x, y or z axis by an angle in radians. Preserves exactness."""
        matrix = rotation(axis, angle)
        inner = self.distance

        def distance(points: Columns) -> Distances:
            return inner(matrix.T @ points)

        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        centre, extent = matrix @ middle, np.abs(matrix) @ half
        return type(self)(distance, centre - extent, centre + extent, self.exact)

    def scaled(self, factor: float) -> Self:
        """Scale about the origin by a positive factor. Preserves exactness."""
        inner = self.distance

        def distance(points: Columns) -> Distances:
            return factor * inner(points / factor)

        return type(self)(distance, self.low * factor, self.high * factor, self.exact)

    def reflected(self, axis: str) -> Self:
        """Reflect across the plane through the origin normal to an axis. Preserves exactness."""
        row = AXES[axis]
        inner = self.distance

        def distance(points: Columns) -> Distances:
            image = points.copy()
            image[row] = -image[row]
            return inner(image)

        low, high = self.low.copy(), self.high.copy()
        low[row], high[row] = -self.high[row], -self.low[row]
        return type(self)(distance, low, high, self.exact)

    def mirrored(self, axis: str) -> Self:
        """Replace the half at negative coordinates of an axis by the mirror image of the other half.

        Preserves exactness if the solid is symmetric, or has no points at negative coordinates.
        """
        row = AXES[axis]
        inner = self.distance

        def distance(points: Columns) -> Distances:
            image = points.copy()
            image[row] = np.abs(image[row])
            return inner(image)

        low = self.low.copy()
        low[row] = -self.high[row]
        return type(self)(distance, low, self.high, self.exact)

    def repeated(self, count: int) -> Self:
        """Make `count` copies at equal angles about the y axis.

        The solid must lie around the +x axis, within a sector of 360 / `count` degrees, and be symmetric in z; only its
        half at z > 0 is used. Points are mapped into this half sector by reflections; the copy in it is then always the
        nearest, so exactness is preserved.
        """
        inner = self.distance
        sector = 2 * np.pi / count

        def distance(points: Columns) -> Distances:
            x, y, z = points
            angle = np.arctan2(z, x)
            angle = np.abs(angle - sector * np.round(angle / sector))
            radius = np.hypot(x, z)
            return inner(np.stack([radius * np.cos(angle), y, radius * np.sin(angle)]))

        radius = float(
            np.hypot(max(abs(self.low[0]), abs(self.high[0])), max(abs(self.low[2]), self.high[2]))
        )
        low = np.array([-radius, self.low[1], -radius])
        high = np.array([radius, self.high[1], radius])
        return type(self)(distance, low, high, self.exact)

    def dilated(self, radius: float) -> Self:
        """Offset the surface outwards, which rounds edges.

        The values outside are exact if the field is exact; those inside are lower bounds of the distance.
        """
        inner = self.distance

        def distance(points: Columns) -> Distances:
            return inner(points) - radius

        return type(self)(distance, self.low - radius, self.high + radius, self.exact)

    def __or__(self, other: "Field") -> "Field":
        return union(self, other)

    def __sub__(self, other: "Field") -> "Field":
        return difference(self, other)

    def __and__(self, other: "Field") -> "Field":
        return intersection(self, other)


def rotation(axis: str, angle: float) -> Float[np.ndarray, "3 3"]:
    """Return the matrix that rotates column vectors counter-clockwise about a coordinate axis, in radians."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -np.sin(angle)
    return matrix


def box_distance(points: Columns, low: Corner, high: Corner) -> Distances:
    """Return the signed distance to an axis-aligned box, a lower bound of the field of any solid inside it."""
    middle, half = (low + high) / 2, (high - low) / 2
    squared = np.zeros(points.shape[1])
    deepest = np.full(points.shape[1], -np.inf)
    for row in range(3):
        beyond = np.abs(points[row] - middle[row]) - half[row]
        np.maximum(deepest, beyond, out=deepest)
        np.maximum(beyond, 0, out=beyond)
        squared += beyond * beyond
    return np.where(deepest > 0, np.sqrt(squared), deepest)


def union(*parts: Field) -> Field:
    """Union of the parts.

    The values outside are exact if all parts are exact; those inside are lower bounds of the distance.
    """
    return _join(parts, 0.0)


def smooth_union(blend: float, *parts: Field) -> Field:
    """Union in which a fillet of a width of about `blend` fills the creases.

    The values are lower bounds of the distance, and still 1-Lipschitz.

    This is the quadratic polynomial minimum. Where two values differ by less than `blend`, the result is a weighted
    mean of both minus at most `blend / 4`, and its gradient is a convex combination of theirs. With three parts or more
    the value depends on their order.
    """
    return _join(parts, blend)


def _join(parts: Sequence[Field], blend: float) -> Field:
    lows = np.stack([part.low for part in parts])
    highs = np.stack([part.high for part in parts])
    # The result of a smooth minimum depends on the order of the parts, so only a plain minimum may begin with the
    # nearest.
    reorder = blend == 0

    def distance(points: Columns) -> Distances:
        # A part whose box is farther away than the smallest value so far cannot change it. This is tested first for the
        # whole batch, which is cheap and skips many parts if the points are close together, and then for each point.
        least, greatest = points.min(axis=1, initial=np.inf), points.max(axis=1, initial=-np.inf)
        gaps = np.linalg.norm(np.maximum(np.maximum(lows - greatest, least - highs), 0), axis=1)
        gaps[gaps == 0] = -np.inf  # points inside the box may have any negative distance
        best = np.full(points.shape[1], np.inf)
        worst = np.inf
        for part in np.argsort(gaps, kind="stable") if reorder else range(len(parts)):
            if gaps[part] >= worst + blend:
                continue
            bound = box_distance(points, lows[part], highs[part])
            near = np.flatnonzero(bound < best + blend)
            if near.size == 0:
                continue
            chosen = near if near.size < 0.7 * best.size else slice(None)
            value = parts[part].distance(points[:, chosen])
            # Not less than the distance to the part's box, so that the result does not depend on which parts are
            # skipped.
            value = np.maximum(value, bound[chosen])
            after = np.minimum(best[chosen], value)
            if blend > 0:
                mix = np.maximum(blend - np.abs(best[chosen] - value), 0)
                after -= mix * mix / (4 * blend)
            best[chosen] = after
            worst = float(best.max(initial=-np.inf))
        return best

    low, high = lows.min(axis=0) - blend, highs.max(axis=0) + blend
    return Field(distance, low, high, blend == 0 and all(part.exact for part in parts))


def difference(solid: Field, *removed: Field) -> Field:
    """The solid without the other parts. Near the edges of cuts, the values are only lower bounds of the distance."""

    def distance(points: Columns) -> Distances:
        value = solid.distance(points)
        for part in removed:
            np.maximum(value, -part.distance(points), out=value)
        return value

    return Field(distance, solid.low, solid.high, False)


def intersection(*parts: Field) -> Field:
    """Intersection of the parts. Near edges where parts meet, the values are only lower bounds of the distance."""

    def distance(points: Columns) -> Distances:
        return np.asarray(np.max([part.distance(points) for part in parts], axis=0))

    low = np.max([part.low for part in parts], axis=0)
    high = np.min([part.high for part in parts], axis=0)
    return Field(distance, low, high, False)
