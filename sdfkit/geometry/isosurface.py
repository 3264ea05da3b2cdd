"""The zero level of a distance function on points, as a closed mesh.

The function may be a network, so evaluations are what counts: a coarse grid is refined only where the surface
can be, and the result is the one that marching cubes gives on the whole fine grid.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError

DistanceFunction: TypeAlias = Callable[[Float[np.ndarray, "point 3"]], Float[np.ndarray, " point"]]

# The coarsest grid has at least this many cells along a side, so that slopes measured on it mean something.
COARSEST = 24
# Corners of a cell, in the order of its children, and which of them make up its six faces.
CORNERS = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)
FACES = tuple((axis, side, np.flatnonzero(CORNERS[:, axis] == side)) for axis in range(3) for side in (0, 1))
# A cell's corners and its middle; the eighths of its children; and how far, in sides of the cell, any point
# of an eighth is from each of them.
STATIONS = np.concatenate([CORNERS, [[0.5, 0.5, 0.5]]])
EIGHTHS = (0.125 + 0.5 * CORNERS[:, None] + 0.25 * CORNERS).reshape(64, 3)
REACH = np.linalg.norm(np.abs(EIGHTHS[:, None] - STATIONS) + 0.125, axis=2).astype(np.float32)
# What stands at nodes whose sign is known though nobody asked for their distance; measured distances stay
# below.
UNSEEN = np.float32(1e4)
FARTHEST = np.float32(1e3)


class _Samples:
    """Distances at nodes of the finest grid, evaluated in batches and counted."""

    def __init__(self, distance: DistanceFunction, resolution: int, cells: int, batch: int) -> None:
        # The coarse grid may reach past the cube; there the nodes on its sides are repeated.
        inside = np.linspace(-1.0, 1.0, resolution + 1, dtype=np.float32)
        self.axis = np.concatenate([inside, np.ones(cells - resolution, dtype=np.float32)])
        self.distance, self.batch = distance, batch
        # A distance of zero would put several vertices onto one node.
        self.smallest = np.float32(1e-3 * 2.0 / resolution)
        self.count, self.lowest, self.highest = 0, math.inf, -math.inf

    def __call__(self, nodes: Int[np.ndarray, "node 3"]) -> Float[np.ndarray, " node"]:
        values = np.empty(len(nodes), dtype=np.float32)
        for start in range(0, len(nodes), self.batch):
            part = slice(start, start + self.batch)
            values[part] = self.distance(self.axis[nodes[part]])
        if not np.isfinite(values).all():
            raise GeometryError("no surface: some distances are not finite numbers")
        if len(values):
            self.count += len(values)
            self.lowest, self.highest = min(self.lowest, values.min()), max(self.highest, values.max())
        values = np.where(values < 0, np.minimum(values, -self.smallest), np.maximum(values, self.smallest))
        return np.clip(values, -FARTHEST, FARTHEST)


def extract_surface(
    distance: DistanceFunction, *, resolution: int, margin: float, batch: int
) -> tuple[trimesh.Trimesh, int]:
    """Marching cubes of a distance function on the cube from -1 to 1, coarse to fine.

    A cell is refined unless one of its corners is farther from zero than the function can fall on the way
    into the cell, given the steepest slope between neighbouring samples so far, times `margin`. Where the
    surface leaves the refined cells it is followed. The triangles are those of the dense grid unless the
    function is steeper than that where no sample has looked: then a piece smaller than a coarse cell can be
    missed.

    Args:
        distance: From points in the cube to signed distances, negative inside.
        resolution: Cells along a side of the cube.
        margin: How many times steeper than measured the function may be; what it has above 1 is halved with the
            grid. 1.5 was safe for every random network tried, up to a slope of 2.6.
        batch: Most points handed to `distance` at once.

    Returns:
        The closed surface, facing outward, and the number of points evaluated. A shape that leaves the cube
        is closed by the cube's sides.

    Raises:
        GeometryError: The distances never cross zero, or are not finite.
    """
    halvings = max(0, int(math.log2(resolution / COARSEST))) if resolution > COARSEST else 0
    stride = 2**halvings
    count = math.ceil(resolution / stride)
    samples = _Samples(distance, resolution, count * stride, batch)
    nodes = _all_indices(count + 1)
    values = samples(nodes * stride).reshape((count + 1,) * 3)
    cells, slope, doubt = _all_indices(count), 0.0, margin - 1.0
    while stride > 1 and len(cells):
        side = 2.0 * stride / resolution
        corners = _corner_values(values, cells)
        slope = max(slope, _steepest(corners) / side)
        stride //= 2
        values, cells = _refine(values, cells, corners, (1.0 + doubt) * slope * side, samples, stride)
        # The finer the grid, the less of the slope it can overlook.
        doubt *= 0.5
    if not samples.lowest < 0 < samples.highest:
        low, high = float(samples.lowest), float(samples.highest)
        raise GeometryError(f"no surface: distances run from {low:.3g} to {high:.3g} and never cross 0")
    values = values[: resolution + 1, : resolution + 1, : resolution + 1]
    return _march(values, resolution), samples.count


def _all_indices(count: int) -> Int[np.ndarray, "index 3"]:
    return np.indices((count,) * 3).reshape(3, -1).T


def _corner_values(
    values: Float[np.ndarray, "x y z"], cells: Int[np.ndarray, "cell 3"]
) -> Float[np.ndarray, "cell 8"]:
    corners = np.empty((len(cells), 8), dtype=np.float32)
    for corner, (i, j, k) in enumerate(CORNERS):
        corners[:, corner] = values[cells[:, 0] + i, cells[:, 1] + j, cells[:, 2] + k]
    return corners


def _steepest(corners: Float[np.ndarray, "cell 8"]) -> float:
    """The largest slope of a cell, per side of the cell: along one edge, or of its mean gradient.

    The gradient at a corner, from its three edges, would not do: at the middle of a ball it is sqrt(3).
    """
    cube = corners.reshape(-1, 2, 2, 2)
    edges = [np.diff(cube, axis=axis).reshape(-1, 4) for axis in (1, 2, 3)]
    gradient = np.sqrt(sum(np.square(edge.mean(axis=1)) for edge in edges))
    return float(max(gradient.max(), *(np.abs(edge).max() for edge in edges)))


def _refine(
    values: Float[np.ndarray, "x y z"],
    cells: Int[np.ndarray, "cell 3"],
    corners: Float[np.ndarray, "cell 8"],
    fall: float,
    samples: _Samples,
    stride: int,
) -> tuple[Float[np.ndarray, "u v w"], Int[np.ndarray, "child 3"]]:
    """Halve the grid, evaluating only children of `cells` that may hold the surface.

    Args:
        values: The coarse grid.
        cells: Its cells that may hold the surface, and the values at their corners.
        fall: The most that the function may change over a side of them.
        stride: Nodes of the finest grid from node to node of the new one.

    Returns:
        The halved grid and those of its cells that may hold the surface.
    """
    shape = tuple(2 * length - 1 for length in values.shape)
    # Every coarse cell around a new node has the coarse node before it as a corner: whichever of them holds
    # no surface, its sign is that node's.
    signs = np.copysign(UNSEEN, values)
    finer = np.empty(shape, dtype=np.float32)
    for i, j, k in CORNERS:
        part = finer[i::2, j::2, k::2]
        part[...] = signs[: part.shape[0], : part.shape[1], : part.shape[2]]
    mixed = (corners < 0).any(axis=1) & (corners > 0).any(axis=1)
    near = mixed | (np.abs(corners).min(axis=1) <= 0.5 * math.sqrt(3) * fall)
    cells, middles = cells[near], 2 * cells[near] + 1
    at_middles = samples(middles * stride)
    stations = np.column_stack([corners[near], at_middles])
    outside, inside = _excluded(stations, fall)
    # Steeper than allowed: both signs are there, yet every child seems free of the surface between them.
    torn = (stations < 0).any(axis=1) & (stations > 0).any(axis=1) & (outside | inside).all(axis=1)
    outside[torn] = inside[torn] = False
    outside, inside = outside.ravel(), inside.ravel()
    children = (2 * cells[:, None] + CORNERS).reshape(-1, 3)
    for corner in CORNERS:
        finer[tuple((children[outside] + corner).T)] = UNSEEN
        finer[tuple((children[inside] + corner).T)] = -UNSEEN
    finer[tuple(middles.T)] = at_middles
    finer[::2, ::2, ::2] = values

    reached = np.zeros(tuple(length - 1 for length in shape), dtype=bool)
    fresh, found = children[~outside & ~inside], []
    while len(fresh):
        reached[tuple(fresh.T)] = True
        found.append(fresh)
        nodes = np.unique(
            np.concatenate([np.ravel_multi_index(tuple((fresh + corner).T), shape) for corner in CORNERS])
        )
        nodes = nodes[np.abs(finer.ravel()[nodes]) > FARTHEST]
        finer.ravel()[nodes] = samples(np.stack(np.unravel_index(nodes, shape), axis=1) * stride)
        fresh = _across_crossed_faces(fresh, _corner_values(finer, fresh) < 0, reached)
    return finer, np.concatenate(found) if found else children[:0]


def _excluded(
    stations: Float[np.ndarray, "cell 9"], fall: float
) -> tuple[Bool[np.ndarray, "cell 8"], Bool[np.ndarray, "cell 8"]]:
    """Children wholly outside, and wholly inside, given the values at their cell's corners and middle.

    No station need decide for a whole child: each of its eighths may be cleared by another one.
    """
    outside = np.empty((len(stations), 8), dtype=bool)
    inside = np.empty_like(outside)
    for start in range(0, len(stations), 8192):
        part = slice(start, start + 8192)
        highest = np.full((len(stations[part]), 64), -np.inf, dtype=np.float32)
        lowest = -highest
        for value, reach in zip(stations[part].T, np.float32(fall) * REACH.T, strict=True):
            np.maximum(highest, value[:, None] - reach, out=highest)
            np.minimum(lowest, value[:, None] + reach, out=lowest)
        outside[part] = (highest > 0).reshape(-1, 8, 8).all(axis=2)
        inside[part] = (lowest < 0).reshape(-1, 8, 8).all(axis=2)
    return outside & ~inside, inside & ~outside


def _across_crossed_faces(
    cells: Int[np.ndarray, "cell 3"], inside: Bool[np.ndarray, "cell 8"], reached: Bool[np.ndarray, "x y z"]
) -> Int[np.ndarray, "neighbour 3"]:
    """Cells beyond those faces of `cells` whose corners differ in sign, where nothing has been reached."""
    neighbours = []
    for axis, side, corners in FACES:
        crossed = inside[:, corners].any(axis=1) & ~inside[:, corners].all(axis=1)
        beyond = cells[crossed]
        beyond[:, axis] += 2 * side - 1
        beyond = beyond[(beyond[:, axis] >= 0) & (beyond[:, axis] < reached.shape[axis])]
        neighbours.append(beyond[~reached[tuple(beyond.T)]])
    return np.unique(np.concatenate(neighbours), axis=0)


def _march(values: Float[np.ndarray, "x y z"], resolution: int) -> trimesh.Trimesh:
    """Marching cubes; a shape that reaches the sides of the cube is closed there."""
    first = 0
    if any((values.take((0, -1), axis=axis) < 0).any() for axis in range(3)):
        values, first = np.pad(values, 1, constant_values=1.0), 1
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
    vertices = np.clip((vertices.astype(np.float64) - first) * (2.0 / resolution) - 1.0, -1.0, 1.0)
    return trimesh.Trimesh(vertices, faces, process=False)
