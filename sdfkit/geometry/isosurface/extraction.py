"""The zero level of a distance function on points, as a closed mesh.

The function may be a network, so evaluations are what counts: a coarse grid is refined only where the surface
can be, and the result is the one that marching cubes gives on the whole fine grid.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.ndimage import maximum_filter
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError
from sdfkit.geometry.isosurface.grid import FARTHEST, Grid

DistanceFunction: TypeAlias = Callable[[Float[np.ndarray, "point 3"]], Float[np.ndarray, " point"]]

# The coarsest grid has at least this many cells along a side, so that bends measured on it mean something.
COARSEST = 24
CORNERS = np.indices((2, 2, 2), dtype=np.int32).reshape(3, 8).T
# Nodes of the halved cell, the weights of its corners in each of them, and which of them are new.
HALVED = np.indices((3, 3, 3), dtype=np.int32).reshape(3, 27).T
WEIGHTS = np.where(CORNERS[:, None] == 1, 0.5 * HALVED, 1 - 0.5 * HALVED).prod(axis=2).astype(np.float32)
NEW = (HALVED % 2 == 1).any(axis=1)
# A corner that was never asked for widens the band of nodes that are. From this share of the cell's range on, asking
# for it is cheaper.
DOUBTFUL = 0.1
# Cells in one array, and planes of nodes; marching cubes holds twice as many.
CELLS = 1 << 15
SLAB = 32


class _Samples:
    """Distances at nodes of the finest grid, evaluated in batches and counted."""

    def __init__(self, distance: DistanceFunction, resolution: int, cells: int, batch: int) -> None:
        # The coarse grid may reach past the cube; there the nodes on its sides are repeated.
        inside = np.linspace(-1.0, 1.0, resolution + 1, dtype=np.float32)
        self.axis = np.concatenate([inside, np.ones(cells - resolution, dtype=np.float32)])
        self.cells, self.distance, self.batch = cells, distance, batch
        # A distance of zero would put several vertices onto one node.
        self.smallest = np.float32(1e-3 * 2.0 / resolution)
        self.count, self.lowest, self.highest = 0, math.inf, -math.inf

    def ask(self, grid: Grid, nodes: Int[np.ndarray, "node 3"]) -> Float[np.ndarray, " node"]:
        """Evaluate nodes of a grid and write them into it."""
        stride = self.cells // (grid.count - 1)
        values = np.empty(len(nodes), dtype=np.float32)
        for start in range(0, len(nodes), self.batch):
            part = slice(start, start + self.batch)
            values[part] = self.distance(self.axis[nodes[part] * stride])
        if not np.isfinite(values).all():
            raise GeometryError("no surface: some distances are not finite numbers")
        if len(values):
            self.count += len(values)
            self.lowest, self.highest = min(self.lowest, values.min()), max(self.highest, values.max())
        values = np.where(values < 0, np.minimum(values, -self.smallest), np.maximum(values, self.smallest))
        values = np.clip(values, -FARTHEST, FARTHEST)
        grid.write(nodes, values, 0.0)
        return values


def extract_surface(
    distance: DistanceFunction, *, resolution: int, margin: float, batch: int
) -> tuple[trimesh.Trimesh, int]:
    """Marching cubes of a distance function on the cube from -1 to 1, coarse to fine.

    A finer grid's values are interpolated from the coarser grid. How far interpolation was off there, in the same
    place, times `margin` is how far it may be off here: a smooth function quarters its error with the
    cell, a kink halves it. Only ends of edges that may then cross the surface are evaluated. Where a value is off by
    more than it may be, its neighbourhood is looked at again, and where the surface leaves what was evaluated it is
    followed. So neither the slope of the function matters nor whether it is a distance at all. The triangles are
    those of the dense grid unless the function bends between nodes of the coarsest grid, of 24 to 48 cells along a
    side, and nowhere near them: then a piece smaller than its cells can be missed.

    Args:
        distance: From points in the cube to signed distances, negative inside.
        resolution: Cells along a side of the cube.
        margin: How many times the error on the coarser grid is allowed. At 1 and at 3/4 the triangles were the dense
            ones for all of 26 networks and fields tried; at 1/2 two of them lost a piece.
        batch: Most points handed to `distance` at once.

    Returns:
        The closed surface, facing outward, and the number of points evaluated. A shape that leaves the cube
        is closed by the cube's sides.

    Raises:
        GeometryError: The distances never cross zero, or are not finite.
    """
    halvings = max(0, int(math.log2(resolution / COARSEST))) if resolution > COARSEST else 0
    # An even number of cells: the first errors are those of every second node.
    coarsest = 2 * math.ceil(resolution / 2 ** (halvings + 1)) if halvings else resolution
    samples = _Samples(distance, resolution, coarsest * 2**halvings, batch)
    grid = Grid(coarsest + 1, None)
    nodes = np.indices((coarsest + 1,) * 3, dtype=np.int32).reshape(3, -1).T
    values = samples.ask(grid, nodes).reshape((coarsest + 1,) * 3)
    if halvings:
        cells = np.indices((coarsest,) * 3, dtype=np.int32).reshape(3, -1).T
        off = np.abs(_interpolate(values[::2, ::2, ::2]) - values).ravel()
        # Of cells as large as parts of the shape, those around count too: a piece may be in between.
        bound = margin * maximum_filter(_largest(nodes, off, coarsest // 2), 3)
        for _ in range(halvings):
            if not len(cells):
                break
            grid, cells, bound = _halve(grid, cells, bound, margin, samples)
        _complete_ambiguous(grid, cells, samples)
    if not samples.lowest < 0 < samples.highest:
        low, high = float(samples.lowest), float(samples.highest)
        raise GeometryError(f"no surface: distances run from {low:.3g} to {high:.3g} and never cross 0")
    return _march(grid, resolution), samples.count


def _interpolate(values: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "u v w"]:
    """The grid twice as fine, linear between nodes."""
    for axis in range(3):
        coarse = np.moveaxis(values, axis, 0)
        fine = np.empty((2 * len(coarse) - 1, *coarse.shape[1:]), dtype=np.float32)
        fine[::2], fine[1::2] = coarse, 0.5 * (coarse[1:] + coarse[:-1])
        values = np.moveaxis(fine, 0, axis)
    return values


def _largest(
    nodes: Int[np.ndarray, "node 3"], off: Float[np.ndarray, " node"], count: int
) -> Float[np.ndarray, "count count count"]:
    """The largest error in each cell of `count` along a side, twice the nodes' spacing, its faces included."""
    largest = np.zeros((count,) * 3, dtype=np.float32)
    for corner in CORNERS:
        cells = (nodes - corner) >> 1
        inside = ((cells >= 0) & (cells < count)).all(axis=1)
        np.maximum.at(largest, tuple(cells[inside].T), off[inside])
    return largest


def _halve(
    grid: Grid,
    cells: Int[np.ndarray, "cell 3"],
    bound: Float[np.ndarray, "u v w"],
    margin: float,
    samples: _Samples,
) -> tuple[Grid, Int[np.ndarray, "child 3"], Float[np.ndarray, "x y z"]]:
    """Halve the grid, evaluating only nodes whose edges may cross the surface.

    Args:
        grid: The coarse grid.
        cells: Its cells that may hold the surface.
        bound: How far interpolation between its nodes may be off, for two cells at once along each axis.
        margin: How many times the errors found here are allowed on the next grid.
        samples: What to ask.

    Returns:
        The finer grid, its cells that may hold the surface, and how far interpolation between its nodes may be off.
    """
    finer = Grid(2 * grid.count - 1, grid)
    asked, off, children = [], [], []
    remaining = cells
    while len(remaining):
        # Corners on which too much hangs are asked for first.
        corners, doubtful = _near(grid, remaining, bound)[1:3]
        samples.ask(grid, grid.unique(corners[doubtful]))
        near = _near(grid, remaining, bound)[0]
        nodes, guesses, doubts = _crossing(grid, finer, near, bound)
        values = samples.ask(finer, nodes)
        error = np.abs(values - guesses)
        followed = _follow(finer, nodes, samples)
        asked.append(nodes)
        off.append(error)
        children += [(2 * near[:, None] + CORNERS).reshape(-1, 3), _cells_around(followed, finer.count)]
        # Off by more than allowed: allow more there, and look again.
        beyond = error > doubts
        more = max(margin, 1.0) * _largest(nodes[beyond] >> 1, error[beyond], len(bound))
        raised = np.maximum(bound, maximum_filter(more, 3))
        remaining = remaining[(raised > bound)[tuple((remaining >> 1).T)]]
        bound = raised
    found = _largest(np.concatenate(asked), np.concatenate(off), grid.count - 1)
    # Where nothing was asked, what held before, for half the cell.
    inherited = 0.25 * bound.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return finer, finer.unique(np.concatenate(children)), np.maximum(margin * found, inherited)


def _near(
    grid: Grid, cells: Int[np.ndarray, "cell 3"], bound: Float[np.ndarray, "u v w"]
) -> tuple[Int[np.ndarray, "near 3"], Int[np.ndarray, "near 8 3"], Bool[np.ndarray, "near 8"]]:
    """Cells in which an interpolated value may be of either sign; their corners, and which of those to ask for."""
    parts = []
    for start in range(0, len(cells), CELLS):
        corners = cells[start : start + CELLS, None] + CORNERS
        values, doubts = grid.read(corners)
        allowed = bound[tuple((corners[:, 0] >> 1).T)]
        near = ((values - doubts).min(axis=1) < allowed) & ((values + doubts).max(axis=1) > -allowed)
        corners, values, doubts = corners[near], values[near], doubts[near]
        doubtful = (np.abs(values) > FARTHEST) | (doubts > DOUBTFUL * np.ptp(values, axis=1)[:, None])
        parts.append((corners[:, 0], corners, doubtful))
    near_cells, near_corners, asked = (np.concatenate(part) for part in zip(*parts, strict=True))
    return near_cells, near_corners, asked


def _crossing(
    grid: Grid, finer: Grid, cells: Int[np.ndarray, "cell 3"], bound: Float[np.ndarray, "u v w"]
) -> tuple[Int[np.ndarray, "node 3"], Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Interpolate the finer grid in these cells; return nodes on edges that may cross the surface and are not known.

    With the nodes come their interpolated values and how far those may be off.
    """
    # At once: each time, what is there already is copied.
    finer.open(2 * (cells[:, None] + CORNERS))
    found = [cells[:0]]
    for start in range(0, len(cells), CELLS):
        part = cells[start : start + CELLS, None]
        values, doubts = grid.read(part + CORNERS)
        allowed = bound[tuple((part[:, 0] >> 1).T)]
        guesses, doubts = values @ WEIGHTS, doubts @ WEIGHTS + allowed[:, None] * NEW
        nodes = 2 * part + HALVED
        # Known from an earlier look.
        known = finer.is_known(nodes)
        guesses[known], doubts[known] = finer.read(nodes[known])[0], 0.0
        finer.write(nodes, guesses, doubts)
        may_be = [(sign * guesses < doubts).reshape(-1, 3, 3, 3) for sign in (1, -1)]
        crossing = np.zeros_like(may_be[0])
        for axis in (1, 2, 3):
            start_of, end_of = (tuple([slice(None)] * axis + [ends]) for ends in (slice(0, 2), slice(1, 3)))
            crosses = (may_be[0][start_of] & may_be[1][end_of]) | (may_be[1][start_of] & may_be[0][end_of])
            crossing[start_of] |= crosses
            crossing[end_of] |= crosses
        found.append(nodes[crossing.reshape(-1, 27) & (doubts > 0)])
    nodes = finer.unique(np.concatenate(found))
    return nodes, *finer.read(nodes)


def _follow(grid: Grid, nodes: Int[np.ndarray, "node 3"], samples: _Samples) -> Int[np.ndarray, "more 3"]:
    """Ask for neighbours of other sign until every edge that crosses the surface is known at both ends."""
    followed = [nodes[:0]]
    while len(nodes):
        inside = grid.read(nodes)[0] < 0
        beyond = []
        for axis, step in ((axis, step) for axis in range(3) for step in (-1, 1)):
            neighbours = nodes.copy()
            neighbours[:, axis] += step
            exists = (neighbours[:, axis] >= 0) & (neighbours[:, axis] < grid.count)
            neighbours = neighbours[exists]
            is_other = (grid.read(neighbours)[0] < 0) != inside[exists]
            neighbours = neighbours[is_other]
            beyond.append(neighbours[~grid.is_known(neighbours)])
        nodes = grid.unique(np.concatenate(beyond))
        samples.ask(grid, nodes)
        followed.append(nodes)
    return np.concatenate(followed)


def _cells_around(nodes: Int[np.ndarray, "node 3"], count: int) -> Int[np.ndarray, "cell 3"]:
    cells = (nodes[:, None] - CORNERS).reshape(-1, 3)
    return cells[((cells >= 0) & (cells < count - 1)).all(axis=1)]


@cache
def _ambiguous() -> Bool[np.ndarray, "256"]:
    """By the signs of a cell's corners as bits: whether marching cubes looks at more than the crossed edges.

    So it does unless the corners of each sign hang together along edges (Lewiner et al. 2003: cases 3, 4, 6, 7, 10,
    12 and 13).
    """
    table = np.zeros(256, dtype=bool)
    for code in range(256):
        for group in ({c for c in range(8) if code >> c & 1}, {c for c in range(8) if not code >> c & 1}):
            reached = set(sorted(group)[:1])
            while more := {c ^ bit for c in reached for bit in (1, 2, 4)} & group - reached:
                reached |= more
            table[code] |= reached != group
    return table


def _complete_ambiguous(grid: Grid, cells: Int[np.ndarray, "cell 3"], samples: _Samples) -> None:
    """Ask for all corners of cells whose triangles depend on all of them."""
    while len(cells):
        unknown = [cells[:0]]
        for start in range(0, len(cells), CELLS):
            corners = cells[start : start + CELLS, None] + CORNERS
            codes = (grid.read(corners)[0] < 0) @ (1 << np.arange(8))
            corners = corners[_ambiguous()[codes]].reshape(-1, 3)
            unknown.append(corners[~grid.is_known(corners)])
        nodes = grid.unique(np.concatenate(unknown))
        samples.ask(grid, nodes)
        # A sign may be other than it seemed.
        cells = _cells_around(np.concatenate([nodes, _follow(grid, nodes, samples)]), grid.count)


def _march(grid: Grid, resolution: int) -> trimesh.Trimesh:
    """Marching cubes in slabs, as one run over the whole grid gives it; the cube's sides close a shape."""
    count = resolution + 1
    sides = np.indices((2, count, count)).reshape(3, -1).T * [resolution, 1, 1]
    pad = int(any((grid.read(np.roll(sides, axis, axis=1))[0] < 0).any() for axis in range(3)))
    vertices, faces = [np.empty((0, 3))], [np.empty((0, 3), dtype=np.int32)]
    total, seam = 0, (np.empty(0, dtype=np.int64), np.empty((0, 2)))
    for first in range(0, resolution, SLAB):
        last = min(first + SLAB, resolution)
        if not pad and not grid.has_surface(first, last + 1):
            seam = (seam[0][:0], seam[1][:0])
            continue
        ends = (pad * (first == 0), pad * (last == resolution))
        values = np.pad(
            grid.planes(first, last + 1, count), (ends, (pad, pad), (pad, pad)), constant_values=1.0
        )
        if not values.min() < 0 < values.max():
            seam = (seam[0][:0], seam[1][:0])
            continue
        found, triangles, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
        heights = _heights(values, found)
        # Vertices in the plane of the slab before are there already, in the same order along the plane or not.
        numbers = np.full(len(found), -1, dtype=np.int64)
        at_start = np.flatnonzero(heights == 0) if first else np.empty(0, dtype=np.int64)
        order, other = np.lexsort(found[at_start, 1:].T), np.lexsort(seam[1].T)
        numbers[at_start[order]] = seam[0][other]
        fresh = numbers < 0
        numbers[fresh] = total + np.arange(fresh.sum())
        total += int(fresh.sum())
        place = np.column_stack([(heights + (first + pad * (first > 0))).astype(np.float32), found[:, 1:]])
        vertices.append(place[fresh])
        faces.append(numbers[triangles].astype(np.int32))
        at_end = np.flatnonzero(heights == last - first + ends[0])
        seam = (numbers[at_end], found[at_end, 1:])
    corners = np.concatenate(vertices).astype(np.float64)
    corners = np.clip((corners - pad) * (2.0 / resolution) - 1.0, -1.0, 1.0)
    return trimesh.Trimesh(corners, np.concatenate(faces), process=False)


def _heights(
    values: Float[np.ndarray, "x y z"], vertices: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, " vertex"]:
    """First coordinates of marching cubes' vertices before they were rounded to float32.

    Rounded here, within a slab, and again in the whole grid they would differ in the last bit.
    """
    low = np.floor(vertices).astype(np.int64)
    heights = vertices[:, 0].astype(np.float64)
    between = vertices > low
    # On an edge its ends weigh; in the middle of an ambiguous cell all corners, added up in this order.
    square = [(0, 0), (0, 1), (1, 1), (1, 0)]
    for moved, around in (
        (between[:, 0] & ~between[:, 1:].any(axis=1), square[:1]),
        (between.all(axis=1), square),
    ):
        x, y, z = low[moved].T
        corners = [values[x + end, y + j, z + k].astype(np.float64) for end in (0, 1) for j, k in around]
        weights = [1 / (np.spacing(1.0) + np.abs(corner)) for corner in corners]
        heights[moved] = x + sum(weights[len(around) :]) / sum(weights)
    return heights
