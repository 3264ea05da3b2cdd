"""Connected pieces of a mesh."""

import numpy as np
import trimesh
from jaxtyping import Bool, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


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
