"""Flood fill from the border of a grid."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage


def reached_from_border(free: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Return the free nodes that are connected with the first node of the grid."""
    labels, _ = ndimage.label(free)
    return np.asarray(labels == labels[0, 0, 0], dtype=bool)
