"""Conversion of shapes to the unit frame and back.

In the unit frame, the origin is the centre of the bounding box of all vertices that faces use, and the farthest of
these vertices is at distance 1 from the origin. All lengths in sdfkit are in this unit.
"""

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.errors import GeometryError
from sdfkit.geometry.pieces import MAIN, face_areas, find_specks, main_pieces, measure_pieces
from sdfkit.wording import agreeing, counted

# Frames are reported whose extent is more than this many times the extent of the main pieces.
WIDE = 2.0
# A sheet is flat to this share of the extent, and has at least this share of the area.
FLAT, SHEET = 5e-3, 0.3
# Number of faces, drawn in proportion to their area, that decide whether all faces are measured; and number of them
# whose planes are tried as the plane of a sheet.
SAMPLES, PLANES = 4096, 16


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
            f"{wrong} of {counted(len(vertices), 'vertex')} {agreeing(wrong, 'is', 'are')} NaN or infinite; "
            "repair the mesh or export it again"
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


def describe_frame(mesh: trimesh.Trimesh, scale: float = 1.0) -> str | None:
    """Describe what makes the extent of a mesh more than twice that of the shape which it shows.

    Args:
        mesh: Any mesh whose vertices are finite and all belong to faces, as in the unit frame.
        scale: Factor from the unit of `mesh` to the unit of the lengths in the text.

    Returns:
        The reason, both extents and a remedy, as a clause for a warning; None if there is no reason. One reason is that
        the extent of the main pieces (see `find_specks`) is less than half of the whole; the other is that a flat sheet
        with at least 30 % of the area extends over the whole and all other faces over less than half of it. Extents are
        diagonals of bounding boxes.
    """
    areas = face_areas(mesh.triangles)
    if not areas.max(initial=0.0) > 0:
        return None
    # The whole mesh is measured only if a sample of its area gives a reason.
    quantiles = areas.sum() * (np.arange(SAMPLES) + 0.5) / SAMPLES
    sample = mesh.triangles[np.minimum(np.searchsorted(np.cumsum(areas), quantiles), len(areas) - 1)]
    extents = np.array([np.ptp(axis) for axis in np.asarray(mesh.vertices).T])  # along axis 0 it takes longer
    extent = float(np.linalg.norm(extents))
    if _is_concentrated(sample.mean(axis=1), extents):
        pieces = measure_pieces(mesh)
        main = main_pieces(pieces)
        inner = float(np.linalg.norm(pieces.high[main].max(axis=0) - pieces.low[main].min(axis=0)))
        if extent > WIDE * inner:
            share = 100 * pieces.area[main].sum() / areas.sum()
            remedy = "--drop-specks" if find_specks(mesh).number else "a mesh editor"
            return (
                f"{share:.4g} % of the area extends over {scale * inner:.3g} and the whole shape over "
                f"{scale * extent:.3g}, so that most of the resolution is lost; remove the rest with {remedy}"
            )
    rest = _extent_within_sheet(mesh.triangles, areas, sample, extent)
    if rest is not None and extent > WIDE * rest:
        return (
            f"all faces but a flat sheet extend over {scale * rest:.3g} and the whole shape over "
            f"{scale * extent:.3g}, so that most of the resolution is lost; if the sheet is no part of the shape, "
            "remove it with a mesh editor"
        )
    return None


def _is_concentrated(points: Float[np.ndarray, "point 3"], extents: Float[np.ndarray, "3"]) -> bool:
    """Return whether, along an axis, almost the share `MAIN` of the points lies within half of the extent."""
    points = np.sort(points, axis=0)
    count = int(0.95 * MAIN * len(points))
    return bool((WIDE * (points[count:] - points[:-count]) < extents).any())


def _extent_within_sheet(
    triangles: Float[np.ndarray, "face corner 3"],
    areas: Float[np.ndarray, " face"],
    sample: Float[np.ndarray, "sample corner 3"],
    extent: float,
) -> float | None:
    """Measure the extent of the faces that do not lie in the plane with the largest area.

    Return None if there are none, or if the faces in this plane are no sheet that is wide in both directions: the blade
    of a saw is flat, too.
    """
    tried = sample[:: SAMPLES // PLANES]
    normals = np.cross(tried[:, 1] - tried[:, 0], tried[:, 2] - tried[:, 0])
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    offsets = (normals * tried[:, 0]).sum(axis=1)
    shares = (np.abs(sample @ normals.T - offsets).max(axis=1) < FLAT * extent).mean(axis=0)
    best = int(shares.argmax())
    if shares[best] < SHEET:
        return None
    flat = np.abs(triangles @ normals[best] - offsets[best]).max(axis=1) < FLAT * extent
    if flat.all():
        return None
    rest = float(np.linalg.norm(np.ptp(triangles[~flat].reshape(-1, 3), axis=0)))
    return rest if areas[flat].sum() > rest * extent else None
