"""Conversion of any set of triangles to a closed surface: the one that is visible from outside.

Unsigned distances on a grid do not depend on the orientation of faces, nor on doubled, missing or hidden ones. A flood
fill from the border of the grid, which keeps an offset from the triangles, finds the outside, and everything else is
solid. The surface at the offset is closed by construction; its vertices are then projected back onto the triangles. A
level set of the unsigned distance itself would be a double wall: two shells instead of one solid.
"""

import math

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError
from sdfkit.geometry.defaults import GAP, THICKNESS, WATERTIGHT_RESOLUTION
from sdfkit.geometry.pieces import label_pieces, select_pieces
from sdfkit.geometry.watertight import closing_kernels as kernels
from sdfkit.geometry.watertight import leaks
from sdfkit.geometry.watertight.caps import Caps
from sdfkit.geometry.watertight.flood import reached_from_border

# In cells. Half a cell stops the flood at a wall, but a wire without thickness may be sqrt(1/2) away from the nodes
# around it. Of 40 wires in all directions, offsets of 0.72 and 0.66 kept all in one piece, 0.6 kept 30 and 0.55 kept 8;
# two flat walls stayed separate across a slit of 2.4, 2.2 or 2.0 cells in most directions.
OFFSET = 0.72
# Marching cubes reads distances one cell beyond the offset.
BAND = OFFSET + 1.05
# Vertices farther than this from every triangle belong to the seam that closes a hole, and are not moved.
SEAM = OFFSET + 0.3
# Smallest absolute value of the field. A value of 0 at a node would place several vertices at that node.
NEAREST_TO_ZERO = 0.02
# Faces whose centroid is farther than this from the input, in cells, cut off a crease. Each round moves their corners
# about a third of the way towards it. There are this many rounds before lifted vertices are lowered, and after.
BEVEL = 0.05
SHARPENINGS = 3
# Faces whose area, projected along the sum of the corners' outward directions, is below this (square cells) count as
# folded: rounding to float32 could turn them over.
FLATTEST = 1e-5
# Shares of the offset to which vertices are lifted whose projection would fold the surface, tried in this order. The
# last one is the offset surface itself, which has no folds.
RETREATS = (0.05, 0.15, 0.3, 0.5, 0.75, 1.0, 1.0, 1.0)


def make_watertight(
    mesh: trimesh.Trimesh,
    *,
    resolution: int = WATERTIGHT_RESOLUTION,
    gap: float = GAP,
    thickness: float = THICKNESS,
    keep_parts: bool = False,
) -> trimesh.Trimesh:
    """Convert any set of triangles to the closed surface that is visible from outside.

    Everything that cannot be reached from outside is solid: hidden faces and inner cavities disappear, and parts that
    touch are joined. A sheet that encloses nothing becomes a thin plate. The result is a 2-manifold with outward faces.
    Faces may still intersect each other in creases finer than a cell.

    Args:
        mesh: Any triangles, in the unit frame. Orientation, duplicates and holes do not matter.
        resolution: Cells along a side of the cube from -1 to 1. Parts and slits finer than about a cell may merge with
            neighbouring parts, but do not disappear.
        gap: Openings narrower than this length are closed if they lead into a cavity that is wider than they are. A
            wider opening is closed if it looks like a missing piece: if it is at most about 4 % of the boundary of a
            cavity that is wider than the opening and has a wall of single sheets. 0 closes nothing, except openings of
            less than about two cells, which the grid does not resolve.
        thickness: Thickness of the plates that sheets become, as a length; thinner parts are thickened to it. At least
            a quarter of a cell is used.
        keep_parts: Keep separate pieces whose bounding box has a diagonal below two cells. The largest piece is always
            kept.

    Returns:
        The surface in the frame of `mesh`. It may exceed the unit frame by half the thickness: normalise it again.

    Raises:
        GeometryError: The mesh has no triangle with an area.
    """
    if not len(mesh.faces):
        raise GeometryError("no faces: there is no surface to close")
    if not np.abs(mesh.bounds).max() <= 1 + 1e-3:
        raise ValueError("the mesh leaves the cube from -1 to 1: normalise it first")
    cell = 2.0 / resolution
    opening = 0.5 * gap / cell
    triangles, origin, field = _distance_grid(mesh, cell, max(BAND, leaks.WIDER * opening + 1))
    caps = Caps(mesh, origin, cell, field, BAND, OFFSET)
    _flood(field, triangles, caps, opening)
    triangles = np.concatenate([triangles, caps.used])
    vertices, faces = _contour(field)
    positions = _return_to_surface(vertices, faces, triangles, field, max(thickness / cell, 0.25))
    closed = trimesh.Trimesh(origin + positions * cell, faces, process=False)
    return closed if keep_parts else _drop_debris(closed, 2 * cell)


def _distance_grid(
    mesh: trimesh.Trimesh, cell: float, reach: float
) -> tuple[Float[np.ndarray, "triangle corner xyz"], Float[np.ndarray, "3"], Float[np.ndarray, "x y z"]]:
    """Compute unsigned distances on a grid around the mesh.

    Returns:
        The triangles in grid coordinates; the position of the first node in the mesh's frame; and the distance of
        each node to the triangles minus the offset, in cells, which is infinite beyond `reach`.
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
    field: Float[np.ndarray, "x y z"],
    triangles: Float[np.ndarray, "triangle corner xyz"],
    caps: Caps,
    opening: float,
) -> None:
    """Make the field negative at nodes that are not connected with the outside, and finite and nonzero, in place."""
    outside = reached_from_border(field > 0)
    field[~outside & (field > 0)] = -OFFSET
    if opening > 0 and leaks.seal_missing_pieces(field, outside, triangles, caps, OFFSET):
        outside = reached_from_border(field > 0)
        field[~outside & (field > 0)] = -OFFSET
    # Narrow openings first: one of half the gap may lead into a rod that a ball as wide as the gap does not fit in.
    for share in leaks.OPENINGS:
        if share * opening > OFFSET and leaks.seal_gaps(field, outside, caps, share * opening, OFFSET):
            # Sealing may cut off pockets that were connected only through the cavity.
            outside = reached_from_border(field > 0)
            field[~outside & (field > 0)] = -OFFSET
    np.minimum(field, np.float32(2.0), out=field)
    near_zero = np.abs(field) < NEAREST_TO_ZERO
    field[near_zero] = np.where(field[near_zero] > 0, NEAREST_TO_ZERO, -NEAREST_TO_ZERO)


def _contour(
    field: Float[np.ndarray, "x y z"],
) -> tuple[Float[np.ndarray, "vertex xyz"], Int[np.ndarray, "face 3"]]:
    """Extract the offset surface, with outward faces, in grid coordinates."""
    found = marching_cubes(field, 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
    return np.asarray(found[0], dtype=np.float64), np.ascontiguousarray(found[1])


def _return_to_surface(
    vertices: Float[np.ndarray, "vertex xyz"],
    faces: Int[np.ndarray, "face 3"],
    triangles: Float[np.ndarray, "triangle corner xyz"],
    field: Float[np.ndarray, "x y z"],
    thickness: float,
) -> Float[np.ndarray, "vertex xyz"]:
    """Project the vertices of the offset surface onto the nearest triangles, where this does not fold the surface."""
    shape = np.array(field.shape)
    feet, source = kernels.project(vertices, triangles, shape, SEAM)
    outward = vertices - feet
    height = np.linalg.norm(outward, axis=1)
    outward /= np.where(height > 0, height, 1.0)[:, None]
    # From its foot a vertex is one offset away from the far side of a sheet, plus the thickness of the sheet.
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
    # Many lifted vertices can be lowered now, because the creases beside them have been sharpened.
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
    """Return which vertices are corners of faces that are turned over."""
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
    """Move vertices within their source triangles into creases that faces cut off, unless this folds, in place."""
    for _ in range(SHARPENINGS):
        sums, counts = np.zeros_like(positions), np.zeros(len(positions))
        kernels.draw_into_creases(positions, faces, triangles, source, kept, BEVEL, sums, counts)
        # Faces none of whose corners moves need no further check.
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
    """Move lifted vertices halfway between their targets and their neighbours, unless this folds, in place."""
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
    """Move the vertices `rows` to `places`, in place, except those whose faces would fold; return the moved ones."""
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
    """Return vertices that coincide with an earlier one to a millionth of the extent, which readers would join."""
    x, y, z = np.rint(positions.T * (2**20 / positions.max())).astype(np.int64)
    keys = (x << 42) | (y << 21) | z
    _, first = np.unique(keys, return_index=True)
    later = np.ones(len(keys), dtype=bool)
    later[first] = False
    return np.flatnonzero(later)


def _drop_debris(mesh: trimesh.Trimesh, smallest: float) -> trimesh.Trimesh:
    """Remove pieces whose bounding box has a diagonal below `smallest`, except the largest piece."""
    piece = label_pieces(mesh)
    index = np.arange(piece.max() + 1)
    extents = [
        ndimage.maximum(axis, piece, index) - ndimage.minimum(axis, piece, index) for axis in mesh.vertices.T
    ]
    diagonal = np.linalg.norm(extents, axis=0)
    diagonal[diagonal.argmax()] = np.inf
    kept = (diagonal >= smallest)[piece]
    return mesh if kept.all() else select_pieces(mesh, kept)
