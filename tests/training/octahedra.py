"""Networks with known surfaces: octahedra."""

import numpy as np
import torch

from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
from sdfkit.models.layers import MLPConfig

NETWORK = MLPConfig(kind="relu-pe", bands=0, hidden=6, layers=1, frequency=1.0)
DECODER = DeepSDFConfig(code=4, bands=1, hidden=16, layers=2, skip=1, activation="relu")


def octahedra(radii):
    """Return weights of networks that compute 0.5 (|x| + |y| + |z| - radius), one for each radius."""
    signed = np.concatenate([np.eye(3), -np.eye(3)])
    first = np.concatenate([signed.ravel(), np.zeros(6)])
    vectors = [np.concatenate([first, np.full(6, 0.5), [-0.5 * radius]]) for radius in radii]
    return np.stack(vectors).astype(np.float32)


def distances(points, radius):
    """Return the output of such a network."""
    return (0.5 * (np.abs(points).sum(axis=-1) - radius)).astype(np.float32)


def make_decoder(config=DECODER, slope=1.0):
    """Return a decoder of slope · (|x| + |y| + |z| less the code's first number, which must not be negative)."""
    network = DeepSDF(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for axis in range(3):
            network.hidden[0].weight[2 * axis, config.code + axis] = 1
            network.hidden[0].weight[2 * axis + 1, config.code + axis] = -1
        network.hidden[1].weight[:6, :6] = torch.eye(6)
        network.hidden[1].weight[6, config.hidden] = 1
        network.out.weight[0, :6] = slope
        network.out.weight[0, 6] = -slope
    return network
