"""A prediction turned and moved onto the truth before it is judged."""

import numpy as np
import trimesh
from jaxtyping import Float

from sdfkit.geometry.metrics import point_tree
from sdfkit.geometry.sampling import sample_surface

POINTS = 5_000
STEPS = 50


def find_alignment(
    predicted: trimesh.Trimesh, truth: trimesh.Trimesh, *, rng: np.random.Generator
) -> Float[np.ndarray, "4 4"]:
    """Find the rigid motion that brings a mesh nearest to another, without scaling or mirroring it.

    Iterative closest points between 5,000 points on each, started from the mesh as it stands and turned by 90,
    180 and 270 degrees about +Y (objects stand upright, and it is their heading that is not agreed upon). The start
    that ends with the least Chamfer distance wins; it is a local optimum.

    Args:
        predicted: The mesh to move. It is not changed.
        truth: What to bring it near to.
        rng: Where the points come from.

    Returns:
        The matrix that moves points of `predicted`.

    Reference: Besl and McKay, A Method for Registration of 3-D Shapes (1992).
    """
    moving, fixed = (sample_surface(mesh, POINTS, rng)[0] for mesh in (predicted, truth))
    tree, best, least = point_tree(fixed), np.eye(4), np.inf
    for quarter in range(4):
        start = trimesh.transformations.rotation_matrix(quarter * np.pi / 2, [0, 1, 0])
        matrix, moved, _ = trimesh.registration.icp(
            moving, fixed, start, threshold=1e-9, max_iterations=STEPS, reflection=False, scale=False
        )
        chamfer = tree.closest(moved)[0].mean() + point_tree(moved).closest(fixed)[0].mean()
        if chamfer < least:
            best, least = matrix, chamfer
    return best
