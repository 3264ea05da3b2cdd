"""Closed surfaces with fewer faces."""

import logging

import numpy as np
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.geometry import simplify_kernels as kernels

log = logging.getLogger(__name__)


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """A closed mesh with so many faces; still closed, with the same handles and pieces.

    Edges collapse, those first that move the surface least: flat regions end up with few large faces, and curved
    ones keep theirs. No collapse is made that would change the topology or turn a face over.

    Args:
        mesh: Closed, its faces looking outward, in any unit. It is not changed.
        faces: How many there may be at most.

    Returns:
        The simpler mesh, with `faces` faces or one less, or the nearest that keeps all handles and pieces, with a
        warning in the log. A mesh that has no more already is returned as it is.

    Raises:
        GeometryError: The mesh is not closed.

    Reference:
        Garland and Heckbert, Surface simplification using quadric error metrics (1997); Dey, Edelsbrunner, Guha
        and Nekhayev, Topology preserving edge contraction (1999).
    """
    if len(mesh.faces) <= faces:
        return mesh
    if not (mesh.is_watertight and mesh.is_winding_consistent):
        raise GeometryError("not closed, so it cannot be simplified: run sdfkit watertight first")
    centre, scale = mesh.bounds.mean(axis=0), mesh.extents.max()
    # Copies, which the kernel changes.
    vertices, triangles = (mesh.vertices - centre) / scale, np.array(mesh.faces, dtype=np.int32, order="C")
    left = kernels.collapse(vertices, triangles, faces)
    if left > faces:
        log.warning(
            "%d faces, not %d: fewer would lose a handle or a piece, or fold the surface", left, faces
        )
    triangles = triangles[triangles[:, 0] >= 0]
    used = np.zeros(len(vertices), dtype=bool)
    used[triangles] = True
    renumbered = np.cumsum(used) - 1
    return trimesh.Trimesh(vertices[used] * scale + centre, renumbered[triangles], process=False)
