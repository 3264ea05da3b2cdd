"""Interpolation of scattered samples of a distance field at the nodes of a grid."""

import numpy as np
from jaxtyping import Float, Float32
from scipy.spatial import cKDTree

# Number of nearest samples that a node is interpolated from, and a length below which all samples weigh the same.
NEAREST, SOFTENING = 4, 1e-4


def interpolate_samples(
    points: Float[np.ndarray, "sample 3"], distances: Float[np.ndarray, " sample"], nodes: int
) -> Float32[np.ndarray, "x y z"]:
    """Interpolate samples at the nodes of a grid over the query cube, with weights of inverse squared distance.

    Args:
        points: Positions of the samples, in the query cube from -1 to 1 along each axis.
        distances: Their values.
        nodes: Number of nodes along a side.
    """
    axis = np.linspace(-1, 1, nodes)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    apart, nearest = cKDTree(points).query(grid, k=min(NEAREST, len(points)))
    apart, nearest = apart.reshape(len(grid), -1), nearest.reshape(len(grid), -1)
    weights = 1 / np.square(apart + SOFTENING)
    values = np.average(distances[nearest], axis=1, weights=weights)
    return np.asarray(values, np.float32).reshape(nodes, nodes, nodes)
