"""Triangulation of the surface of a solid as a closed mesh with outward faces."""

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from sdfkit.geometry.defaults import SHAPE_RESOLUTION
from sdfkit.geometry.shapes.fields.solid import Solid

BLOCK = 4  # nodes along one side of the blocks that are evaluated or skipped as a whole
# Offset of the first node, in cells. Planes of symmetry and flat faces have round coordinates; with these fractions no
# node lies in such a plane.
OFFSET = np.array([0.3719, 0.4273, 0.3137])
SPECK = 0.08  # largest extent, in the unit frame, below which a separate piece of the surface is removed
ROOT_STEPS = 40
ROOT_TOLERANCE = 1e-6


def solid_mesh(solid: Solid, resolution: int = SHAPE_RESOLUTION) -> trimesh.Trimesh:
    """Triangulate the surface of a solid.

    Marching cubes run on the blocks of the grid that may contain the surface: the distance is 1-Lipschitz, so a block
    whose centre is farther from the surface than its corners is empty. Every vertex is then moved along its grid edge
    to the zero of the field, so that it lies on the surface and no face folds over. Sharp edges are bevelled by up to
    one cell.

    Small separate pieces (specks) of the surface are removed: cavities enclosed by parts that meet, and the blobs that
    a smooth union creates between parts that nearly touch. They are few and hardly visible, but with them the object
    would not be one piece.

    Args:
        solid: The solid to triangulate.
        resolution: Cells along a side of the cube [-1, 1]³.

    Returns:
        A closed mesh with outward faces and vertices within 1e-5 of the surface.
    """
    cell = 2 / resolution
    origin, values = _sample(solid, cell)
    vertices, faces, _, _ = marching_cubes(values.astype(np.float32), 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
    on_edge = _to_zero(solid, values, vertices.astype(np.float64), origin, cell)
    kept = ~_in_specks(on_edge, faces)
    used, renumbered = np.unique(faces[kept], return_inverse=True)
    return trimesh.Trimesh(on_edge[used], renumbered.reshape(-1, 3), process=False)


def _sample(solid: Solid, cell: float) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "x y z"]]:
    """Evaluate the field on a grid around the solid; far from the surface only the sign of the values is correct.

    Returns:
        The position of the first node, and the values.
    """
    origin = -solid.half_extents - cell * (1 + OFFSET)
    blocks = np.ceil((solid.half_extents - origin + 2 * cell) / (cell * BLOCK)).astype(int)
    index = np.stack([axis.ravel() for axis in np.meshgrid(*map(np.arange, blocks), indexing="ij")], axis=1)
    middle = origin + cell * (index * BLOCK + (BLOCK - 1) / 2)
    at_middle = solid.distance(middle)
    # The nodes of a block, and one grid edge beyond them along one axis.
    half = (BLOCK - 1) / 2
    near = np.abs(at_middle) <= cell * np.sqrt((half + 1) ** 2 + 2 * half**2)
    inner = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), axis=-1)
    values = np.repeat(at_middle[:, None], BLOCK**3, axis=1)
    points = (index[near][:, None] * BLOCK + inner.reshape(1, -1, 3)) * cell + origin
    values[near] = solid.distance(points.reshape(-1, 3)).reshape(-1, BLOCK**3)
    grid = values.reshape(*blocks, BLOCK, BLOCK, BLOCK).transpose(0, 3, 1, 4, 2, 5).reshape(*(blocks * BLOCK))
    # Never exactly 0, so that no vertex lies at a node, where it would coincide with its neighbours.
    smallest = 1e-3 * cell
    return origin, np.where(np.abs(grid) < smallest, np.where(grid < 0, -smallest, smallest), grid)


def _in_specks(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Bool[np.ndarray, " face"]:
    """Return which faces belong to pieces with all extents below `SPECK`, except the widest piece."""
    links = coo_matrix(
        (np.ones(2 * len(faces), dtype=bool), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())),
        shape=(len(vertices), len(vertices)),
    )
    count, piece = connected_components(links, directed=False)
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, piece, vertices)
    np.maximum.at(high, piece, vertices)
    width = (high - low).max(axis=1)
    return np.asarray((width < min(SPECK, width.max()))[piece[faces[:, 0]]])


def _to_zero(
    solid: Solid,
    values: Float[np.ndarray, "x y z"],
    vertices: Float[np.ndarray, "vertex 3"],
    origin: Float[np.ndarray, "3"],
    cell: float,
) -> Float[np.ndarray, "vertex 3"]:
    """Move vertices, given in grid coordinates, along grid edges to the zero of the field, by regula falsi."""
    low, high = np.floor(vertices).astype(int), np.ceil(vertices).astype(int)
    first, last = values[tuple(low.T)], values[tuple(high.T)]
    a, b = low * cell + origin, high * cell + origin
    placed = vertices * cell + origin
    on_edge = (high - low).sum(axis=1) == 1
    # In ambiguous cells marching cubes places a vertex inside the cell, which is moved along the gradient instead.
    placed[~on_edge] = solid.project(placed[~on_edge])
    rows = np.flatnonzero(on_edge)
    share_a, share_b = np.zeros(len(rows)), np.ones(len(rows))
    first, last, a, b = first[rows], last[rows], a[rows], b[rows]
    for _ in range(ROOT_STEPS):
        share = (share_a * last - share_b * first) / (last - first)
        trial = a + share[:, None] * (b - a)
        value = solid.distance(trial)
        placed[rows] = trial
        going = np.abs(value) > ROOT_TOLERANCE
        if not going.any():
            break
        # Illinois method: halve the value at an end that is kept, so that both ends converge.
        same = (value < 0) == (first < 0)
        first, last = np.where(same, value, first / 2), np.where(same, last / 2, value)
        share_a, share_b = np.where(same, share, share_a), np.where(same, share_b, share)
        rows, first, last, a, b = rows[going], first[going], last[going], a[going], b[going]
        share_a, share_b = share_a[going], share_b[going]
    return np.asarray(placed)
