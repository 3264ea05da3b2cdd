"""Reduction of the number of faces of closed meshes."""

import logging

import numpy as np
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.geometry import simplify_kernels as kernels
from sdfkit.wording import counted

log = logging.getLogger(__name__)


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """Reduce the number of faces of a closed mesh without changing its topology.

    Edges are collapsed one after the other, beginning with those whose collapse moves the surface least, so that flat
    regions get few large faces and curved regions keep small ones. An edge is not collapsed if this would change the
    topology or turn a face over.

    Args:
        mesh: A closed mesh with outward faces, in any unit. It is not changed.
        faces: Largest number of faces of the result.

    Returns:
        A mesh with `faces` faces or one less. If so few faces would lose a handle or a piece, or fold the surface, the
        mesh has more, and a warning is logged. A mesh that already has at most `faces` faces is returned as it is.

    Raises:
        GeometryError: The mesh is not closed.

    Reference:
        Garland and Heckbert, Surface simplification using quadric error metrics (1997); Dey, Edelsbrunner, Guha
        and Nekhayev, Topology preserving edge contraction (1999).
    """
    simplified = collapse_edges(mesh, faces)
    if len(simplified.faces) > faces:
        log.warning(
            "the mesh has %s, not %d: fewer faces would lose a handle or a piece, or fold the surface",
            counted(len(simplified.faces), "face"),
            faces,
        )
    return simplified


def collapse_edges(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """Do what `simplify` does, but log nothing if the result has more faces than wanted."""
    if len(mesh.faces) <= faces:
        return mesh
    if not (mesh.is_watertight and mesh.is_winding_consistent):
        raise GeometryError("is not closed, so it cannot be simplified; run sdfkit watertight first")
    centre, scale = mesh.bounds.mean(axis=0), mesh.extents.max()
    # Copies, because the kernel works in place.
    vertices, triangles = (mesh.vertices - centre) / scale, np.array(mesh.faces, dtype=np.int32, order="C")
    kernels.collapse(vertices, triangles, faces)
    triangles = triangles[triangles[:, 0] >= 0]
    used = np.zeros(len(vertices), dtype=bool)
    used[triangles] = True
    renumbered = np.cumsum(used) - 1
    return trimesh.Trimesh(vertices[used] * scale + centre, renumbered[triangles], process=False)
