"""Extraction of the zero level set of a distance function as a closed mesh.

The function may be a network, whose evaluation takes most of the time. A coarse grid is refined only where the surface
may be. With one exception (see `extract_surface`), the result equals that of marching cubes on the whole fine grid.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.ndimage import map_coordinates, maximum_filter
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError
from sdfkit.geometry.isosurface.grid import FARTHEST, Grid, interpolate_grid

DistanceFunction: TypeAlias = Callable[[Float[np.ndarray, "point 3"]], Float[np.ndarray, " point"]]

# Least number of cells along a side of the coarsest grid, so that interpolation errors measured on it are meaningful.
COARSEST = 24
CORNERS = np.indices((2, 2, 2), dtype=np.int32).reshape(3, 8).T
# The 27 nodes of a halved cell, the interpolation weights of the cell's corners at each node, and which nodes are new.
HALVED = np.indices((3, 3, 3), dtype=np.int32).reshape(3, 27).T
WEIGHTS = np.where(CORNERS[:, None] == 1, 0.5 * HALVED, 1 - 0.5 * HALVED).prod(axis=2).astype(np.float32)
NEW = (HALVED % 2 == 1).any(axis=1)
# The error bound of a corner that was not evaluated widens the band of nodes to evaluate. If the bound exceeds this
# share of the range of the cell's values, evaluating the corner is cheaper.
UNCERTAIN = 0.1
# Number of cells processed at once, and number of planes of nodes passed to marching cubes at once. Marching cubes
# needs twice the memory of these planes.
CELLS = 1 << 15
SLAB = 32


class _Evaluator:
    """Evaluates the distance function at nodes of a grid, in batches, and counts the evaluations.

    Attributes:
        count: Number of evaluations.
        lowest, highest: Smallest and largest value found.
    """

    def __init__(self, distance: DistanceFunction, resolution: int, cells: int, batch: int) -> None:
        # The coarse grid may extend beyond the cube, where the nodes on the sides of the cube are repeated.
        inside = np.linspace(-1.0, 1.0, resolution + 1, dtype=np.float32)
        self.axis = np.concatenate([inside, np.ones(cells - resolution, dtype=np.float32)])
        self.cells, self.distance, self.batch = cells, distance, batch
        # Least absolute value of a node. A distance of 0 at a node would place several vertices at this node.
        self.smallest = np.float32(1e-3 * 2.0 / resolution)
        self.count, self.lowest, self.highest = 0, math.inf, -math.inf

    def evaluate(self, grid: Grid, nodes: Int[np.ndarray, "node 3"]) -> Float[np.ndarray, " node"]:
        """Evaluate nodes of a grid, write the values into it and return them."""
        stride = self.cells // (grid.count - 1)
        values = np.empty(len(nodes), dtype=np.float32)
        for start in range(0, len(nodes), self.batch):
            part = slice(start, start + self.batch)
            values[part] = self.distance(self.axis[nodes[part] * stride])
        if not np.isfinite(values).all():
            raise GeometryError("no surface: some distances are not finite numbers")
        if len(values):
            self.count += len(values)
            self.lowest = min(self.lowest, float(values.min()))
            self.highest = max(self.highest, float(values.max()))
        values = np.where(values < 0, np.minimum(values, -self.smallest), np.maximum(values, self.smallest))
        values = np.clip(values, -FARTHEST, FARTHEST)
        grid.write(nodes, values, 0.0)
        return values


def extract_surface(
    distance: DistanceFunction, *, resolution: int, margin: float, batch: int
) -> tuple[trimesh.Trimesh, int]:
    """Extract the zero level set of a distance function in the query cube by marching cubes, from coarse to fine.

    Values of a finer grid are interpolated from the coarser grid. The error bound of these values is the interpolation
    error that was measured on the coarser grid at the same position, times `margin`: halving the cells divides the
    error by 4 where the function is smooth, and by 2 at a kink. Where both ends of an edge of the finer grid certainly
    have the same sign, given these bounds, the surface does not cross it; only the ends of the other edges are
    evaluated. Where the measured error exceeds its bound, the bound is raised and the neighbourhood is processed again.
    Where the surface continues beyond the evaluated nodes, the neighbouring nodes are evaluated too. The method makes
    no assumption about the slope of the function, which need not be a distance.

    The triangles are those of marching cubes on the whole fine grid, with one exception: a piece that is smaller than
    the cells of the coarsest grid (24 to 48 cells along a side) is missed if no value at a node of this grid shows it.

    Args:
        distance: Function from points in the query cube (from -1 to 1 along each axis) to signed distances, negative
            inside.
        resolution: Number of cells along a side of the cube.
        margin: Safety factor on the interpolation error of the coarser grid. With 1 and with 3/4, the triangles were
            those of the whole fine grid for all of 26 networks and fields tried; with 1/2, two of them lost a piece.
        batch: Largest number of points passed to `distance` at once.

    Returns:
        The closed surface with outward faces, and the number of points at which `distance` was evaluated. A shape that
        extends beyond the cube is closed by the sides of the cube.

    Raises:
        GeometryError: The distances never cross 0, or are not finite.
    """
    halvings = max(0, int(math.log2(resolution / COARSEST))) if resolution > COARSEST else 0
    # An even number of cells, because the first errors are measured by interpolating from every second node.
    coarsest = 2 * math.ceil(resolution / 2 ** (halvings + 1)) if halvings else resolution
    evaluator = _Evaluator(distance, resolution, coarsest * 2**halvings, batch)
    grid = Grid(coarsest + 1, None)
    nodes = np.indices((coarsest + 1,) * 3, dtype=np.int32).reshape(3, -1).T
    values = evaluator.evaluate(grid, nodes).reshape((coarsest + 1,) * 3)
    if halvings:
        cells = np.indices((coarsest,) * 3, dtype=np.int32).reshape(3, -1).T
        errors = np.abs(interpolate_grid(values[::2, ::2, ::2]) - values).ravel()
        # Cells of the coarsest grid are as large as parts of the shape. A part may lie between two cells, so the bound
        # of a cell is the maximum over its neighbours.
        cell_bounds = margin * maximum_filter(_largest(nodes, errors, coarsest // 2), 3)
        for _ in range(halvings):
            if not len(cells):
                break
            grid, cells, cell_bounds = _halve(grid, cells, cell_bounds, margin, evaluator)
        _complete_ambiguous(grid, cells, evaluator)
    if not evaluator.lowest < 0 < evaluator.highest:
        low, high = float(evaluator.lowest), float(evaluator.highest)
        raise GeometryError(f"no surface: distances run from {low:.3g} to {high:.3g} and never cross 0")
    return _marching_cubes(grid, resolution), evaluator.count


def mesh_grid(values: Float[np.ndarray, "node node node"]) -> trimesh.Trimesh:
    """Extract the zero level set of a grid of distances over the query cube, in the cells of the grid.

    Args:
        values: Signed distances at nodes from -1 to 1 along each axis, negative inside.

    Raises:
        GeometryError: The distances never cross 0, or are not finite.
    """
    cells = len(values) - 1

    def distance(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
        read: Float[np.ndarray, " point"] = map_coordinates(
            values, (points.T + 1) * (cells / 2), order=1, mode="nearest"
        )
        return read

    return extract_surface(distance, resolution=cells, margin=1.0, batch=1 << 18)[0]


def _largest(
    nodes: Int[np.ndarray, "node 3"], errors: Float[np.ndarray, " node"], count: int
) -> Float[np.ndarray, "count count count"]:
    """Return the largest error of the nodes in each of `count`³ cells, whose side is twice the spacing of the nodes."""
    largest = np.zeros((count,) * 3, dtype=np.float32)
    for corner in CORNERS:
        cells = (nodes - corner) >> 1
        inside = ((cells >= 0) & (cells < count)).all(axis=1)
        np.maximum.at(largest, tuple(cells[inside].T), errors[inside])
    return largest


def _halve(
    grid: Grid,
    cells: Int[np.ndarray, "cell 3"],
    cell_bounds: Float[np.ndarray, "u v w"],
    margin: float,
    evaluator: _Evaluator,
) -> tuple[Grid, Int[np.ndarray, "child 3"], Float[np.ndarray, "x y z"]]:
    """Halve the cells of a grid, and evaluate only the nodes at edges that may cross the surface.

    Args:
        grid: The coarse grid.
        cells: Cells of the coarse grid that may contain the surface.
        cell_bounds: Bounds of the error of interpolation between nodes of the coarse grid, one for each block of 2 x 2
            x 2 cells.
        margin: Safety factor on the measured errors, which become the bounds of the next grid.
        evaluator: Evaluates nodes.

    Returns:
        The finer grid, the cells of it that may contain the surface, and bounds of the error of interpolation between
        its nodes.
    """
    finer = Grid(2 * grid.count - 1, grid)
    evaluated, errors, children = [], [], []
    remaining = cells
    while len(remaining):
        # Evaluate corners with a large error bound first.
        corners, uncertain = _cells_near_surface(grid, remaining, cell_bounds)[1:3]
        evaluator.evaluate(grid, grid.unique(corners[uncertain]))
        near = _cells_near_surface(grid, remaining, cell_bounds)[0]
        nodes, guesses, bounds = _nodes_at_crossings(grid, finer, near, cell_bounds)
        values = evaluator.evaluate(finer, nodes)
        error = np.abs(values - guesses)
        followed = _follow_surface(finer, nodes, evaluator)
        evaluated.append(nodes)
        errors.append(error)
        children += [(2 * near[:, None] + CORNERS).reshape(-1, 3), _cells_around(followed, finer.count)]
        # Where errors exceed their bounds, raise the bounds and process these cells again.
        beyond = error > bounds
        more = max(margin, 1.0) * _largest(nodes[beyond] >> 1, error[beyond], len(cell_bounds))
        raised = np.maximum(cell_bounds, maximum_filter(more, 3))
        remaining = remaining[(raised > cell_bounds)[tuple((remaining >> 1).T)]]
        cell_bounds = raised
    found = _largest(np.concatenate(evaluated), np.concatenate(errors), grid.count - 1)
    # For cells without evaluated nodes, use the bound of the coarse grid, reduced for half the cell size.
    inherited = 0.25 * cell_bounds.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return finer, finer.unique(np.concatenate(children)), np.maximum(margin * found, inherited)


def _cells_near_surface(
    grid: Grid, cells: Int[np.ndarray, "cell 3"], cell_bounds: Float[np.ndarray, "u v w"]
) -> tuple[Int[np.ndarray, "near 3"], Int[np.ndarray, "near 8 3"], Bool[np.ndarray, "near 8"]]:
    """Return cells in which interpolated values may have either sign, their corners, and which corners to evaluate."""
    parts = []
    for start in range(0, len(cells), CELLS):
        corners = cells[start : start + CELLS, None] + CORNERS
        values, bounds = grid.read(corners)
        allowed = cell_bounds[tuple((corners[:, 0] >> 1).T)]
        near = ((values - bounds).min(axis=1) < allowed) & ((values + bounds).max(axis=1) > -allowed)
        corners, values, bounds = corners[near], values[near], bounds[near]
        uncertain = (np.abs(values) > FARTHEST) | (bounds > UNCERTAIN * np.ptp(values, axis=1)[:, None])
        parts.append((corners[:, 0], corners, uncertain))
    near_cells, near_corners, all_uncertain = (np.concatenate(part) for part in zip(*parts, strict=True))
    return near_cells, near_corners, all_uncertain


def _nodes_at_crossings(
    grid: Grid, finer: Grid, cells: Int[np.ndarray, "cell 3"], cell_bounds: Float[np.ndarray, "u v w"]
) -> tuple[Int[np.ndarray, "node 3"], Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Interpolate values of the finer grid in some cells, and find the nodes at edges that may cross the surface.

    Returns:
        The nodes to evaluate, their interpolated values, and the error bounds of these values.
    """
    # Open all blocks in one call, because every call copies the existing blocks.
    finer.open(2 * (cells[:, None] + CORNERS))
    found = [cells[:0]]
    for start in range(0, len(cells), CELLS):
        part = cells[start : start + CELLS, None]
        values, bounds = grid.read(part + CORNERS)
        allowed = cell_bounds[tuple((part[:, 0] >> 1).T)]
        guesses, bounds = values @ WEIGHTS, bounds @ WEIGHTS + allowed[:, None] * NEW
        nodes = 2 * part + HALVED
        # These were evaluated before.
        known = finer.is_known(nodes)
        guesses[known], bounds[known] = finer.read(nodes[known])[0], 0.0
        finer.write(nodes, guesses, bounds)
        # Whether a node may be negative, and whether it may be positive.
        signs = [(sign * guesses < bounds).reshape(-1, 3, 3, 3) for sign in (1, -1)]
        crossing = np.zeros_like(signs[0])
        for axis in (1, 2, 3):
            start_of, end_of = (tuple([slice(None)] * axis + [ends]) for ends in (slice(0, 2), slice(1, 3)))
            crosses = (signs[0][start_of] & signs[1][end_of]) | (signs[1][start_of] & signs[0][end_of])
            crossing[start_of] |= crosses
            crossing[end_of] |= crosses
        found.append(nodes[crossing.reshape(-1, 27) & (bounds > 0)])
    nodes = finer.unique(np.concatenate(found))
    return nodes, *finer.read(nodes)


def _follow_surface(
    grid: Grid, nodes: Int[np.ndarray, "node 3"], evaluator: _Evaluator
) -> Int[np.ndarray, "more 3"]:
    """Evaluate neighbours of opposite sign until both ends of every edge that crosses the surface are known."""
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
        evaluator.evaluate(grid, nodes)
        followed.append(nodes)
    return np.concatenate(followed)


def _cells_around(nodes: Int[np.ndarray, "node 3"], count: int) -> Int[np.ndarray, "cell 3"]:
    """Return the cells that have one of the nodes as a corner, in a grid of `count` nodes along a side."""
    cells = (nodes[:, None] - CORNERS).reshape(-1, 3)
    return cells[((cells >= 0) & (cells < count - 1)).all(axis=1)]


@cache
def _ambiguous() -> Bool[np.ndarray, "256"]:
    """Tabulate for which signs of a cell's corners, as bits, the triangles depend on the values of all corners.

    In other cells, only the values at the ends of edges that cross the surface matter. In such a cell, the corners of
    one sign are not all connected along edges (Lewiner et al., 2003: cases 3, 4, 6, 7, 10, 12 and 13).
    """
    table = np.zeros(256, dtype=bool)
    for code in range(256):
        for group in ({c for c in range(8) if code >> c & 1}, {c for c in range(8) if not code >> c & 1}):
            reached = set(sorted(group)[:1])
            while more := {c ^ bit for c in reached for bit in (1, 2, 4)} & group - reached:
                reached |= more
            table[code] |= reached != group
    return table


def _complete_ambiguous(grid: Grid, cells: Int[np.ndarray, "cell 3"], evaluator: _Evaluator) -> None:
    """Evaluate all corners of the cells whose triangles depend on the values of all corners."""
    while len(cells):
        unknown = [cells[:0]]
        for start in range(0, len(cells), CELLS):
            corners = cells[start : start + CELLS, None] + CORNERS
            codes = (grid.read(corners)[0] < 0) @ (1 << np.arange(8))
            corners = corners[_ambiguous()[codes]].reshape(-1, 3)
            unknown.append(corners[~grid.is_known(corners)])
        nodes = grid.unique(np.concatenate(unknown))
        evaluator.evaluate(grid, nodes)
        # Evaluated signs may differ from interpolated ones.
        cells = _cells_around(np.concatenate([nodes, _follow_surface(grid, nodes, evaluator)]), grid.count)


def _marching_cubes(grid: Grid, resolution: int) -> trimesh.Trimesh:
    """Run marching cubes in slabs, with the result of one run on the whole grid; the cube's sides close the shape."""
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
        # Vertices in the plane that two slabs share were made with the previous slab, possibly in another order.
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
    """Recompute the first coordinates of the vertices of marching cubes in float64.

    Marching cubes rounds coordinates to float32. Coordinates rounded within a slab would differ in the last bit from
    coordinates rounded within the whole grid.
    """
    low = np.floor(vertices).astype(np.int64)
    heights = vertices[:, 0].astype(np.float64)
    between = vertices > low
    # A vertex on an edge is the weighted mean of the ends of the edge. A vertex inside an ambiguous cell is the
    # weighted mean of all corners, summed in this order.
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
