"""Rigid alignment of a predicted mesh with the true one."""

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.metrics import point_tree
from sdfkit.geometry.sampling import sample_surface

POINTS = 1_000
STEPS = 50


def find_alignment(
    predicted: trimesh.Trimesh, truth: trimesh.Trimesh, *, rng: np.random.Generator
) -> Float[np.ndarray, "4 4"]:
    """Find the rotation and translation that align a mesh with another, without scaling or mirroring.

    The method is iterative closest points (ICP), from 1,000 points on the predicted mesh to the surface of the true
    one. If points were drawn on both, as in trimesh's `icp`, sampling noise would move even an aligned mesh. The search
    is run four times: from the mesh as it is, and from the mesh rotated by 90, 180 and 270 degrees about +Y, because
    objects stand upright but face different ways in different sources. The result with the least Chamfer distance is
    returned; it is a local optimum.

    Args:
        predicted: The mesh to align. It is not changed.
        truth: The mesh to align it with.
        rng: Generator for the points.

    Returns:
        The matrix to apply to `predicted`.

    Reference: Besl and McKay, A Method for Registration of 3-D Shapes (1992).
    """
    points, fixed = (sample_surface(mesh, POINTS, rng)[0] for mesh in (predicted, truth))
    surface, best, least = TriangleTree(truth.vertices, truth.faces), np.eye(4), np.inf
    for quarter in range(4):
        matrix = trimesh.transformations.rotation_matrix(quarter * np.pi / 2, [0, 1, 0])
        moved, last = trimesh.transform_points(points, matrix), np.inf
        distance, _, nearest = surface.closest(moved)
        for _ in range(STEPS):
            if distance.mean() > (1 - 1e-4) * last:
                break
            step = trimesh.registration.procrustes(
                moved, nearest, reflection=False, scale=False, return_cost=False
            )
            matrix, last = step @ matrix, distance.mean()
            moved = trimesh.transform_points(points, matrix)
            distance, _, nearest = surface.closest(moved)
        chamfer = distance.mean() + point_tree(moved).closest(fixed)[0].mean()
        if chamfer < least:
            best, least = matrix, chamfer
    return best
