"""A prediction turned and moved onto the truth before it is judged."""

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
    """Find the rigid motion that brings a mesh nearest to another, without scaling or mirroring it.

    Iterative closest points, from 1,000 points on the mesh to the other's surface (to points on it, as in
    trimesh's `icp`, even a mesh that is in place would be moved by the noise of the draws). It starts from the
    mesh as it stands and turned by 90, 180 and 270 degrees about +Y: objects stand upright, and it is their heading
    that is not agreed upon. The start that ends with the least Chamfer distance wins; it is a local optimum.

    Args:
        predicted: The mesh to move. It is not changed.
        truth: What to bring it near to.
        rng: Where the points come from.

    Returns:
        The matrix that moves points of `predicted`.

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
