"""A solid in the unit frame, made from a field of any size and position."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sdfkit.geometry.shapes.fields.field import Columns, Corner, Distances, Field

# Points evaluated at once: temporaries fit into the cache, and parts far from the batch are skipped more often.
BATCH = 4096
COARSE_CELLS = 20  # along the longest side of the box in which the surface is first searched
ASCENT_POINTS = 12  # starting points in each octant of the search for each extreme point of the surface
ASCENT_STEPS = 26  # steps of the search from each starting point


@dataclass(frozen=True, eq=False)
class Solid:
    """An object with its signed distance function in the unit frame.

    Attributes:
        field: The distance function in the frame in which the object was built.
        centre: Centre of the object's bounding box in that frame.
        radius: Distance from the centre to the farthest point of the surface in that frame.
        half_extents: Half the sides of the bounding box, in the unit frame.
    """

    field: Field
    centre: Corner
    radius: float
    half_extents: Corner

    @property
    def exact(self) -> bool:
        """Whether the value is the distance outside the solid, rather than a lower bound of it."""
        return self.field.exact

    def distance(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
        """Compute signed distances in float64, negative inside.

        The function is 1-Lipschitz and 0 exactly on the surface, so its absolute value is at most the true distance.
        The value at a point does not depend on the other points.
        """
        order = _space_order(points)
        columns = np.ascontiguousarray((points[order].astype(np.float64) * self.radius + self.centre).T)
        values = np.empty(len(points))
        for start in range(0, len(points), BATCH):
            batch = slice(start, start + BATCH)
            values[order[batch]] = self.field.distance(columns[:, batch])
        return values / self.radius

    def project(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
        """Project points near the surface onto it by Newton's method along the numerical gradient."""
        columns = np.ascontiguousarray((points * self.radius + self.centre).T)
        projected, _ = _project(self.field, columns, 8)
        return np.asarray((projected.T - self.centre) / self.radius)


def _space_order(points: Float[np.ndarray, "point 3"]) -> np.ndarray:
    """Return an order in which consecutive points are close in space: the Morton order of a grid of 8³ cells."""
    cell = np.clip(((points + 1) * 4).astype(np.int64), 0, 7)
    bits = (cell & 1) | (cell & 2) << 2 | (cell & 4) << 4
    key = bits[:, 0] | bits[:, 1] << 1 | bits[:, 2] << 2
    return np.argsort(key.astype(np.uint16), kind="stable")


def normalise(field: Field) -> Solid:
    """Find the extent of a field's surface, and convert it to the unit frame.

    The extreme points along the six directions of the axes, and then the point farthest from the centre, are found by
    gradient ascent on the surface: points are moved outwards and projected back onto the surface, with decreasing step
    lengths. The typical error is 1e-4 of the object's size; tests require 1e-3.
    """
    size = float((field.high - field.low).max())
    cells, values = _surface_cells(field, size / COARSE_CELLS)
    sides = np.concatenate([np.eye(3), -np.eye(3)])
    starts = [_highest_cells(cells, side @ cells - values) for side in sides]
    directions = np.repeat(sides.T, [start.shape[1] for start in starts], axis=1)
    reached = _ascend(
        field,
        np.concatenate(starts, axis=1),
        lambda _: directions,
        lambda points: (points * directions).sum(axis=0),
        size,
    )
    edges = np.cumsum([0] + [start.shape[1] for start in starts])
    extremes = np.array([reached[first:last].max() for first, last in itertools.pairwise(edges)])
    high, low = extremes[:3], -extremes[3:]
    centre = (low + high) / 2

    def from_centre(points: Columns) -> Distances:
        return np.asarray(np.linalg.norm(points - centre[:, None], axis=0))

    def outwards(points: Columns) -> Columns:
        return np.asarray((points - centre[:, None]) / np.maximum(from_centre(points), 1e-12))

    radius = float(
        _ascend(field, _highest_cells(cells, from_centre(cells) - values), outwards, from_centre, size).max()
    )
    return Solid(field, centre, radius, (high - low) / (2 * radius))


def _surface_cells(field: Field, size: float) -> tuple[Columns, Distances]:
    """Return the centres of cells half as wide as `size` that may contain the surface, and the field there."""
    counts = np.ceil((field.high - field.low) / size).astype(int)
    grid = [low + size * (np.arange(count) + 0.5) for low, count in zip(field.low, counts, strict=True)]
    cells = np.stack([axis.ravel() for axis in np.meshgrid(*grid, indexing="ij")])
    cells = cells[:, np.abs(_in_batches(field, cells)) <= size * np.sqrt(3) / 2]
    corners = np.stack(np.meshgrid(*[(-size / 4, size / 4)] * 3, indexing="ij")).reshape(3, 8, 1)
    cells = (cells[:, None] + corners).reshape(3, -1)
    values = _in_batches(field, cells)
    near = np.abs(values) <= size * np.sqrt(3) / 4
    return cells[:, near], values[near]


def _highest_cells(cells: Columns, heights: Distances) -> Columns:
    """Select the cells in each octant where the surface may be highest: by height minus distance from the surface.

    The selection is made for each octant, because the estimate is only accurate to a cell, and several extremes of an
    object, such as its feet, may differ by less.
    """
    middle = (cells.min(axis=1) + cells.max(axis=1)) / 2
    octant = np.array([1, 2, 4]) @ (cells > middle[:, None])
    order = np.argsort(-heights, kind="stable")
    return np.concatenate([cells[:, order[octant[order] == i][:ASCENT_POINTS]] for i in range(8)], axis=1)


def _in_batches(field: Field, points: Columns) -> Distances:
    """Evaluate a field in batches."""
    starts = range(0, max(points.shape[1], 1), BATCH)
    return np.concatenate([field.distance(points[:, start : start + BATCH]) for start in starts])


def _project(field: Field, points: Columns, steps: int) -> tuple[Columns, Distances]:
    """Project points onto the surface by Newton's method along the numerical gradient.

    Returns:
        The points, and their remaining distances.
    """
    width = 1e-5 * float((field.high - field.low).max())
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]).T * width  # a tetrahedron
    count = points.shape[1]
    for _ in range(steps):
        around = (points[:, None] + corners[:, :, None]).reshape(3, -1)
        values = _in_batches(field, np.concatenate([points, around], axis=1))
        gradient = (corners / (4 * width * width)) @ values[count:].reshape(4, count)
        # At least 0.25, because steps would be too long where the gradient of a bound is small.
        squared = np.maximum((gradient * gradient).sum(axis=0), 0.25)
        points = points - gradient * (values[:count] / squared)
    return points, _in_batches(field, points)


def _ascend(
    field: Field,
    points: Columns,
    directions: Callable[[Columns], Columns],
    height: Callable[[Columns], Distances],
    size: float,
) -> Distances:
    """Move points on the surface to greater heights by steps and projections; return the heights, -inf for failures."""
    points, remaining = _project(field, points, 4)
    best = np.where(np.abs(remaining) < 1e-5 * size, height(points), -np.inf)
    step = np.full(best.shape, size / COARSE_CELLS / 2)
    for _ in range(ASCENT_STEPS):
        trial, remaining = _project(field, points + step * directions(points), 3)
        reached = height(trial)
        better = (reached > best) & (np.abs(remaining) < 1e-5 * size)
        points = np.where(better, trial, points)
        best = np.where(better, reached, best)
        # On rounded ends each step gains little height, so successful steps are lengthened and failed ones shortened.
        step = np.where(better, 1.7 * step, 0.3 * step)
    return best
