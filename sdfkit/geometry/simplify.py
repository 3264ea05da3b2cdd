"""Closed surfaces with fewer faces.

Quadric edge collapse as it is commonly packaged opens closed meshes. manifold3d keeps them closed, but takes a
tolerance and not a number of faces, so the tolerance is searched.
"""

import logging

import manifold3d
import numpy as np
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.geometry.pieces import label_pieces

log = logging.getLogger(__name__)

# Tolerances, as shares of the largest extent. The first merges only what lies in one plane; beyond the second
# the number of faces grows again.
FLAT, COARSEST = 1e-6, 1e-2
STEPS = 16
# The search ends this near to the number asked for.
NEAR = 0.95


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """A closed mesh with about that many faces at most; still closed, with the same handles and pieces.

    Flat regions lose their faces first. Vertices are a subset of those of `mesh`.

    Args:
        mesh: Closed, its faces looking outward, in any unit. It is not changed.
        faces: How many faces to aim at.

    Returns:
        The simpler mesh, with at most `faces`, or the nearest that keeps all handles and pieces, with a warning
        in the log. A mesh that has no more already is returned as it is.

    Raises:
        GeometryError: The mesh is not closed.
    """
    if len(mesh.faces) <= faces:
        return mesh
    topology = _topology(mesh)
    extent = float(mesh.extents.max())
    # What is flat goes first, and makes each step of the search several times as fast.
    flat = _solid(mesh).simplify(FLAT * extent)
    above, below = mesh, None
    finest, coarsest = np.log([FLAT, COARSEST])
    for _ in range(STEPS):
        middle = 0.5 * (finest + coarsest)
        simpler = _mesh(flat.simplify(extent * np.exp(middle)))
        if _topology(simpler) != topology:
            coarsest = middle
        elif len(simpler.faces) > faces:
            finest = middle
            above = min(simpler, above, key=lambda found: len(found.faces))
        else:
            coarsest = middle
            below = max(simpler, below or simpler, key=lambda found: len(found.faces))
            if len(below.faces) >= NEAR * faces:
                break
    if below is None:
        log.warning("%d faces, not %d: fewer would lose a handle or a piece", len(above.faces), faces)
        return above
    return below


def _solid(mesh: trimesh.Trimesh) -> manifold3d.Manifold:
    triangles = np.asarray(mesh.faces, dtype=np.uint64)
    surface = manifold3d.Mesh64(np.asarray(mesh.vertices, dtype=np.float64), triangles)
    solid = manifold3d.Manifold(surface)
    if solid.status() == manifold3d.Error.NoError:
        return solid
    raise GeometryError("not closed, so it cannot be simplified: run sdfkit watertight first")


def _mesh(solid: manifold3d.Manifold) -> trimesh.Trimesh:
    surface = solid.to_mesh64()
    return trimesh.Trimesh(surface.vert_properties[:, :3], surface.tri_verts.astype(np.int32), process=False)


def _topology(mesh: trimesh.Trimesh) -> tuple[int, int]:
    """Euler number and number of pieces of a closed mesh."""
    pieces = label_pieces(mesh)
    used = np.unique(pieces[mesh.faces[:, 0]])
    return len(mesh.vertices) - len(mesh.faces) // 2, len(used)
