"""Detection of what makes the unit frame of a shape too wide: specks far away from it, and sheets around it.

The farthest vertices determine the unit frame. If a single triangle lies 100 diameters away from a shape, the shape
extends over one hundredth of the frame, which is two or three cells of a grid with 256.
"""

from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# The main pieces are the largest ones that together have at least this share of the area.
MAIN = 0.9
# Frames are reported whose extent is more than this many times the extent of the main pieces.
WIDE = 2.0
# Specks are farther from the bounding box of the main pieces than this share of its diagonal.
FAR = 0.5
# Faces with an area below this share of the largest connect nothing.
NO_AREA = 1e-12
# A sheet is flat to this share of the extent, and has at least this share of the area.
FLAT, SHEET = 5e-3, 0.3
# Number of faces, drawn in proportion to their area, that decide whether all faces are measured; and number of them
# whose planes are tried as the plane of a sheet.
SAMPLES, PLANES = 4096, 16


class Pieces(NamedTuple):
    """The connected pieces of a mesh. Vertices at the same position are connected."""

    label: Int[np.ndarray, " face"]
    """The piece of each face. A face without area is a piece of its own."""
    area: Float[np.ndarray, " piece"]
    low: Float[np.ndarray, "piece 3"]
    """Least coordinates of each piece."""
    high: Float[np.ndarray, "piece 3"]
    """Greatest coordinates of each piece."""


class Specks(NamedTuple):
    """Small pieces of a mesh that are far from the rest."""

    faces: Bool[np.ndarray, " face"]
    """Which faces belong to specks."""
    count: int
    """Number of specks."""
    largest: float
    """Largest diagonal of the bounding box of a speck."""


def measure_pieces(mesh: trimesh.Trimesh) -> Pieces:
    """Find the connected pieces of a mesh with at least one face, and measure them."""
    triangles = mesh.triangles
    areas = _areas(triangles)
    x, y, z = mesh.vertices.T
    # Equal positions have equal sums, and different positions practically never have.
    _, place = np.unique(x + np.pi * y + np.e * z, return_inverse=True)
    faces = place[mesh.faces]
    solid = areas > NO_AREA * areas.max()
    start, end = faces[solid, :2].ravel(), faces[solid, 1:].ravel()
    count = int(place.max()) + 1
    joined = coo_array((np.ones(len(start), dtype=bool), (start, end)), shape=(count, count))
    found, labels = connected_components(joined, directed=False)
    if found == 1 and solid.all():
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        return Pieces(np.zeros(len(faces), dtype=np.int64), areas.sum(keepdims=True), low[None], high[None])
    _, label = np.unique(
        np.where(solid, labels[faces[:, 0]], count + np.arange(len(faces))), return_inverse=True
    )
    order = np.argsort(label, kind="stable")
    first = np.searchsorted(label[order], np.arange(label.max() + 1))
    a, b, c = np.moveaxis(triangles[order], 1, 0)
    low = np.minimum.reduceat(np.minimum(np.minimum(a, b), c), first)
    high = np.maximum.reduceat(np.maximum(np.maximum(a, b), c), first)
    return Pieces(label, np.bincount(label, weights=areas), low, high)


def find_specks(mesh: trimesh.Trimesh) -> Specks:
    """Find small connected pieces far from the rest.

    The main pieces are the largest ones that together have at least 90 % of the area. Specks are the pieces whose
    distance from the bounding box of the main pieces is over half the diagonal of this box. Vertices at the same
    position are connected. A face without area is a piece of its own, and its farthest corner counts.

    Args:
        mesh: Any mesh with at least one face, whose vertices are finite.
    """
    pieces = measure_pieces(mesh)
    main, low, high = _main_pieces(pieces), pieces.low, pieces.high
    lowest, highest = low[main].min(axis=0), high[main].max(axis=0)
    # Faces without area may be needles that start at a main piece.
    empty = pieces.area <= NO_AREA * pieces.area.max()
    outside = np.where(
        empty[:, None],
        np.maximum(high - highest, lowest - low),
        np.maximum(low - highest, lowest - high),
    )
    distance = np.linalg.norm(np.maximum(outside, 0), axis=1)
    far = (distance > FAR * np.linalg.norm(highest - lowest)) & (pieces.area.max() > 0)
    sizes = np.linalg.norm(high - low, axis=1)[far]
    return Specks(far[pieces.label], len(sizes), float(sizes.max(initial=0.0)))


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
    areas = _areas(mesh.triangles)
    if not areas.max(initial=0.0) > 0:
        return None
    # The whole mesh is measured only if a sample of its area gives a reason.
    quantiles = areas.sum() * (np.arange(SAMPLES) + 0.5) / SAMPLES
    sample = mesh.triangles[np.minimum(np.searchsorted(np.cumsum(areas), quantiles), len(areas) - 1)]
    extents = np.array([np.ptp(axis) for axis in np.asarray(mesh.vertices).T])  # along axis 0 it takes longer
    extent = float(np.linalg.norm(extents))
    if _is_concentrated(sample.mean(axis=1), extents):
        pieces = measure_pieces(mesh)
        main = _main_pieces(pieces)
        inner = float(np.linalg.norm(pieces.high[main].max(axis=0) - pieces.low[main].min(axis=0)))
        if extent > WIDE * inner:
            share = 100 * pieces.area[main].sum() / areas.sum()
            remedy = "--drop-specks" if find_specks(mesh).count else "a mesh editor"
            return (
                f"{share:.4g} % of the area extends over {scale * inner:.3g} and the whole shape over "
                f"{scale * extent:.3g}, so that most of the resolution is lost; remove the rest with {remedy}"
            )
    rest = _extent_within_sheet(mesh.triangles, areas, sample, extent)
    if rest is not None and extent > WIDE * rest:
        return (
            f"all faces but a flat sheet extend over {scale * rest:.3g} and the whole shape over "
            f"{scale * extent:.3g}, so that most of the resolution is lost; remove the sheet with a mesh editor"
        )
    return None


def _areas(triangles: Float[np.ndarray, "face corner 3"]) -> Float[np.ndarray, " face"]:
    """Compute the area of each face."""
    # One coordinate after the other takes a third of the time of np.cross and np.linalg.norm.
    (ux, uy, uz), (vx, vy, vz) = ((triangles[:, corner] - triangles[:, 0]).T for corner in (1, 2))
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return np.asarray(0.5 * np.sqrt(x * x + y * y + z * z))


def _main_pieces(pieces: Pieces) -> Int[np.ndarray, " main"]:
    """Return the numbers of the largest pieces that together have the share `MAIN` of the area."""
    order = np.argsort(-pieces.area, kind="stable")
    total = np.cumsum(pieces.area[order])
    return order[: int(np.searchsorted(total, MAIN * total[-1])) + 1]


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
