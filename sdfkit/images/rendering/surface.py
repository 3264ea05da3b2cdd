"""What both renderers draw of a mesh: its faces and the normals they are shaded with."""

import math
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float32, Int32

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.normal_kernels import blend_normals, list_corners, measure_faces

# Odd numbers without pattern: sums of their products with the bits of three coordinates hardly ever agree.
PLACE_HASH = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


class Surface(NamedTuple):
    """Triangles ready to be drawn."""

    points: Float32[np.ndarray, "point 3"]
    faces: Int32[np.ndarray, "face 3"]
    normals: Float32[np.ndarray, "normal 3"]
    """Unit normals, or zeros where no face gives a direction; none where all faces are flat."""
    chosen: Int32[np.ndarray, "cornered 3"]
    """The row in `normals` of each face's corners; none where all faces are flat."""


def prepare(mesh: trimesh.Trimesh, *, crease: float) -> Surface:
    """Find the normals of a mesh.

    At the corner of a face, the normals of all faces there that turn from it by no more than the crease are
    blended. Faces meet where their corners lie in one place, whether or not the file says that they share it.

    Args:
        mesh: Any mesh.
        crease: An angle. At 0 all faces are flat; at π or more, all faces that share a vertex of the file
            are blended, as in pyrender.

    Raises:
        GeometryError: The mesh has no faces.
    """
    if len(mesh.faces) == 0:
        raise GeometryError("a mesh without faces cannot be drawn: leave it out")
    points = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
    if crease <= 0:
        return Surface(points, faces, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    places, count, cosine = faces, len(points), -2.0
    if crease < math.pi:
        # Sorted by one number a place, which takes a tenth of the time that three take. Two places that share
        # one by chance would only draw a crease.
        order = np.argsort((points + np.float32(0)).view(np.uint32).astype(np.uint64) @ PLACE_HASH)
        is_new = (np.diff(points[order], axis=0, prepend=np.float32(np.nan)) != 0).any(axis=1)
        place_of_point = np.empty(len(points), dtype=np.int32)
        place_of_point[order] = np.cumsum(is_new, dtype=np.int32) - 1
        places, count, cosine = place_of_point[faces], int(is_new.sum()), math.cos(crease)
    directions, angles = measure_faces(points, faces)
    first, around = list_corners(places, count)
    normals, chosen = blend_normals(directions, angles, first, around, cosine)
    return Surface(points, faces, normals, chosen)
