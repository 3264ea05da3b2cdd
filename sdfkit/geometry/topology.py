"""How the faces of a mesh are connected: closed or open, pieces, Euler number."""

import numpy as np
import trimesh
from jaxtyping import Int

from sdfkit.geometry.pieces import label_pieces


def join_vertices(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Join vertices at the same position, unless the mesh is closed already.

    Many formats repeat a vertex for each of its normals, texture coordinates or faces. `is_watertight` is False for
    such a mesh even if its surface is closed, unless its vertices are joined first.

    Args:
        mesh: Any mesh. It is not changed.

    Returns:
        The mesh itself if every edge of it belongs to exactly two faces. Otherwise a mesh without colours,
        texture and normals, in which vertices whose coordinates differ by less than about 1e-8 are one.
    """
    if mesh.is_watertight:
        return mesh
    joined = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    joined.merge_vertices()
    return joined


def edges_cancel(edges: Int[np.ndarray, "edge 2"]) -> bool:
    """Return whether directed edges cancel: each one occurs as often in one direction as in the other.

    The edges of all faces of a mesh cancel if and only if the mesh encloses volume without holes. Unlike
    `is_watertight` of trimesh, this function accepts four faces at an edge, as where two boxes touch, and rejects
    flipped faces.

    Args:
        edges: Vertex numbers, 0 or more, at the start and the end of each edge.
    """
    low, high = edges.min(axis=1), edges.max(axis=1)
    _, edge = np.unique(low * (high.max(initial=0) + 1) + high, return_inverse=True)
    return not np.bincount(edge, weights=np.sign(edges[:, 1] - edges[:, 0])).any()


def describe_topology(mesh: trimesh.Trimesh) -> tuple[int, int]:
    """Count the pieces of a mesh, and compute its Euler number.

    Args:
        mesh: Any mesh. Vertices at the same position count as one, and vertices without a face do not count.

    Returns:
        The number of pieces; and the number of vertices minus edges plus faces, which is 2 for a sphere and 0 for a
        torus. Both are 0 for an empty mesh.
    """
    if len(mesh.faces) == 0:
        return 0, 0
    corners = np.zeros(len(mesh.vertices), dtype=bool)
    corners[mesh.faces] = True
    _, place = np.unique(mesh.vertices[corners], axis=0, return_inverse=True)
    faces = place[(np.cumsum(corners) - 1)[mesh.faces]]
    start, end = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    count = int(place.max()) + 1
    pairs = np.minimum(start, end) * count + np.maximum(start, end)
    pairs.sort()  # np.unique takes ten times as long
    edges = 1 + int(np.count_nonzero(np.diff(pairs)))
    joined = trimesh.Trimesh(np.zeros((count, 3)), faces, process=False)
    return int(label_pieces(joined).max()) + 1, count - edges + len(faces)
