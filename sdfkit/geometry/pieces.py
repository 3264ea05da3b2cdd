"""Connected pieces of a mesh, and specks: small pieces far from the rest."""

from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# The main pieces are the largest ones that together have at least this share of the area.
MAIN = 0.9
# Specks are farther from the bounding box of the main pieces than this share of its diagonal.
FAR = 0.5
# Faces with an area below this share of the largest connect nothing.
NO_AREA = 1e-12


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
    number: int
    """Number of specks."""
    largest: float
    """Largest diagonal of the bounding box of a speck."""


def label_pieces(mesh: trimesh.Trimesh) -> Int[np.ndarray, " vertex"]:
    """Return the number, from 0, of the connected piece that each vertex belongs to."""
    start, end = mesh.faces.ravel(), mesh.faces[:, [1, 2, 0]].ravel()
    size = len(mesh.vertices)
    joined = coo_array((np.ones(len(start), dtype=bool), (start, end)), shape=(size, size))
    _, labels = connected_components(joined, directed=False)
    return np.asarray(labels)


def select_pieces(mesh: trimesh.Trimesh, kept: Bool[np.ndarray, " vertex"]) -> trimesh.Trimesh:
    """Return the mesh of the kept vertices, in their order; of each piece, all vertices must be kept, or none."""
    renumbered = np.cumsum(kept) - 1
    faces = renumbered[mesh.faces[kept[mesh.faces[:, 0]]]]
    return trimesh.Trimesh(mesh.vertices[kept], faces, process=False)


def largest_piece(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return the connected piece with the largest area; the first, if several have the same area."""
    labels = label_pieces(mesh)
    areas = np.bincount(labels[mesh.faces[:, 0]], weights=mesh.area_faces)
    return select_pieces(mesh, labels == areas.argmax())


def drop_small_pieces(mesh: trimesh.Trimesh, share: float) -> tuple[trimesh.Trimesh, int]:
    """Leave out the connected pieces with less than a share of the area of the mesh; never the largest piece.

    Args:
        mesh: A mesh with at least one face.
        share: Least share of the area of a piece that is kept; 0 keeps all pieces.

    Returns:
        The mesh of the other pieces, and the number of pieces that are left out.
    """
    labels = label_pieces(mesh)
    areas = np.bincount(labels[mesh.faces[:, 0]], weights=mesh.area_faces)
    kept = areas >= min(share * areas.sum(), areas.max())
    if kept.all():
        return mesh, 0
    return select_pieces(mesh, kept[labels]), int(np.count_nonzero(~kept))


def measure_pieces(mesh: trimesh.Trimesh) -> Pieces:
    """Find the connected pieces of a mesh with at least one face, and measure them."""
    triangles = mesh.triangles
    areas = face_areas(triangles)
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
    main, low, high = main_pieces(pieces), pieces.low, pieces.high
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


def main_pieces(pieces: Pieces) -> Int[np.ndarray, " main"]:
    """Return the numbers of the largest pieces that together have the share `MAIN` of the area."""
    order = np.argsort(-pieces.area, kind="stable")
    total = np.cumsum(pieces.area[order])
    return order[: int(np.searchsorted(total, MAIN * total[-1])) + 1]


def face_areas(triangles: Float[np.ndarray, "face corner 3"]) -> Float[np.ndarray, " face"]:
    """Compute the area of each face."""
    # One coordinate after the other takes a third of the time of np.cross and np.linalg.norm.
    (ux, uy, uz), (vx, vy, vz) = ((triangles[:, corner] - triangles[:, 0]).T for corner in (1, 2))
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return np.asarray(0.5 * np.sqrt(x * x + y * y + z * z))
