"""Coarse grids of distances of the training shapes, interpolated from their samples."""

import numpy as np
from jaxtyping import Float, Float16, Float32
from scipy.spatial import cKDTree

from sdfkit.training.samples import SampleReader

# Nodes along a side of the grids of training shapes, and the samples that they are interpolated from.
NODES, SAMPLES = 49, 1 << 15
# Number of nearest samples that a node is interpolated from, and a length below which all samples weigh the same.
NEAREST, SOFTENING = 4, 1e-4


def make_grids(samples: SampleReader, count: int) -> Float16[np.ndarray, "shape x y z"]:
    """Interpolate the samples of each training shape at the nodes of a coarse grid.

    Args:
        samples: The samples. The first windows of each shape are read, of about `SAMPLES` samples.
        count: Number of shapes.
    """
    size = samples.bounds[-1] / samples.windows
    used = min(samples.windows, max(1, round(SAMPLES / size)))
    grids = np.empty((count, NODES, NODES, NODES), np.float16)
    for row in range(count):
        windows = [samples.window(row, index) for index in range(used)]
        points = np.concatenate([part.points.numpy() for part in windows])
        distances = np.concatenate([part.distances.numpy() for part in windows])
        grids[row] = interpolate_samples(points, distances, NODES)
    return grids


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
