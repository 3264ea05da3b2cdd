"""Conversion of shapes to the unit frame and back.

In the unit frame, the origin is the centre of the bounding box of all vertices that faces use, and the farthest of
these vertices is at distance 1 from the origin. All lengths in sdfkit are in this unit.
"""

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import GeometryError


def normalise(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, Float[np.ndarray, "4 4"]]:
    """Transform a mesh to the unit frame.

    Args:
        mesh: Any mesh with at least one face, in any unit. It is not changed.

    Returns:
        A copy in the unit frame, with its faces in the same order and its colours, texture and normals, but without
        the vertices that no face uses; and the float64 matrix that maps points of the copy to the original frame.

    Raises:
        GeometryError: The mesh has no faces, a vertex is NaN or infinite, all vertices lie at one position, or the
            size is out of the range of float64.
    """
    if len(mesh.faces) == 0:
        raise GeometryError("has no faces: the file holds no surface, or the reader dropped its faces")
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    vertices = np.asarray(mesh.vertices, dtype=np.float64)[used]
    wrong = int(np.count_nonzero(~np.isfinite(vertices).all(axis=1)))
    if wrong:
        raise GeometryError(
            f"{wrong} of {len(vertices)} vertices are NaN or infinite; repair the mesh or export it again"
        )

    # Halving before the sum, and two divisions instead of one by the norm, keep coordinates near the end of the
    # range of float64 from overflowing.
    centre = vertices.min(axis=0) / 2 + vertices.max(axis=0) / 2
    offset = vertices - centre
    reach = np.abs(offset).max()
    if reach == 0:
        raise GeometryError("has no extent: all vertices lie at one position")
    with np.errstate(over="ignore", under="ignore"):
        offset /= reach
        farthest = np.sqrt(np.square(offset).sum(axis=1).max())
        scale = reach * farthest
    if not np.finfo(np.float64).tiny <= scale < np.inf:
        raise GeometryError(
            f"the size {scale:g} is out of the range of float64; store the shape in another unit"
        )

    unit = mesh.copy()
    # trimesh keeps normals of the file only in its cache, which is cleared when vertices are assigned.
    normals = mesh.vertex_normals[used] if "vertex_normals" in mesh._cache else None
    if not used.all():
        unit.remove_unreferenced_vertices()
    unit.vertices = offset / farthest
    if normals is not None:
        unit.vertex_normals = normals  # type: ignore[method-assign]

    to_original = np.diag([scale, scale, scale, 1.0])
    to_original[:3, 3] = centre
    return unit, to_original


def to_unit(
    points: Float[np.ndarray, "point 3"], to_original: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "point 3"]:
    """Map points from the original frame of a shape to its unit frame.

    Args:
        points: Positions in the original unit.
        to_original: The matrix returned by `normalise`.

    Returns:
        The same points in the unit frame, float64.
    """
    centred = points - to_original[:3, 3]
    unit: Float[np.ndarray, "point 3"] = np.linalg.solve(to_original[:3, :3], centred.T).T
    return unit


def from_unit(
    points: Float[np.ndarray, "point 3"], to_original: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "point 3"]:
    """Map points from the unit frame of a shape to its original frame.

    Args:
        points: Positions in the unit frame.
        to_original: The matrix returned by `normalise`.

    Returns:
        The same points in the original unit, float64.
    """
    original: Float[np.ndarray, "point 3"] = points @ to_original[:3, :3].T + to_original[:3, 3]
    return original
