"""Any triangle mess to the closed surface that is seen from outside.

An unsigned distance on a grid knows nothing of flipped, doubled, missing or hidden faces. Whatever a flood
from the border cannot reach without coming nearer than the offset is solid; the surface at the offset is
closed by construction, and its vertices are then moved back onto the input. Taking the level set of
|distance| itself instead would give a double wall: two shells where there is one solid.
"""

import math

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError
from sdfkit.geometry.pieces import label_pieces, select_pieces
from sdfkit.geometry.watertight import closing_kernels as kernels
from sdfkit.geometry.watertight import leaks

# In cells. Half a cell is enough to stop the flood at a wall, but a wire without thickness may pass sqrt(1/2) away
# from the nodes around it. Of 40 wires in all directions 0.72 and 0.66 kept all whole, 0.6 kept 30 and 0.55 8; two
# flat walls stayed apart across a slit of 2.4, 2.2 or 2.0 cells in most directions.
OFFSET = 0.72
# Marching cubes reads distances one cell beyond the offset.
BAND = OFFSET + 1.05
# Vertices farther than this from every triangle belong to a seam across a hole and stay where they are.
SEAM = OFFSET + 0.3
# A value of zero at a node would put several vertices onto that node.
NEAREST_TO_ZERO = 0.02
# Faces whose middle is farther than this from the input, in cells, cut off a crease; each round draws their
# corners about a third nearer to it; this many rounds before lifted vertices are lowered, and after.
BEVEL = 0.05
SHARPENINGS = 3
# Faces whose normal, summed over the corners' outward directions, has less than this area in square cells
# count as folded: too small for float32 coordinates to keep its side.
FLATTEST = 1e-5
# Shares of the offset kept by vertices whose full return would fold the surface, tried in turn. The last one
# is the offset surface itself, which has no folds.
RETREATS = (0.05, 0.15, 0.3, 0.5, 0.75, 1.0, 1.0, 1.0)


def make_watertight(
    mesh: trimesh.Trimesh, *, resolution: int, gap: float, thickness: float, keep_parts: bool
) -> trimesh.Trimesh:
    """The closed outer surface of any set of triangles.

    What the outside cannot reach is solid: hidden faces and inner cavities disappear, parts that touch become
    one. A sheet that encloses nothing becomes a thin plate. The result is a 2-manifold whose faces look
    outward; faces may still cut through each other in creases finer than a cell.

    Args:
        mesh: Any triangles, in the unit frame. Orientation, duplicates and holes do not matter.
        resolution: Cells along a side of the cube from -1 to 1. Parts and slits finer than about a cell may
            merge with what lies beside them, but never vanish.
        gap: Openings narrower than this, in the unit of the frame, are closed where they lead into a cavity
            that is wider than they are. Wider ones are closed where they look like a missing piece: at most
            about 4 % of the boundary of a cavity that is wider than they are, with a wall of single sheets (0:
            nothing is closed but what the grid cannot see, about two cells).
        thickness: What a sheet without thickness is given, in the unit of the frame; anything thinner is
            brought to it. At least a quarter of a cell is used.
        keep_parts: Keep separate pieces smaller than two cells (diagonal of the bounding box). The largest
            piece is always kept.

    Returns:
        The surface in the frame of `mesh`, which it may exceed by half the thickness: normalise it again.

    Raises:
        GeometryError: The mesh has no triangle with an area.
    """
    if not len(mesh.faces):
        raise GeometryError("no faces: there is no surface to close")
    if not np.abs(mesh.bounds).max() <= 1 + 1e-3:
        raise ValueError("the mesh leaves the cube from -1 to 1: normalise it first")
    cell = 2.0 / resolution
    opening = 0.5 * gap / cell
    triangles, origin, field = _measure(mesh, cell, max(BAND, leaks.WIDER * opening + 1))
    _flood(field, triangles, opening)
    vertices, faces = _contour(field)
    positions = _return_to_surface(vertices, faces, triangles, field, max(thickness / cell, 0.25))
    closed = trimesh.Trimesh(origin + positions * cell, faces, process=False)
    return closed if keep_parts else _drop_debris(closed, 2 * cell)


def _measure(
    mesh: trimesh.Trimesh, cell: float, reach: float
) -> tuple[Float[np.ndarray, "triangle corner xyz"], Float[np.ndarray, "3"], Float[np.ndarray, "x y z"]]:
    """Lay a grid around the mesh.

    Returns:
        The triangles in cells from the first node, the place of that node, and how much farther than the
        offset each node is from the triangles, in cells; infinite beyond `reach`.
    """
    used = mesh.vertices[mesh.faces]
    padding = math.ceil(reach) + 2
    origin = used.min(axis=(0, 1)) - padding * cell
    triangles = (used - origin) / cell
    shape = np.ceil(triangles.max(axis=(0, 1))).astype(np.int64) + padding + 1
    squared, nearest = kernels.splat(triangles, shape, BAND)
    if nearest.max() < 0:
        raise GeometryError("no surface: none of the faces has an area")
    if reach > BAND:
        kernels.extend(triangles, shape, squared, nearest, reach)
    field = np.sqrt(squared, out=squared)
    field -= np.float32(OFFSET)
    return triangles, origin, field.reshape(shape)


def _flood(
    field: Float[np.ndarray, "x y z"], triangles: Float[np.ndarray, "triangle corner xyz"], opening: float
) -> None:
    """Make the field negative wherever the outside does not reach, and finite and not zero, in place."""
    outside = leaks.reached_from_border(field > 0)
    field[~outside & (field > 0)] = -OFFSET
    if opening > 0 and leaks.seal_missing_pieces(field, outside, triangles, OFFSET):
        outside = leaks.reached_from_border(field > 0)
        field[~outside & (field > 0)] = -OFFSET
    # Small openings first: one of half the gap may lead into a rod that a ball of the whole gap does not fit in.
    for share in leaks.OPENINGS:
        if share * opening > OFFSET and leaks.seal_gaps(field, outside, share * opening, OFFSET):
            # Sealing may cut off pockets that only the cavity led to.
            outside = leaks.reached_from_border(field > 0)
            field[~outside & (field > 0)] = -OFFSET
    np.minimum(field, np.float32(2.0), out=field)
    near_zero = np.abs(field) < NEAREST_TO_ZERO
    field[near_zero] = np.where(field[near_zero] > 0, NEAREST_TO_ZERO, -NEAREST_TO_ZERO)


def _contour(
    field: Float[np.ndarray, "x y z"],
) -> tuple[Float[np.ndarray, "vertex xyz"], Int[np.ndarray, "face 3"]]:
    """The offset surface, facing outward, in cells."""
    found = marching_cubes(field, 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
    return np.asarray(found[0], dtype=np.float64), np.ascontiguousarray(found[1])


def _return_to_surface(
    vertices: Float[np.ndarray, "vertex xyz"],
    faces: Int[np.ndarray, "face 3"],
    triangles: Float[np.ndarray, "triangle corner xyz"],
    field: Float[np.ndarray, "x y z"],
    thickness: float,
) -> Float[np.ndarray, "vertex xyz"]:
    """Move the vertices of the offset surface onto the nearest triangles, where that does not fold it."""
    shape = np.array(field.shape)
    feet, source = kernels.project(vertices, triangles, shape, SEAM)
    outward = vertices - feet
    height = np.linalg.norm(outward, axis=1)
    outward /= np.where(height > 0, height, 1.0)[:, None]
    # From a foot inwards it is one offset to the far side of a sheet, and more by the thickness it has.
    through = kernels.depth(feet, -outward, field.ravel(), shape, OFFSET + thickness)
    kept = np.clip(0.5 * (thickness + OFFSET - through), 0.0, height)
    wanted = kept.copy()
    positions = feet + outward * kept[:, None]
    for retreat in RETREATS:
        folded = np.flatnonzero(_folded(positions, faces, outward))
        if not len(folded):
            break
        kept[folded] = np.maximum(kept[folded], retreat * height[folded])
        positions[folded] = feet[folded] + outward[folded] * kept[folded, None]
    _sharpen(positions, faces, triangles, source, outward, kept)
    # In the creases that have been drawn in, many of the lifted vertices have room now.
    lifted = kept > wanted + BEVEL
    settled = _settle(positions, faces, lifted, feet + outward * wanted[:, None], outward)
    kept[settled] = wanted[settled]
    _sharpen(positions, faces, triangles, source, outward, kept)
    for retreat in RETREATS:
        same = _coincident(positions)
        kept[same] = np.maximum(kept[same], retreat * height[same])
        positions[same] = feet[same] + outward[same] * kept[same, None]
        if not len(same):
            break
    return np.asarray(positions)


def _folded(
    positions: Float[np.ndarray, "vertex xyz"],
    faces: Int[np.ndarray, "face 3"],
    outward: Float[np.ndarray, "vertex xyz"],
) -> Bool[np.ndarray, " vertex"]:
    """Which vertices are corners of faces that the surface folds over."""
    folded = np.zeros(len(positions), dtype=bool)
    kernels.mark_folded(positions, faces, outward, FLATTEST, folded)
    return folded


def _sharpen(
    positions: Float[np.ndarray, "vertex xyz"],
    faces: Int[np.ndarray, "face 3"],
    triangles: Float[np.ndarray, "triangle corner xyz"],
    source: Int[np.ndarray, " vertex"],
    outward: Float[np.ndarray, "vertex xyz"],
    kept: Float[np.ndarray, " vertex"],
) -> None:
    """Draw vertices along their own triangles into the creases that faces cut off, unless this folds, in place."""
    for _ in range(SHARPENINGS):
        sums, counts = np.zeros_like(positions), np.zeros(len(positions))
        kernels.draw_into_creases(positions, faces, triangles, source, kept, BEVEL, sums, counts)
        # Faces whose corners all stay need not be looked at again.
        faces = np.ascontiguousarray(faces[(counts > 0)[faces].any(axis=1)])
        rows = np.flatnonzero(counts)
        places = sums[rows] / counts[rows, None] + kept[rows, None] * outward[rows]
        _move(positions, rows, places, faces, outward)


def _settle(
    positions: Float[np.ndarray, "vertex xyz"],
    faces: Int[np.ndarray, "face 3"],
    lifted: Bool[np.ndarray, " vertex"],
    places: Float[np.ndarray, "vertex xyz"],
    outward: Float[np.ndarray, "vertex xyz"],
) -> Int[np.ndarray, " settled"]:
    """Put lifted vertices halfway between where they belong and their neighbours, unless this folds, in place."""
    near = np.ascontiguousarray(faces[lifted[faces].any(axis=1)])
    sums, counts = np.zeros_like(positions), np.zeros((len(positions), 1))
    for turn in (1, 2):
        np.add.at(sums, near, positions[np.roll(near, turn, axis=1)])
        np.add.at(counts, near, 1)
    rows = np.flatnonzero(lifted)
    return _move(positions, rows, 0.5 * (sums[rows] / counts[rows] + places[rows]), near, outward)


def _move(
    positions: Float[np.ndarray, "vertex xyz"],
    rows: Int[np.ndarray, " row"],
    places: Float[np.ndarray, "row xyz"],
    faces: Int[np.ndarray, "face 3"],
    outward: Float[np.ndarray, "vertex xyz"],
) -> Int[np.ndarray, " moved"]:
    """Move the vertices `rows` to their places, in place, but for those whose faces would fold; which were moved?"""
    while len(rows):
        before = positions[rows]
        positions[rows] = places
        folded = _folded(positions, faces, outward)[rows]
        if not folded.any():
            break
        positions[rows] = before
        rows, places = rows[~folded], places[~folded]
    return rows


def _coincident(positions: Float[np.ndarray, "vertex xyz"]) -> Int[np.ndarray, " same"]:
    """Vertices that lie where an earlier one lies, to a millionth of the whole: a reader would weld them."""
    x, y, z = np.rint(positions.T * (2**20 / positions.max())).astype(np.int64)
    keys = (x << 42) | (y << 21) | z
    _, first = np.unique(keys, return_index=True)
    later = np.ones(len(keys), dtype=bool)
    later[first] = False
    return np.flatnonzero(later)


def _drop_debris(mesh: trimesh.Trimesh, smallest: float) -> trimesh.Trimesh:
    """The mesh without pieces whose bounding box has a diagonal under `smallest`; the largest piece stays."""
    piece = label_pieces(mesh)
    index = np.arange(piece.max() + 1)
    extents = [
        ndimage.maximum(axis, piece, index) - ndimage.minimum(axis, piece, index) for axis in mesh.vertices.T
    ]
    diagonal = np.linalg.norm(extents, axis=0)
    diagonal[diagonal.argmax()] = np.inf
    kept = (diagonal >= smallest)[piece]
    return mesh if kept.all() else select_pieces(mesh, kept)
