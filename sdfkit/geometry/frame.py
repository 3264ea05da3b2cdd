"""The unit frame that every shape is brought into, and the way back.

A shape is centred on the bounding box of the vertices that its faces use, and scaled so that the farthest of
them lies at distance 1. All lengths in sdfkit are in that unit.
"""

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import GeometryError


def normalise(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, Float[np.ndarray, "4 4"]]:
    """Bring a mesh into the unit frame.

    Args:
        mesh: Any mesh with at least one face, in any unit. It is not changed.

    Returns:
        A copy in the unit frame, with its faces in the same order, its colours, texture and normals, but
        without the vertices that no face uses; and the float64 matrix that maps its points back onto the
        original ones.

    Raises:
        GeometryError: No faces, a vertex that is NaN or infinite, all vertices in one place, or a size that
            float64 cannot scale.
    """
    if len(mesh.faces) == 0:
        raise GeometryError("no faces: the file holds no surface, or its faces were dropped on the way")
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    vertices = np.asarray(mesh.vertices, dtype=np.float64)[used]
    wrong = int(np.count_nonzero(~np.isfinite(vertices).all(axis=1)))
    if wrong:
        raise GeometryError(
            f"{wrong} of {len(vertices)} vertices are NaN or infinite: repair or export it again"
        )

    # Halves before the sum and two divisions instead of one norm: a coordinate near the end of float64's
    # range must not overflow on the way to a frame where it is at most 1.
    centre = vertices.min(axis=0) / 2 + vertices.max(axis=0) / 2
    offset = vertices - centre
    reach = np.abs(offset).max()
    if reach == 0:
        raise GeometryError("no extent: all vertices lie in one place")
    with np.errstate(over="ignore", under="ignore"):
        offset /= reach
        farthest = np.sqrt(np.square(offset).sum(axis=1).max())
        scale = reach * farthest
    if not np.finfo(np.float64).tiny <= scale < np.inf:
        raise GeometryError(f"size {scale:g} is beyond float64: store the shape in another unit")

    unit = mesh.copy()
    # trimesh keeps normals that came with the file only in its cache, which new vertices empty.
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
    """Map points of the original shape into its unit frame.

    Args:
        points: Positions in the original unit.
        to_original: The matrix that `normalise` returned.

    Returns:
        The same points in the unit frame, float64.
    """
    centred = points - to_original[:3, 3]
    unit: Float[np.ndarray, "point 3"] = np.linalg.solve(to_original[:3, :3], centred.T).T
    return unit


def from_unit(
    points: Float[np.ndarray, "point 3"], to_original: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "point 3"]:
    """Map points of the unit frame back onto the original shape.

    Args:
        points: Positions in the unit frame.
        to_original: The matrix that `normalise` returned.

    Returns:
        The same points in the original unit, float64.
    """
    original: Float[np.ndarray, "point 3"] = points @ to_original[:3, :3].T + to_original[:3, 3]
    return original
