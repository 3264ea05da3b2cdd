"""Networks with known surfaces: octahedra."""

import numpy as np

from sdfkit.models.layers import MLPConfig

NETWORK = MLPConfig(kind="relu-pe", bands=0, hidden=6, layers=1, frequency=1.0)


def octahedra(radii):
    """Return weights of networks that compute 0.5 (|x| + |y| + |z| - radius), one for each radius."""
    signed = np.concatenate([np.eye(3), -np.eye(3)])
    first = np.concatenate([signed.ravel(), np.zeros(6)])
    vectors = [np.concatenate([first, np.full(6, 0.5), [-0.5 * radius]]) for radius in radii]
    return np.stack(vectors).astype(np.float32)


def distances(points, radius):
    """Return the output of such a network."""
    return (0.5 * (np.abs(points).sum(axis=-1) - radius)).astype(np.float32)
