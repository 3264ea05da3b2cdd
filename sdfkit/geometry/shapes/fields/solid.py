"""A solid in the unit frame, made from a field of any size and place."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sdfkit.geometry.shapes.fields.field import Columns, Corner, Distances, Field

BATCH = 4096  # points at a time: temporaries then stay in cache, and boxes of compact batches prune more
COARSE_CELLS = 20  # along the longest side of the box in which the surface is first looked for
CLIMBERS = 12  # points in each octant that climb towards each extreme of the surface
CLIMBS = 26


@dataclass(frozen=True, eq=False)
class Solid:
    """An object with its signed distance, centred on its bounding box, farthest surface point at distance 1.

    Attributes:
        field: The distance function in the frame in which the object was built.
        centre: Centre of the object's bounding box in that frame.
        reach: Distance there from the centre to the farthest point of the surface.
        half_extents: Half the sides of the bounding box, in the unit frame.
    """

    field: Field
    centre: Corner
    reach: float
    half_extents: Corner

    @property
    def exact(self) -> bool:
        """Whether outside the solid the value is the distance, rather than a lower bound."""
        return self.field.exact

    def distance(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
        """Signed distance in float64, negative inside.

        1-Lipschitz with its zeros exactly on the surface; so never greater than the true distance in absolute
        value. It does not depend on which other points are asked for.
        """
        order = _space_order(points)
        columns = np.ascontiguousarray((points[order].astype(np.float64) * self.reach + self.centre).T)
        values = np.empty(len(points))
        for start in range(0, len(points), BATCH):
            batch = slice(start, start + BATCH)
            values[order[batch]] = self.field.distance(columns[:, batch])
        return values / self.reach

    def fall(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
        """Move points near the surface onto it, by Newton's method along the numerical gradient."""
        columns = np.ascontiguousarray((points * self.reach + self.centre).T)
        fallen, _ = _fall(self.field, columns, 8)
        return np.asarray((fallen.T - self.centre) / self.reach)


def _space_order(points: Float[np.ndarray, "point 3"]) -> np.ndarray:
    """An order in which neighbours in the list are neighbours in space: Morton order of an 8³ grid."""
    cell = np.clip(((points + 1) * 4).astype(np.int64), 0, 7)
    spread = (cell & 1) | (cell & 2) << 2 | (cell & 4) << 4
    key = spread[:, 0] | spread[:, 1] << 1 | spread[:, 2] << 2
    return np.argsort(key.astype(np.uint16), kind="stable")


def normalise(field: Field) -> Solid:
    """Find where a field's surface ends, and put it into the unit frame.

    The extremes (six sides, then the farthest point) are found by climbing: points on the surface step
    outwards
    and fall back onto it, with ever smaller steps. Good to 1e-4 of the object's size in practice; tests
    hold 1e-3.
    """
    size = float((field.high - field.low).max())
    cells, values = _surface_cells(field, size / COARSE_CELLS)
    sides = np.concatenate([np.eye(3), -np.eye(3)])
    starts = [_highest(cells, side @ cells - values) for side in sides]
    ahead = np.repeat(sides.T, [start.shape[1] for start in starts], axis=1)
    reached = _climb(
        field,
        np.concatenate(starts, axis=1),
        lambda _: ahead,
        lambda points: (points * ahead).sum(axis=0),
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

    reach = float(
        _climb(field, _highest(cells, from_centre(cells) - values), outwards, from_centre, size).max()
    )
    return Solid(field, centre, reach, (high - low) / (2 * reach))


def _surface_cells(field: Field, size: float) -> tuple[Columns, Distances]:
    """Middles of the small cells that can hold the surface, half as wide as `size`, and the field there."""
    counts = np.ceil((field.high - field.low) / size).astype(int)
    grid = [low + size * (np.arange(count) + 0.5) for low, count in zip(field.low, counts, strict=True)]
    cells = np.stack([axis.ravel() for axis in np.meshgrid(*grid, indexing="ij")])
    cells = cells[:, np.abs(_in_batches(field, cells)) <= size * np.sqrt(3) / 2]
    corners = np.stack(np.meshgrid(*[(-size / 4, size / 4)] * 3, indexing="ij")).reshape(3, 8, 1)
    cells = (cells[:, None] + corners).reshape(3, -1)
    values = _in_batches(field, cells)
    near = np.abs(values) <= size * np.sqrt(3) / 4
    return cells[:, near], values[near]


def _highest(cells: Columns, heights: Distances) -> Columns:
    """In each octant, the cells whose surface may be highest: a cell's own height, less what it lies outside.

    By octant, because the estimate is good to a cell only: feet and a brim may compete within that.
    """
    middle = (cells.min(axis=1) + cells.max(axis=1)) / 2
    octant = np.array([1, 2, 4]) @ (cells > middle[:, None])
    order = np.argsort(-heights, kind="stable")
    return np.concatenate([cells[:, order[octant[order] == i][:CLIMBERS]] for i in range(8)], axis=1)


def _in_batches(field: Field, points: Columns) -> Distances:
    starts = range(0, max(points.shape[1], 1), BATCH)
    return np.concatenate([field.distance(points[:, start : start + BATCH]) for start in starts])


def _fall(field: Field, points: Columns, steps: int) -> tuple[Columns, Distances]:
    """Newton's method along the numerical gradient, onto the surface; and the distance that is left."""
    width = 1e-5 * float((field.high - field.low).max())
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]).T * width  # a tetrahedron
    count = points.shape[1]
    for _ in range(steps):
        around = (points[:, None] + corners[:, :, None]).reshape(3, -1)
        values = _in_batches(field, np.concatenate([points, around], axis=1))
        gradient = (corners / (4 * width * width)) @ values[count:].reshape(4, count)
        squared = np.maximum(
            (gradient * gradient).sum(axis=0), 0.25
        )  # a bound may be flat: step, but not far
        points = points - gradient * (values[:count] / squared)
    return points, _in_batches(field, points)


def _climb(
    field: Field,
    points: Columns,
    ahead: Callable[[Columns], Columns],
    height: Callable[[Columns], Distances],
    size: float,
) -> Distances:
    """The heights on the surface that points reach by steps ahead and falls back; -inf where none lands."""
    points, left = _fall(field, points, 4)
    best = np.where(np.abs(left) < 1e-5 * size, height(points), -np.inf)
    step = np.full(best.shape, size / COARSE_CELLS / 2)
    for _ in range(CLIMBS):
        trial, left = _fall(field, points + step * ahead(points), 3)
        reached = height(trial)
        better = (reached > best) & (np.abs(left) < 1e-5 * size)
        points = np.where(better, trial, points)
        best = np.where(better, reached, best)
        # Along a rounded end a step gains little: steps that gain grow, those that fail shrink faster.
        step = np.where(better, 1.7 * step, 0.3 * step)
    return best
